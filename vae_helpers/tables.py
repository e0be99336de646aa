"""Tables of costly numbers: made once by a command, stored, and spot-checked by chapters.

A table is a CSV file; a row is a configuration, what was measured for it, on what machine, and a
digest of all that it depends on, so that it can be measured again on its own: a new model adds rows
and leaves the others. Making a table can be interrupted and called again.
"""

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from vae_helpers import data, runs
from vae_helpers.files import alone, left_out, read_rows, write_rows
from vae_helpers.results import Estimate, ResultError
from vae_helpers.runs import Run
from vae_helpers.settings import ROOT, settings
from vae_helpers.storage import digest_json, hardware, versions
from vae_helpers.training import evaluate, fit

CLOSE = 0.01  # how far a row measured here may be from the stored one, as a share of it
CLOSE_TO_ZERO = 0.001  # and in itself: one of a thousand images, where a share is counted
EARLY_CLOSE = 0.001  # of a training's first steps: seeds differ by 1 %, thread counts by 1e-9
EARLY = 100  # steps of a training that a check repeats
EARLY_IMAGES = 1_000


@dataclass(frozen=True)
class Table:
    """What is measured for which configurations, and what a row depends on besides.

    command: the one that makes the table, without its name. runs: the models of the book that a
    configuration needs. trains: the run that measuring a row trains and then forgets, if any.
    dataset: whose test images it measures on. file: where it lies instead of among the book's
    tables; rows that it does not ask for stay there.
    """

    name: str
    command: str
    row: Callable[..., dict[str, float]]
    configurations: Callable[[], Iterable[dict]]
    runs: Callable[[dict], tuple[str, ...]] = lambda configuration: ()
    trains: Callable[[dict], Run | None] = lambda configuration: None
    dataset: str = "fashion-mnist"
    file: Path | None = None

    @property
    def remedy(self) -> str:
        """What to type where the table is missing or stale."""
        return f"{self.command} {self.name}"


def measured(table: Table) -> list[dict]:
    """The rows of that table, as stored; measured first in smoke runs and retrained ones.

    Raises ResultError where the table is missing, or belongs to other models, data or
    configurations.
    """
    if settings().smoke or settings().retrain:
        measure(table)
    current = _current(table, read_rows(folder() / f"{table.name}.csv"))
    wanted = list(table.configurations())
    if len(current) < len(wanted):
        raise ResultError(
            f"the table {table.name!r} has {len(current)} of the {len(wanted)} rows that belong "
            f"to these models and data; run `{table.remedy}`"
        )
    return current


def check(table: Table, **configuration) -> dict:
    """Measure one row of that table again, here; return the stored one.

    Of a row that trains a model, only the first hundred steps of that training are repeated; what
    it scored in the end is not. Raises ResultError where these lead elsewhere by more than 0.1 %,
    or a number is off by more than 1 % and 0.001, and KeyError for a configuration that the table
    does not have. Smoke runs and retrained ones have measured it themselves.
    """
    rows = [row for row in measured(table) if configuration.items() <= row.items()]
    if len(rows) != 1:
        raise KeyError(f"{len(rows)} rows of {table.name!r} have {configuration}; name one of them")
    if settings().smoke or settings().retrain:
        return rows[0]
    run = table.trains(configuration)
    if run is None:
        live, close = table.row(**configuration), {"rel_tol": CLOSE, "abs_tol": CLOSE_TO_ZERO}
    else:
        live, close = {"early": early(run)}, {"rel_tol": EARLY_CLOSE}
    for what, value in live.items():
        if not math.isclose(value, rows[0][what], **close):
            raise ResultError(
                f"{table.name}, {configuration}: stored {what} {rows[0][what]} but {value:.6g} "
                f"here; if the code is right, delete that row and run `{table.remedy}`"
            )
    return rows[0]


def head(table: Table) -> dict:
    """How that table was made: its ``command`` and ``hardware``."""
    return _head(measured(table))


def made() -> list[dict]:
    """How the book's own tables were made: ``name``, number of ``rows``, and their ``head``."""
    paths = sorted((ROOT / "assets" / "results" / "tables").glob("*.csv"))
    stored = {path.stem: read_rows(path) for path in paths}
    return [{"name": name, "rows": len(rows)} | _head(rows) for name, rows in stored.items()]


def _head(rows: Iterable[dict]) -> dict:
    """What they rest on, all that there is of each where they differ."""
    return {
        what: "; ".join(sorted({row[what] for row in rows})) for what in ("command", "hardware")
    }


