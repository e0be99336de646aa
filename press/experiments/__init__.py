"""One module a study: its grid, its rows, its tables.

A row is measured by a function at the top level of its module, called with the ``press.book.Book``
and one configuration. What it asks the book for by name, it asks for in its first lines; from there
on values travel.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # tables know runs, and these import a loss from here
    from press.book import Book
    from press.stored import Table

STUDIES = (
    *("model_scores", "samples", "class_samples", "corruptions", "frozen", "coding", "probes"),
    *("likelihood", "learning", "seeds", "digits", "augmentation", "few_labels", "disentanglement"),
)
FILES = ("embeddings", "codes")  # modules whose ``make`` makes a file of another form


def tables() -> dict[str, "Table"]:
    """All tables of the book, by name."""
    return {one.name: one for study in STUDIES for one in _module(study).TABLES}


def swept() -> dict[str, "Table"]:
    """The tables whose rows each train a model: ``python -m press sweep``."""
    return {name: one for name, one in tables().items() if one.command.endswith("sweep")}


def measured() -> dict[str, Callable[["Book"], Path]]:
    """What ``python -m press measure`` makes where it is stale: name → a function that does."""
    from press.stored.tables import measure

    made = {name: partial(measure, one) for name, one in tables().items() if name not in swept()}
    return made | {name: _module(name).make for name in FILES}


def find(name: str, file: Path | None = None) -> "Table":
    """The table of that name; or ``latent=2,10 beta=1``, a grid in that file, see ``grids``.

    Raises KeyError where there is no such table, and what ``grids.grid`` raises.
    """
    if "=" in name:
        return _module("grids").named(name, file)
    known = tables()
    if name not in known:
        raise KeyError(f"no table {name!r}; choose one of {', '.join(known)}")
    return known[name]


def _module(name: str):
    return import_module(f"{__name__}.{name}")
