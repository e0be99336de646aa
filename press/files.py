"""What is stored as files: tables, and what takes long to make; and what computes here."""

import csv
import io
import platform
import re
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from press.errors import ResultError
from press.settings import Settings
from vae_helpers.files import load_tensors, write_atomically

# Columns of text, even where it reads as a number: what a row rests on.
TEXT = ("of", "code", "command", "hardware", "python", "torch")
DECIMAL_COMMA = re.compile(r"-?\d+,\d+(E.?\d+)?")


def read_rows(path: Path) -> list[dict]:
    """The rows of a CSV table: numbers as such, a missing value's key left out; none of no file.

    Raises ResultError where a spreadsheet has left its traces: the rows would be lost.
    """
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except UnicodeDecodeError as error:
        raise damaged(path, f"is not UTF-8 ({error.reason})") from error
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise damaged(path, f"has other cells in line {number} than in its head")
        if odd := [text for text in row.values() if DECIMAL_COMMA.fullmatch(text)]:
            raise damaged(path, f"has the number {odd[0]} in line {number}")
    found = [{key: _value(key, text) for key, text in row.items() if text} for row in rows]
    return [row for row in found if row]


def damaged(path: Path, what: str) -> ResultError:
    """The error of a table that went through a spreadsheet."""
    how = "UTF-8, commas between cells, points in numbers, digests as text"
    return ResultError(f"{path} {what}; take back the file as it was, or save it as CSV: {how}")


def write_rows(path: Path, rows: Sequence[dict]) -> None:
    """Write rows as a CSV table, atomically: a column for each key, empty where a row lacks it."""
    keys = dict.fromkeys(key for row in rows for key in row)
    keys = sorted(keys, key=lambda key: TEXT.index(key) if key in TEXT else -1)
    text = io.StringIO()
    writer = csv.DictWriter(text, keys, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())


def _value(key: str, text: str) -> int | float | str:
    if key in TEXT:
        return text
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def kept(
    path: Path,
    of: str,
    *,
    make: Callable[[Path], None],
    remedy: str,
    settings: Settings,
    found: Callable[[Path], str] = lambda path: load_tensors(path)[1]["of"],
) -> Path:
    """A file that takes long to make, such as a film: stored with ``of``, what it was made from.

    Where ``settings.record`` is set, in smoke runs and in retrained ones, it is made first if it is
    missing or was made from something else. make: writes it. found: reads what it has for ``of``.
    Elsewhere, ResultError is raised.
    """
    if path.exists() and found(path) == of:
        return path
    if not (settings.smoke or settings.retrain or settings.record):
        what = "was made from other models, data or code" if path.exists() else "is missing"
        raise ResultError(f"{path} {what}; run `{remedy}`")
    make(path)
    return path


def rounded(value: float) -> float:
    """The value in six digits: a second measurement does not stir the file's differences."""
    return float(f"{value:.6g}")


def hardware(device: str = "cpu") -> str:
    """What computes here, in words: for reports of speed and stored numbers."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*:(.+)", info.read_text() if info.exists() else "")
    cpu = named[1].strip() if named else platform.processor() or platform.machine()
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{cpu}, {torch.get_num_threads()} threads, {capability}"


def versions() -> dict[str, str]:
    """The versions that numbers depend on."""
    return {"python": platform.python_version(), "torch": version("torch")}
