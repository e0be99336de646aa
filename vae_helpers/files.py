"""Files: written whole or not at all, brought by git when asked for, changed in one value."""

import csv
import fcntl
import io
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import yaml

from vae_helpers.settings import ROOT

# Columns of text, even where it reads as a number: what a row rests on.
TEXT = ("of", "command", "hardware", "python", "torch")


class WriteError(OSError):
    """A file that cannot be written; the message names it and what to do."""


class RowError(ValueError):
    """A table whose lines are no rows; the message names the file and the line."""


class FetchError(OSError):
    """A file that git could not bring; the message names it and what to do."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``path`` whole or not at all, whatever happens meanwhile. Raises WriteError."""
    with _named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)  # mkstemp keeps it to its owner, which a shared site is not
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Say of what the system refuses which file it was, and what to do."""
    try:
        yield
    except OSError as error:
        raise WriteError(
            f"{path} cannot be written ({error.strerror or error}); what was there is as it was: "
            "make room or give permission, and call again"
        ) from error


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold ``lock`` against other processes; the system lets go of it even after a SIGKILL.

    Raises WriteError where there can be no such file.
    """
    with _named(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("w")
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


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


def fetched(path: Path, root: Path = ROOT) -> Path:
    """``path`` itself, brought by git where a sparse clone has left the file out.

    A chapter on its own, as in Colab, begins without models and films (see ``colab.py``); each
    follows when it is asked for. Raises FetchError where the file cannot be had.
    """
    if left_out(path, root):
        name = path.relative_to(root).as_posix()
        _git(root, name, "sparse-checkout", "add", f"/{name}")
    return path


def left_out(path: Path, root: Path = ROOT) -> bool:
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


def with_scalar(text: str, keys: Sequence[str | int], value: str) -> str:
    """YAML ``text`` with ``value`` under those keys, and every other byte, comments too, as it was.

    Raises KeyError where nothing stands there yet.
    """
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    for key in keys:
        if isinstance(node, yaml.SequenceNode):
            found = dict(enumerate(node.value))
        else:
            found = {name.value: one for name, one in node.value}
        node = found[key]
    if node.value == value:
        return text
    quoted = yaml.safe_dump(value, default_style='"', allow_unicode=True, width=float("inf"))
    start, end = node.start_mark.index, node.end_mark.index
    end -= len(text[start:end]) - len(text[start:end].rstrip())  # a block's mark is a line too late
    return text[:start] + quoted.rstrip("\n") + text[end:]
