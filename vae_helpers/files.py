"""Files: written whole or not at all, brought by git when asked for, changed in one value."""

import os
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import yaml

from vae_helpers.settings import ROOT


class FetchError(OSError):
    """A file that git could not bring; the message names it and what to do."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``path`` whole or not at all, whatever happens meanwhile. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp keeps it to its owner, which a shared site is not
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def fetched(path: Path, root: Path = ROOT) -> Path:
    """``path`` itself, brought by git where a sparse clone has left the file out.

    A chapter on its own, as in Colab, begins without models and films (see ``colab.py``); each
    follows when it is asked for. Raises FetchError where the file cannot be had.
    """
    if left_out(path, root):
        name = path.relative_to(root).as_posix()
        _git(root, name, "sparse-checkout", "add", f"/{name}")
    return path


def left_out(path: Path, root: Path = ROOT) -> bool:
    """Whether git has the file but a sparse clone does not show it.

    A full clone never asks git: a file deleted there stays away, and is made anew.
    """
    sparse = root / ".git" / "info" / "sparse-checkout"
    if path.exists() or not sparse.exists() or not path.is_relative_to(root):
        return False
    return _skipped(root, path.relative_to(root).as_posix())


@cache  # a file once brought exists, and is not asked for again
def _skipped(root: Path, name: str) -> bool:
    return _git(root, name, "ls-files", "-t", "--", name).startswith("S ")  # skip-worktree


def _git(root: Path, name: str, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True)
    if done.returncode:
        reason = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise FetchError(
            f"{name}: left out of this clone, and git could not bring it ({reason[-1]}); "
            "run the cell again when the network is back"
        )
    return done.stdout


def with_scalar(text: str, keys: Sequence[str | int], value: str) -> str:
    """YAML ``text`` with ``value`` under those keys, and every other byte, comments too, as it was.

    Raises KeyError where nothing stands there yet.
    """
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    for key in keys:
        if isinstance(node, yaml.SequenceNode):
            found = dict(enumerate(node.value))
        else:
            found = {name.value: one for name, one in node.value}
        node = found[key]
    if node.value == value:
        return text
    quoted = yaml.safe_dump(value, default_style='"', allow_unicode=True, width=float("inf"))
    start, end = node.start_mark.index, node.end_mark.index
    end -= len(text[start:end]) - len(text[start:end].rstrip())  # a block's mark is a line too late
    return text[:start] + quoted.rstrip("\n") + text[end:]
