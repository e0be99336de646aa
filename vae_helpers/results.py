"""Stored numbers, held against what this execution computes.

A chapter prints what ``assets/results`` holds, so its outputs are the same on every machine; the
same cell computes the number, or part of it, again, and ``reported`` raises where the two differ.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from vae_helpers.files import write_atomically
from vae_helpers.settings import ROOT, settings
from vae_helpers.storage import hardware, versions

# How far a number may move between machines before it counts as another number.
TOLERANCES = {"nats": 0.02, "nats²": 0.02, "points": 0.2, "L2": 0.02, "score": 0.005}
RECORDED_BY = "make chapters"


class ResultError(AssertionError):
    """A stored number that is missing, stale or contradicted; the message says what to do."""


@dataclass(frozen=True)
class Estimate:
    """A number, its standard error and the count it rests on; formats as ``241.98 ± 0.87``.

    book: what the book has for it, where this number comes from a run trained anew.
    """

    value: float
    error: float | None = None
    n: int | None = None
    book: float | None = None

    def __format__(self, spec: str) -> str:
        text = format(self.value, spec)
        if self.error is not None:
            text += f" ± {format(self.error, spec)}"
        if self.book is not None:
            text += f" (in the book: {format(self.book, spec)})"
        return text


def estimate(examples: Tensor) -> Estimate:
    """The mean of ``examples`` ``(N,)`` with its standard error, in double precision."""
    examples = examples.double().flatten()
    n = len(examples)
    error = float(examples.std()) / math.sqrt(n) if n > 1 else None
    return Estimate(float(examples.mean()), error, n)


def reported(
    key: str,
    live: Estimate | float,
    *,
    unit: str,
    of: str,
    tolerance: float | None = None,
) -> Estimate:
    """The stored number called ``key`` (``chapter/what``), checked against ``live``.

    of: digest of the run or data that it belongs to. tolerance: the largest difference allowed,
    absolute; by default that of the unit in ``TOLERANCES``.

    In the smoke profile and for retrained runs it is ``live`` itself; ``VAE_RECORD=1`` stores it.
    Raises ResultError where the stored number is missing, was made of something else, or differs.
    """
    live = live if isinstance(live, Estimate) else Estimate(float(live))
    tolerance = TOLERANCES[unit] if tolerance is None else tolerance
    now = settings()
    if now.smoke:
        return live
    if now.retrain:
        return Estimate(
            live.value, live.error, live.n, book=_entries(key).get(key, {}).get("value")
        )
    if now.record:
        store(key, live, unit=unit, of=of, command=RECORDED_BY)
        return stored(key, of)
    known = stored(key, of)
    if not abs(known.value - live.value) <= tolerance:
        raise ResultError(
            f"{key}: stored {known.value} but computed {live.value:.6g} {unit} here, further apart "
            f"than {tolerance:g}; if the code is right, `{RECORDED_BY}` stores the new number"
        )
    return known


def stored(key: str, of: str) -> Estimate:
    """The stored number called ``key``. Raises ResultError where it is missing or stale."""
    entry = provenance(key)
    if entry["of"] != of and not settings().smoke:
        raise ResultError(
            f"{key}: stored for {entry['of']}, but the code, data or weights are now {of}; run "
            f"`{entry['command']}` again"
        )
    return Estimate(entry["value"], entry["error"], entry["n"])


def provenance(key: str) -> dict:
    """All that is stored with ``key``: value, error, n, unit, of, hardware, versions, command."""
    entries = _entries(key)
    if key not in entries:
        raise ResultError(f"{key}: nothing stored under this name; run `{RECORDED_BY}`")
    return entries[key]


def collected() -> dict[str, dict]:
    """All that is stored: key → as ``provenance`` gives it, chapter by chapter."""
    return {
        key: entry
        for path in sorted(_folder().glob("*.json"))
        for key, entry in json.loads(path.read_text(encoding="utf-8")).items()
    }


def store(key: str, number: Estimate, *, unit: str, of: str, command: str) -> None:
    """Put ``number`` into ``assets/results``, with where and how it was made.

    Raises ResultError for a number that is NaN or infinite.
    """
    if not math.isfinite(number.value + (number.error or 0)):
        raise ResultError(f"{key}: {number:g} is no number to store; look for what made it so")
    entries = _entries(key)
    entries[key] = {
        "value": _rounded(number.value),
        "error": None if number.error is None else _rounded(number.error),
        "n": number.n,
        "unit": unit,
        "of": of,
        "hardware": hardware(),
        "versions": versions(),
        "command": command,
    }
    text = json.dumps(entries, indent=1, sort_keys=True, ensure_ascii=False)
    write_atomically(_file(key), f"{text}\n".encode())


def _folder() -> Path:
    return ROOT / "assets" / "results"


def _file(key: str) -> Path:
    return _folder() / f"{key.split('/')[0]}.json"


def _entries(key: str) -> dict[str, dict]:
    path = _file(key)
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _rounded(value: float) -> float:
    # Six digits: finer than any tolerance, and a second recording does not stir the diff.
    return float(f"{value:.6g}")
