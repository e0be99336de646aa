"""What the benchmarks share: timings in turn, and where their numbers go."""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # whatever checkout is installed

from press.book import open_book
from press.stored import numbers
from vae_helpers.metrics.differences import Estimate

BOOK = open_book()
CHILD = os.environ | BOOK.settings.environment()  # of a process that a benchmark starts
PAUSE = 0.3  # seconds; threads that wait for more work spin, on cores that others need
Numbers = dict[str, tuple[Estimate, str]]


def seconds(call: Callable) -> float:
    """How long a call takes, once the threads of the one before no longer wait for more work."""
    time.sleep(PAUSE)
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def in_turn(slow: Callable, fast: Callable, repeats: int) -> tuple[list[float], list[float]]:
    """Seconds of two calls that alternate, so that a busy moment hits both; the first are spare."""
    pairs = [(seconds(slow), seconds(fast)) for _ in range(repeats + 1)][1:]
    return [a for a, _ in pairs], [b for _, b in pairs]


def ratio(slow: list[float], fast: list[float]) -> Estimate:
    """How many times as long the first ones take: mean ± standard deviation of the ratios."""
    return spread([a / b for a, b in zip(slow, fast, strict=True)])


def spread(values: list[float]) -> Estimate:
    """Mean ± standard deviation."""
    return Estimate(statistics.mean(values), statistics.stdev(values), len(values))


def main(docstring: str, command: str, of: str, measured: Callable[[], Numbers]) -> None:
    """Measure, print, and with ``--store`` put the numbers under ``performance/``."""
    parser = argparse.ArgumentParser(description=docstring.splitlines()[0])
    parser.add_argument("--store", action="store_true", help="write assets/results")
    wanted = parser.parse_args()
    for name, (number, unit) in measured().items():
        count = f" (n = {number.n})" if number.n else ""
        print(f"{name:40} {number:.4g} {unit}{count}")
        if wanted.store:
            numbers.store(
                *(f"performance/{name}", number),
                **{"unit": unit, "of": of, "command": command, "settings": BOOK.settings},
            )
