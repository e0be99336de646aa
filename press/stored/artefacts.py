"""Stored files that take long to make: films, embeddings, codes of the explorer.

Each carries the digest of what it was made from: models, data, and the code that makes it.
"""

from collections.abc import Callable
from pathlib import Path

from press.errors import ResultError
from press.settings import Settings


def kept(
    path: Path,
    of: str,
    *,
    found: Callable[[Path], str],
    make: Callable[[Path], None],
    remedy: str,
    settings: Settings,
) -> Path:
    """The stored file at ``path``, which is made first in smoke runs and retrained ones.

    of: the digest that it must carry. found: reads the one that it does. make: writes it.
    Raises ResultError where it is missing or was made from something else.
    """
    if path.exists() and found(path) == of:
        return path
    if not (settings.smoke or settings.retrain):
        what = "was made from other models, data or code" if path.exists() else "is missing"
        raise ResultError(f"{path} {what}; run `{remedy}`")
    make(path)
    return path
