"""Stored numbers, held against what this execution computes.

A chapter prints what ``assets/results`` holds, so its outputs are the same on every machine; the
same cell computes the number, or part of it, again, and ``reported`` raises where the two differ.
"""

import json
import math
from dataclasses import dataclass

from press.errors import ResultError
from press.files import hardware, rounded, versions
from press.settings import Settings
from vae_helpers.files import write_atomically
from vae_helpers.metrics.differences import Estimate

# How far a number may move between machines before it counts as another number.
TOLERANCES = {"nats": 0.02, "nats²": 0.02, "points": 0.2, "L2": 0.02, "score": 0.005}
RECORDED_BY = "make chapters"
STORED = "assets/results"  # the book's own numbers, whatever the profile


@dataclass(frozen=True)
class Retrained(Estimate):
    """A number of a model that was trained anew, beside what the book has for it."""

    book: float | None = None

    def __format__(self, spec: str) -> str:
        text = super().__format__(spec)
        return text if self.book is None else f"{text} (in the book: {self.book:{spec}})"


def reported(
    key: str,
    live: Estimate | float,
    *,
    unit: str,
    of: str,
    settings: Settings,
    tolerance: float | None = None,
) -> Estimate:
    """The stored number called ``key`` (``chapter/what``), checked against ``live``.

    of: digest of the run or data that it belongs to. tolerance: the largest difference allowed,
    absolute; by default that of the unit in ``TOLERANCES``.

    In the smoke profile and for retrained runs it is ``live`` itself; ``settings.record`` stores
    it first. Raises ResultError where the stored number is missing, was made of something else, or
    differs.
    """
    live = live if isinstance(live, Estimate) else Estimate(float(live))
    tolerance = TOLERANCES[unit] if tolerance is None else tolerance
    if settings.smoke:
        return live
    if settings.retrain:
        entry = collected(settings).get(key, {})
        return Retrained(live.value, live.error, live.n, entry.get("value"))
    if settings.record:
        store(key, live, unit=unit, of=of, command=RECORDED_BY, settings=settings)
    known = stored(key, of, settings)
    if not abs(known.value - live.value) <= tolerance:
        raise ResultError(
            f"{key}: stored {known.value} but computed {live.value:.6g} {unit} here, further apart "
            f"than {tolerance:g}; if the code is right, `{RECORDED_BY}` stores the new number"
        )
    return known


def stored(key: str, of: str, settings: Settings) -> Estimate:
    """The stored number called ``key``. Raises ResultError where it is missing or stale."""
    entry = provenance(key, settings)
    if entry["of"] != of and not settings.smoke:
        raise ResultError(
            f"{key}: stored for {entry['of']}, but the code, data or weights are now {of}; run "
            f"`{entry['command']}` again"
        )
    return Estimate(entry["value"], entry["error"], entry["n"])


def provenance(key: str, settings: Settings) -> dict:
    """All that is stored with ``key``: value, error, n, unit, of, hardware, versions, command."""
    entries = collected(settings)
    if key not in entries:
        raise ResultError(f"{key}: nothing stored under this name; run `{RECORDED_BY}`")
    return entries[key]


def collected(settings: Settings, chapter: str = "*") -> dict[str, dict]:
    """All that is stored, or that of a chapter: key → as ``provenance`` gives it."""
    return {
        key: entry
        for path in sorted((settings.root / STORED).glob(f"{chapter}.json"))
        for key, entry in json.loads(path.read_text(encoding="utf-8")).items()
    }


def store(
    key: str, number: Estimate, *, unit: str, of: str, command: str, settings: Settings
) -> None:
    """Put ``number`` into ``assets/results``, with where and how it was made.

    Raises ResultError for a number that is NaN or infinite.
    """
    if not math.isfinite(number.value + (number.error or 0)):
        raise ResultError(f"{key}: {number:g} is no number to store; look for what made it so")
    chapter = key.split("/")[0]
    error = None if number.error is None else rounded(number.error)
    made = {"value": rounded(number.value), "error": error, "n": number.n, "unit": unit, "of": of}
    how = {"hardware": hardware(), "versions": versions(), "command": command}
    entries = collected(settings, chapter) | {key: made | how}
    text = json.dumps(entries, indent=1, sort_keys=True, ensure_ascii=False)
    write_atomically(settings.root / STORED / f"{chapter}.json", f"{text}\n".encode())
