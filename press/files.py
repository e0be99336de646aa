"""Files of the book: tables, what a sparse clone has left out; and what computes here."""

import csv
import io
import platform
import subprocess
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch

from press.errors import FetchError, RowError
from vae_helpers.files import write_atomically

# Columns of text, even where it reads as a number: what a row rests on.
TEXT = ("of", "code", "command", "hardware", "python", "torch")


def read_rows(path: Path) -> list[dict]:
    """The rows of a CSV table: numbers as such, a missing value's key left out.

    Empty where there is no file. Raises RowError for a line with more or fewer cells than the head.
    """
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        head, *lines = list(csv.reader(file)) or [[]]
    for number, line in enumerate(lines, 2):
        if len(line) != len(head):
            raise RowError(f"{path}: line {number} has {len(line)} of {len(head)} cells; delete it")
    return [
        {
            key: text if key in TEXT else _value(text)
            for key, text in zip(head, line, strict=True)
            if text
        }
        for line in lines
    ]


def write_rows(path: Path, rows: Sequence[dict]) -> None:
    """Write rows as a CSV table, atomically: a column for each key, empty where a row lacks it."""
    keys = dict.fromkeys(key for row in rows for key in row)
    keys = [key for key in keys if key not in TEXT] + [key for key in TEXT if key in keys]
    text = io.StringIO()
    writer = csv.DictWriter(text, keys, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())


def _value(text: str) -> bool | int | float | str:
    if text in ("True", "False"):
        return text == "True"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def fetched(path: Path, root: Path) -> Path:
    """``path`` itself, brought by git where a sparse clone has left the file out.

    A chapter on its own, as in Colab, begins without models and films (see ``colab.py``); each
    follows when it is asked for. Raises FetchError where the file cannot be had.
    """
    if left_out(path, root):
        name = path.relative_to(root).as_posix()
        _git(root, name, "sparse-checkout", "add", f"/{name}")
    return path


def left_out(path: Path, root: Path) -> bool:
    """Whether git has the file but a sparse clone does not show it.

    A full clone never asks git: a file deleted there stays away, and is made anew.
    """
    sparse = root / ".git" / "info" / "sparse-checkout"
    if path.exists() or not sparse.exists() or not path.is_relative_to(root):
        return False
    return _skipped(root, path.relative_to(root).as_posix())


@cache  # a file once brought exists, and is not asked for again
def _skipped(root: Path, name: str) -> bool:
    return _git(root, name, "ls-files", "-t", "--", name).startswith("S ")  # skip-worktree


def _git(root: Path, name: str, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True)
    if done.returncode:
        reason = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise FetchError(
            f"{name}: left out of this clone, and git could not bring it ({reason[-1]}); "
            "run the cell again when the network is back"
        )
    return done.stdout


def hardware(device: str = "cpu") -> str:
    """What computes here, in words: for reports of speed and stored numbers."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].split(":", 1)[1].strip() if names else cpu
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{cpu}, {torch.get_num_threads()} threads, {capability}"


def versions() -> dict[str, str]:
    """The versions that numbers depend on."""
    return {"python": platform.python_version(), "torch": version("torch")}