def over_seeds(rows: Iterable[dict], what: str, **configuration) -> Estimate:
    """Mean and standard deviation (not error) of a measured value over the matching rows."""
    values = [row[what] for row in rows if configuration.items() <= row.items() and what in row]
    if not values:
        raise KeyError(f"no row has {what} for {configuration}")
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Estimate(float(np.mean(values)), spread, len(values))


def measure(table: Table, rows: "Rows | None" = None) -> Path:
    """Measure that table, or go on where an interrupted call stopped; return its file.

    rows: yields the rows of the configurations that it is called with, as they are done; one after
    the other here, by default. Does nothing where the table is up to date. One process at a time
    makes a table; another one waits for it.
    """
    path = table.file or folder() / f"{table.name}.csv"
    unfinished = settings().work / "measurements" / path.name
    with alone(unfinished.with_suffix(".lock")):
        kept = _current(table, read_rows(path))
        kept += [row for row in _current(table, read_rows(unfinished)) if row not in kept]
        wanted = list(table.configurations())
        others = [
            row
            for row in (read_rows(path) if table.file else ())
            if not any(_fits(one, row) for one in wanted)
        ]
        todo = [one for one in wanted if not any(_fits(one, row) for row in kept)]
        if not todo and not unfinished.exists() and path.exists():
            return path
        for row in (rows or _one_by_one)(table, todo):
            kept.append(row)
            write_rows(unfinished, kept)
        kept.sort(key=lambda row: next(i for i, one in enumerate(wanted) if _fits(one, row)))
        write_rows(path, others + kept)
        unfinished.unlink(missing_ok=True)
    return path


Rows = Callable[[Table, Sequence[dict]], Iterable[dict]]


def _one_by_one(table: Table, configurations: Sequence[dict]) -> Iterator[dict]:
    for one in tqdm(configurations, desc=table.name, unit="row", disable=settings().smoke):
        yield measured_row(table, one)


def measured_row(table: Table, configuration: dict) -> dict:
    """The row of that configuration, measured here and now, with all that is stored of it."""
    values = table.row(**configuration)
    if (run := table.trains(configuration)) is not None:
        values["early"] = early(run)
    rounded = {key: float(f"{value:.6g}") for key, value in values.items()}
    rests_on = {"of": digest(table, configuration), "command": table.remedy}
    return configuration | rounded | rests_on | {"hardware": hardware(), **versions()}


class _Enough(Exception):
    """The steps that a check repeats are done."""


def early(run: Run) -> float:
    """The total on the first 1,000 test images after the first hundred steps of that training."""
    images, _ = runs.training_images(run)
    test = data.load("test", run.dataset).subset(slice(EARLY_IMAGES))
    last = min(EARLY, run.epochs * math.ceil(len(images) / run.batch_size))
    recipe, found = runs.recipe(run), []

    def stop(model, step: int) -> dict:
        if step == last:
            found.append(evaluate(model, test, loss=recipe["loss"], beta=run.beta)["total"])
            raise _Enough
        return {}

    with contextlib.suppress(_Enough):
        fit(runs.build(run), images, **recipe, snapshot=stop, progress=False)
    return float(found[0].double().mean())


def _fits(configuration: dict, row: dict) -> bool:
    return configuration.items() <= row.items()


def _current(table: Table, rows: list[dict]) -> list[dict]:
    """The rows of today's configurations that were measured on today's models and data.

    Of a model that a sparse clone has left out nothing can have changed, so its rows are current.
    """

    def digests(one: dict) -> set[str]:
        if any(left_out(runs.checkpoint_path(run)) for run in table.runs(one)):
            return {row["of"] for row in rows if _fits(one, row)}
        return {digest(table, one)}

    wanted = {of: one for one in table.configurations() if rows for of in digests(one)}
    return [row for row in rows if row["of"] in wanted and _fits(wanted[row["of"]], row)]


def digest(table: Table, configuration: dict) -> str:
    """Sixteen hex digits of all that a row of that configuration depends on."""
    parts = [run_digest(run) for run in table.runs(configuration)]
    parts = [parts, data.load("test", table.dataset).digest, configuration]
    if (run := table.trains(configuration)) is not None:
        parts += [runs.settled(run), data.load("train", run.dataset).digest]
    return digest_json(parts)


def run_digest(run: str) -> str:
    """The digest of that model, which is not loaded where its checkpoint is the same file."""
    path = runs.checkpoint_path(run)
    if not path.exists():
        return runs.trained(run).digest
    stat = path.stat()
    return _digest_of_file(run, path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _digest_of_file(run: str, path: Path, mtime: int, size: int) -> str:
    return runs.trained(run).digest


def folder() -> Path:
    """Where the tables lie."""
    return settings().assets / "results" / "tables"
