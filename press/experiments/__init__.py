"""One module a study: its grid, its rows, its tables.

A row is measured by a function at the top level of its module, called with the ``press.book.Book``
and one configuration.
"""

from functools import partial
from importlib import import_module
from pathlib import Path

from press.stored.tables import Table, measure

STUDIES = ("model_scores", "samples", "corruptions", "coding")  # of the book's models
STUDIES += ("learning", "few_labels", "disentanglement")  # and of trainings
FILES = ("embeddings", "codes")  # modules whose ``make`` makes a file of another form


def tables(trained: bool | None = None) -> dict[str, Table]:
    """The book's tables by name: all, or those whose rows each train a model, or the others."""
    found = (one for study in STUDIES for one in _module(study).TABLES)
    return {one.name: one for one in found if trained in (None, bool(one.trains))}


def of_models() -> dict[str, partial]:
    """What ``python -m press measure`` makes where it is stale: name → a function of the book."""
    made = {name: partial(measure, one) for name, one in tables(trained=False).items()}
    return made | {name: _module(name).make for name in FILES}


def find_table(name: str, file: Path | None = None) -> Table:
    """The table of that name; or ``latent=2,10 beta=1``, a grid in that file, see ``grids``.

    Raises KeyError where there is no such table, and what ``grids.grid`` raises.
    """
    if "=" in name:
        axes = (one.partition("=") for one in name.split())
        return _module("grids").grid(file, **{axis: many.split(",") for axis, _, many in axes})
    return tables()[name]


def _module(name: str):
    return import_module(f"{__name__}.{name}")
