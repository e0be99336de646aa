"""Tables of costly numbers: made once by a command, stored, and spot-checked by chapters.

A table is a CSV file; a row is a configuration, what was measured for it, on what machine, and a
digest of all that it depends on, so that it can be measured again on its own: a new model adds rows
and leaves the others. Making a table can be interrupted and called again.
"""

import contextlib
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from press.checkpoints import checkpoint_path
from press.code import code_digest
from press.errors import ResultError
from press.files import hardware, left_out, read_rows, versions, write_rows
from press.images import data_digest
from press.runs import Run, build, recipe, settled, steps_an_epoch, training_images
from press.stored.numbers import folder
from vae_helpers.files import digest_json, locked
from vae_helpers.metrics.differences import Estimate
from vae_helpers.training import evaluate, fit

if TYPE_CHECKING:
    from press.book import Book

CLOSE = 0.01  # how far a row measured here may be from the stored one, as a share of it
CLOSE_TO_ZERO = 0.001  # and in itself: one of a thousand images, where a share is counted
EARLY_CLOSE = 0.001  # of a training's first steps: seeds differ by 1 %, thread counts by 1e-9
EARLY = 100  # steps of a training that a check repeats
EARLY_IMAGES = 1_000
ACCEPTED = 3  # rows that are measured again before code is accepted as giving the same numbers


def nothing(configuration: dict, *_) -> tuple:
    """No runs that a row depends on."""
    return ()


@dataclass(frozen=True)
class Table:
    """What is measured for which configurations, and what a row depends on besides.

    command: the one that makes the table, without its name. row: measures a configuration, called
    with the book first. runs: the models of the book that a configuration needs. trains: the run
    that measuring a row trains and then forgets, if any, of (configuration, book). dataset: whose
    test images it measures on. file: where it lies instead of among the book's tables; rows that
    it does not ask for stay there.
    """

    name: str
    command: str
    row: Callable[..., dict[str, float]]
    configurations: Callable[["Book"], Iterable[dict]]
    runs: Callable[[dict], tuple[str, ...]] = nothing
    trains: Callable[[dict, "Book"], Run | None] = lambda configuration, book: None
    dataset: str = "fashion-mnist"
    file: Path | None = None

    @property
    def remedy(self) -> str:
        """What to type where the table is missing or stale."""
        return f"{self.command} {self.name}"


def path_of(table: Table, book: "Book") -> Path:
    """Where that table lies."""
    return table.file or tables_folder(book) / f"{table.name}.csv"


def tables_folder(book: "Book") -> Path:
    """Where the tables lie: those of smoke runs and retrained models apart from the book's own."""
    return book.settings.assets / "results" / "tables"


def rows(table: Table, book: "Book") -> list[dict]:
    """The rows of that table, as stored; measured first in smoke runs and retrained ones.

    Raises ResultError where a configuration has no row that belongs to these models, data and
    code.
    """
    if book.smoke or book.settings.retrain:
        measure(table, book)
    wanted = list(table.configurations(book))
    current = _current(table, book, read_rows(path_of(table, book)))
    if len(current) < len(wanted):
        raise ResultError(
            f"the table {table.name!r} has {len(current)} of the {len(wanted)} rows that belong "
            f"to these models, data and code; run `{table.remedy}`"
        )
    return current


def row(table: Table, book: "Book", **configuration) -> dict:
    """The one stored row that fits, measured again here.

    Of a row that trains a model, only the first hundred steps of that training are repeated; what
    it scored in the end is not. Raises ResultError where these lead elsewhere by more than 0.1 %,
    or a number is off by more than 1 % and 0.001, and KeyError unless exactly one row fits. Smoke
    runs and retrained ones have measured it themselves.
    """
    found = [one for one in rows(table, book) if _fits(configuration, one)]
    if len(found) != 1:
        raise KeyError(
            f"{len(found)} rows of {table.name!r} have {configuration}; name one of them"
        )
    if not (book.smoke or book.settings.retrain):
        whole = next(one for one in table.configurations(book) if _fits(one, found[0]))
        if wrong := _difference(table, book, whole, found[0]):
            raise ResultError(
                f"{table.name}, {whole}: {wrong}; if the code is right, delete that row and run "
                f"`{table.remedy}`"
            )
    return found[0]


def _difference(table: Table, book: "Book", configuration: dict, stored: dict) -> str | None:
    """In what a row that is measured again here, or its training's start, is another one."""
    run = table.trains(configuration, book)
    if run is None:
        live = table.row(book, **configuration)
        close = {"rel_tol": CLOSE, "abs_tol": CLOSE_TO_ZERO}
    else:
        live, close = {"early": early(run, book)}, {"rel_tol": EARLY_CLOSE}
    for what, value in live.items():
        if not math.isclose(value, stored[what], **close):
            return f"stored {what} {stored[what]} but {value:.6g} here"
    return None


def over_seeds(some: Iterable[dict], what: str, **configuration) -> Estimate:
    """Mean and standard deviation (not error) of a measured value over the matching rows."""
    values = [one[what] for one in some if _fits(configuration, one) and what in one]
    if not values:
        raise KeyError(f"no row has {what} for {configuration}")
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Estimate(float(np.mean(values)), spread, len(values))


# --- how a table came about ---------------------------------------------------------------------


def head(some: Iterable[dict]) -> dict:
    """What those rows were made by, ``command`` and ``hardware``; all of each where they differ."""
    return {
        what: "; ".join(sorted({one[what] for one in some})) for what in ("command", "hardware")
    }


