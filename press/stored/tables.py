"""Tables of costly numbers: made once by a command, stored, and spot-checked by chapters.

A table is a CSV file; a row is a configuration, what was measured for it, on what machine, and a
digest of all that it depends on, so that it can be measured again on its own: a new model adds rows
and leaves the others. Making a table can be interrupted and called again.
"""

import math
import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from press.code import code_digest
from press.errors import ResultError
from press.files import damaged, hardware, read_rows, rounded, versions, write_rows
from press.images import data_digest
from press.runs import Run, build, recipe, settled, shortened, steps_an_epoch, training_images
from vae_helpers.files import digest_json, locked
from vae_helpers.metrics.differences import Estimate
from vae_helpers.training import evaluate, fit

# How far a row measured here may be from the stored one: as a share of it, and in itself (one of a
# thousand images, where a share is counted). Of a training's first steps, seeds differ by 1 %,
# thread counts by 1e-9.
CLOSE = {"rel_tol": 0.01, "abs_tol": 0.001}
EARLY_CLOSE = {"rel_tol": 0.001}
EARLY = 100  # steps of a training that a check repeats
EARLY_IMAGES = 1_000
DIGEST = re.compile("[0-9a-f]{16}")
ACCEPTED = 3  # rows that are measured again before code is accepted as giving the same numbers


@dataclass(frozen=True)
class Table:
    """What is measured for which configurations, and what a row depends on besides."""

    name: str
    row: Callable[..., dict[str, float]]  # measures a configuration, called with the book first
    configurations: Callable[..., Iterable[dict]]  # that it has a row for, in that book
    runs: tuple[str, ...] | Callable[..., tuple[str, ...]] = ()  # models needed, by configuration
    trains: Callable[..., Run | None] | None = None  # the run that a row trains and then forgets
    dataset: str = "fashion-mnist"  # whose test images it measures on
    file: Path | None = None  # instead of one among the book's; other rows in it stay

    @property
    def remedy(self) -> str:
        """What to type where the table is missing or stale."""
        return f"python -m press {'sweep' if self.trains else 'measure'} {self.name}"

    def needed(self, configuration: dict) -> tuple[str, ...]:
        """The book's models that a row of that configuration is measured of."""
        return self.runs(**configuration) if callable(self.runs) else self.runs

    def trained(self, configuration: dict, book) -> Run | None:
        """The run that measuring such a row trains, if any."""
        run = self.trains(**configuration) if self.trains else None
        return run and shortened(run, book.settings)


def path_of(table: Table, book) -> Path:
    """Where that table lies."""
    return table.file or book.settings.tables / f"{table.name}.csv"


def rows(table: Table, book) -> list[dict]:
    """The rows of that table, as stored; measured first in smoke runs and retrained ones.

    Raises ResultError where a configuration has no row that belongs to these models, data and
    code.
    """
    if book.smoke or book.settings.retrain:
        measure(table, book)
    found = [one for _, one in _wanted(table, book, read_rows(path_of(table, book)))]
    if None in found:
        raise ResultError(
            f"the table {table.name!r} has {sum(map(bool, found))} of the {len(found)} rows that "
            f"belong to these models, data and code; run `{table.remedy}`"
        )
    return found


def row(table: Table, book, **configuration) -> dict:
    """The one stored row that fits, measured again here, see ``check``.

    Raises KeyError unless exactly one row fits. Smoke runs and retrained ones have measured it
    themselves.
    """
    found = [one for one in rows(table, book) if _fits(configuration, one)]
    if len(found) != 1:
        raise KeyError(f"{len(found)} rows of {table.name!r} have {configuration}; name one")
    if not (book.smoke or book.settings.retrain):
        check(table, book, found[0])
    return found[0]


def check(table: Table, book, stored: dict) -> None:
    """Raise ResultError where that row, measured again, is off by more than 1 % and 0.001.

    Of a row that trains a model, only the first hundred steps of that training are repeated, which
    may differ by 0.1 %; what it scored in the end is not.
    """
    configuration = next(one for one in table.configurations(book) if _fits(one, stored))
    if run := table.trained(configuration, book):
        live, close = {"early": early(run, book)}, EARLY_CLOSE
    else:
        live, close = table.row(book, **configuration), CLOSE
    for what, value in live.items():
        if not math.isclose(value, stored[what], **close):
            raise ResultError(
                f"{table.name}, {configuration}: stored {what} {stored[what]} but {value:.6g} "
                f"here; if the code is right, take out that row and run `{table.remedy}`"
            )


