"""The rows of the book's tables by rotation: each day another dozen is measured again, in full.

Chapters measure a few rows again whenever they run, and of a row that trains a model only the first
hundred steps. Here trainings are repeated to their end, where that takes less than a minute.
"""

import random
from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from press import experiments
from press.runs import operations
from press.stored import tables

DOZEN = 12
A_MINUTE = 2.5e12  # floating-point operations of a training, on one core
TODAY = date.today()
WORK = {}  # operations of each kind of training, counted once


def can_be_remade(table, configuration, book):
    """Whether measuring that row again tells something, and takes about a minute at most."""
    if table.name == "speed":  # times: another machine has others
        return False
    run = table.trained(configuration, book)
    if run and (size := replace(run, name="", beta=1.0, seed=0)) not in WORK:
        WORK[size] = operations(size, book.settings)
    small = run is None or WORK[size] <= A_MINUTE
    return small and configuration.get("labels", 0) <= 10_000  # probes of all images take minutes


def due(count, day):
    """Which of so many rows that day measures; each has its turn once its round of days is over."""
    rounds = -(-count // DOZEN)
    turn, number = divmod(day.toordinal(), rounds)
    order = random.Random(turn).sample(range(count), count)
    return [order[place % count] for place in range(number * DOZEN, (number + 1) * DOZEN)]


@pytest.fixture
def every_row(real_book):
    """Each row that can be remade: its table, its configuration, and what is stored of it."""
    return [
        (
            table,
            one,
            next(row for row in tables.rows(table, real_book) if one.items() <= row.items()),
        )
        for table in experiments.tables().values()
        for one in table.configurations(real_book)
        if can_be_remade(table, one, real_book)
    ]


def tolerance(table, configuration, what, value, book):
    """As far as chapters let a row be off. A training's end may be further from the stored one:
    rounding grows, until it is as far off as another seed's, within four standard deviations.
    """
    close = max(tables.CLOSE["rel_tol"] * abs(value), tables.CLOSE["abs_tol"])
    if table.trained(configuration, book):
        same = {key: one for key, one in configuration.items() if key != "seed"}.items()
        values = [row[what] for row in tables.rows(table, book) if same <= row.items()]
        close = max(close, 4 * float(np.std(values, ddof=min(1, len(values) - 1))))
    return close


@pytest.mark.fault(
    "a stored number of a table, or the end of a training, is not what the code gives",
    "found by rotation: each `make check` measures the day's dozen of rows again, in full",
)
@pytest.mark.parametrize("number", range(DOZEN))
def test_a_row_of_the_day_is_what_its_code_gives(real_book, every_row, number):
    table, one, stored = every_row[due(len(every_row), TODAY)[number]]
    for what, value in table.row(real_book, **one).items():
        close = tolerance(table, one, what, stored[what], real_book)
        assert value == pytest.approx(stored[what], abs=close, rel=0), f"{table.name} {one}: {what}"


def test_a_number_that_is_two_per_cent_off_is_found(real_book, every_row):
    table, one, stored = next(row for row in every_row if row[0].name == "compression")
    live, changed = table.row(real_book, **one)["decibels"], 1.02 * stored["decibels"]
    assert abs(live - changed) > tolerance(table, one, "decibels", changed, real_book)


def test_every_row_has_its_turn_within_some_weeks(every_row):
    count = len(every_row)
    rounds = -(-count // DOZEN)
    assert rounds <= 49  # days
    first = TODAY.toordinal() // rounds * rounds
    days = [due(count, date.fromordinal(first + day)) for day in range(rounds)]
    assert all(len(set(day)) == DOZEN for day in days)
    assert {row for day in days for row in day} == set(range(count))