def made(book: "Book") -> list[dict]:
    """How the book's own tables were made: ``name``, number of ``rows``, and their ``head``."""
    paths = sorted((folder(book.settings) / "tables").glob("*.csv"))
    stored = {path.stem: read_rows(path) for path in paths}
    return [{"name": name, "rows": len(some)} | head(some) for name, some in stored.items()]


# --- making it ----------------------------------------------------------------------------------

Rows = Callable[[Table, "Book", Sequence[dict]], Iterable[dict]]


def measure(table: Table, book: "Book", make: Rows | None = None) -> Path:
    """Measure that table, or go on where an interrupted call stopped; return its file.

    make: yields the rows of the configurations that it is called with, as they are done; one after
    the other here, by default. Does nothing where the table is up to date. One process at a time
    makes a table; another one waits for it.
    """
    path = path_of(table, book)
    unfinished = book.settings.work / "measurements" / path.name
    with locked(unfinished.with_suffix(".lock")):
        wanted = list(table.configurations(book))
        before, begun = read_rows(path), read_rows(unfinished)
        kept = _current(table, book, [*before, *begun])
        others = [
            one
            for one in (before if table.file else ())
            if not any(_fits(configuration, one) for configuration in wanted)
        ]
        todo = [one for one in wanted if not any(_fits(one, row) for row in kept)]
        if not todo and not unfinished.exists() and path.exists():
            return path
        for one in (make or _one_by_one)(table, book, todo):
            kept.append(one)
            write_rows(unfinished, kept)
        kept.sort(key=lambda row: next(i for i, one in enumerate(wanted) if _fits(one, row)))
        write_rows(path, others + kept)
        unfinished.unlink(missing_ok=True)
    return path


def _one_by_one(table: Table, book: "Book", configurations: Sequence[dict]) -> Iterator[dict]:
    for one in tqdm(configurations, desc=table.name, unit="row", disable=book.smoke):
        yield measured(table, book, one)


def measured(table: Table, book: "Book", configuration: dict) -> dict:
    """The row of that configuration, measured here and now, with all that is stored of it."""
    values = table.row(book, **configuration)
    if (run := table.trains(configuration, book)) is not None:
        values["early"] = early(run, book)
    rounded = {key: float(f"{value:.6g}") for key, value in values.items()}
    how = {"command": table.remedy, "hardware": hardware(), **versions()}
    return configuration | rounded | rests_on(table, book, configuration) | how


def accept(table: Table, book: "Book") -> int:
    """Keep rows that other code has measured as this code's own; return how many there were.

    For code that was rewritten and computes the same: three of these rows, drawn at random, are
    measured again first (of trainings, their first hundred steps). Raises ResultError, and changes
    nothing, where one of them differs. Rows of other models or data stay stale.
    """
    path = path_of(table, book)
    stored, stale = read_rows(path), []
    for configuration in table.configurations(book):
        today = rests_on(table, book, configuration)
        stale += [
            (configuration, one, today["code"])
            for one in stored
            if _fits(configuration | {"of": today["of"]}, one) and not _fits(today, one)
        ]
    for configuration, one, _ in random.sample(stale, min(ACCEPTED, len(stale))):
        if wrong := _difference(table, book, configuration, one):
            raise ResultError(
                f"{table.name}, {configuration}: {wrong}, so this code does not compute the same; "
                f"run `{table.remedy}`"
            )
    for _, one, code in stale:
        one["code"] = code
    write_rows(path, stored)
    return len(stale)


class _Enough(Exception):
    """The steps that a check repeats are done."""


def early(run: Run, book: "Book") -> float:
    """The total on the first 1,000 test images after the first hundred steps of that training."""
    images, _ = training_images(run, book.settings)
    test = book.images("test", run.dataset).subset(slice(EARLY_IMAGES))
    last = min(EARLY, run.epochs * steps_an_epoch(run, images))
    how, found = recipe(run, book.settings), []

    def stop(model, step: int) -> dict:
        if step == last:
            found.append(evaluate(model, test, loss=how["loss"], beta=run.beta)["total"])
            raise _Enough
        return {}

    with contextlib.suppress(_Enough):
        fit(build(run), images, **how, snapshot=stop, progress=False)
    return float(found[0].double().mean())


# --- whether a row is today's -------------------------------------------------------------------


def _fits(configuration: dict, one: dict) -> bool:
    return configuration.items() <= one.items()


def _current(table: Table, book: "Book", some: list[dict]) -> list[dict]:
    """Of each of today's configurations, the first row that today's models, data and code made.

    Of a model that a sparse clone has left out nothing can have changed, so its rows are current.
    """
    found = []
    for configuration in table.configurations(book) if some else ():
        mine = [one for one in some if _fits(configuration, one)]
        if not any(
            left_out(checkpoint_path(run, book.settings), book.settings.root)
            for run in table.runs(configuration)
        ):
            mine = [one for one in mine if _fits(rests_on(table, book, configuration), one)]
        found += mine[:1]
    return found


def rests_on(table: Table, book: "Book", configuration: dict) -> dict[str, str]:
    """Digests of what a row of that configuration depends on: its models, data and configuration
    (``of``), and the ``code`` that measures it.
    """
    parts = [
        [book.experiment(run).digest for run in table.runs(configuration)],
        data_digest("test", table.dataset, book.settings),
        configuration,
    ]
    if (run := table.trains(configuration, book)) is not None:
        parts += [settled(run), data_digest("train", run.dataset, book.settings)]
    return {"of": digest_json(parts), "code": code_digest(table.row)}