def over_seeds(some: Iterable[dict], what: str, **configuration) -> Estimate:
    """Mean and standard deviation (not error) of a measured value over the matching rows."""
    values = [one[what] for one in some if _fits(configuration, one) and what in one]
    if not values:
        raise KeyError(f"no row has {what} for {configuration}")
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Estimate(float(np.mean(values)), spread, len(values))


def measure(table: Table, book, make: Callable[[list], Iterable[dict]] | None = None) -> Path:
    """Measure that table, or go on where an interrupted call stopped; return its file.

    make: yields the rows of the configurations that it is called with, as they are done; one after
    the other here, by default. One process at a time makes a table; another one waits for it. Rows
    that are stale stay until all are made.
    """
    path = path_of(table, book)
    with locked(book.settings.work / "measurements" / f"{path.name}.lock"):
        stored = read_rows(path)
        todo = [one for one, there in _wanted(table, book, stored) if not there]
        told = tqdm(todo, desc=table.name, unit="row", disable=book.smoke or make is not None)
        for one in make(todo) if make else (measure_row(table, book, one) for one in told):
            stored.append(one)
            write_rows(path, stored)
        wanted = _wanted(table, book, stored)
        others = stored if table.file else []
        others = [one for one in others if not any(_fits(asked, one) for asked, _ in wanted)]
        write_rows(path, others + [one for _, one in wanted])
    return path


def measure_row(table: Table, book, configuration: dict) -> dict:
    """The row of that configuration, measured here and now, with all that is stored of it."""
    values = table.row(book, **configuration)
    if run := table.trained(configuration, book):
        values["early"] = early(run, book)
    values = {key: rounded(value) for key, value in values.items()}
    how = {"command": table.remedy, "hardware": hardware(), **versions()}
    return configuration | values | rests_on(table, book, configuration) | how


def accept(table: Table, book) -> int:
    """Keep rows that other code has measured as this code's own; return how many there were.

    For code that was rewritten and computes the same: three of these rows, drawn at random, are
    measured again first. Raises what ``check`` raises, and then changes nothing. Rows of other
    models or data stay stale.
    """
    path, code, stale = path_of(table, book), code_digest(table.row), []
    stored = read_rows(path)
    for configuration in table.configurations(book):
        today = configuration | {"of": rests_on(table, book, configuration)["of"]}
        stale += [one for one in stored if _fits(today, one) and one.get("code") != code]
    for one in random.sample(stale, min(ACCEPTED, len(stale))):
        check(table, book, one)
    write_rows(path, [one | {"code": code} if one in stale else one for one in stored])
    return len(stale)


class _Enough(Exception):
    """The steps that a check repeats are done; it carries the total of each image."""


def early(run: Run, book) -> float:
    """The total on the first 1,000 test images after the first hundred steps of that training."""
    images, _ = training_images(run, book.settings)
    test = book.images("test", run.dataset).subset(slice(EARLY_IMAGES))
    last = min(EARLY, run.epochs * steps_an_epoch(run, images))
    how = recipe(run, book.settings)

    def stop(model, step: int) -> dict:
        if step == last:
            raise _Enough(evaluate(model, test, loss=how["loss"], beta=run.beta)["total"])
        return {}

    try:
        fit(build(run), images, **how, snapshot=stop, progress=False)
    except _Enough as enough:
        return float(enough.args[0].double().mean())


def _fits(configuration: dict, one: dict) -> bool:
    return configuration.items() <= one.items()


def _wanted(table: Table, book, stored: list[dict]) -> list[tuple[dict, dict | None]]:
    """Each configuration with the first row that today's models, data and code made of it.

    Raises ResultError for rows whose digests are none, or of another configuration.
    """
    path, found = path_of(table, book), []
    if not all(DIGEST.fullmatch(one.get(key, "")) for one in stored for key in ("of", "code")):
        raise damaged(path, "has rows without the digests of and code")
    for configuration in table.configurations(book):
        today = rests_on(table, book, configuration)
        one = next((one for one in stored if _fits(today, one)), configuration)
        if not _fits(configuration, one):
            raise damaged(path, f"has a changed row of {configuration}")
        found.append((configuration, one if _fits(today, one) else None))
    return found


def rests_on(table: Table, book, configuration: dict) -> dict[str, str]:
    """Digests of what a row of that configuration depends on: its models, data and configuration
    (``of``), and the ``code`` that measures it.
    """
    parts = [
        [book.experiment(run).digest for run in table.needed(configuration)],
        data_digest("test", table.dataset, book.settings),
        configuration,
    ]
    if run := table.trained(configuration, book):
        parts += [settled(run), data_digest("train", run.dataset, book.settings)]
    return {"of": digest_json(parts), "code": code_digest(table.row)}
