"""What published student reports state for models like ours, and what ours reach."""

from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from press.runs import RUNS
from press.settings import ROOT

if TYPE_CHECKING:
    from press.book import Book

TERMS = ("reconstruction", "kl")
MINIMIZED = {"train": "train", "test": "objective"}  # split → what tables call it there


def stated(root: Path = ROOT) -> dict[str, dict]:
    """The reports' own figures: run → ``{text, split, value}``, some ``parts``, ``epochs``, …"""
    return yaml.safe_load((root / "chapters" / "published.yml").read_text(encoding="utf-8"))


def compared(book: "Book") -> list[dict]:
    """Each report beside ours, like with like: the same β, split and number of epochs.

    ``run``, ``text``, ``split``; ``reference`` and ``ours``, what was minimized; as −ELBO in nats,
    ``reference_elbo`` (None where its parts are not given) and ``elbo``, which is ours on the test
    images unless what was minimized on training images is one itself.
    """
    rows = {row["run"]: row for row in book.rows("models")}
    reports = stated(book.settings.root)
    return [_beside(book, name, one, rows.get(name)) for name, one in reports.items()]


def repeated(book: "Book", name: str) -> list[float]:
    """What each training of that run minimized, on its report's split and after as many epochs.

    Empty where that was done once.
    """
    one = stated(book.settings.root)[name]
    rows = book.rows("seeds") + book.rows("beta-seeds")
    what = MINIMIZED[one["split"]]
    return [row[what] for row in rows if row["run"] == name and "epochs" not in one]


def _beside(book: "Book", name: str, one: dict, row: dict | None) -> dict:
    run, history, split = RUNS[name], book.experiment(name).history, one["split"]
    if "epochs" in one:  # of a report that stopped early
        row = next(row for row in book.rows("budgets") if row["run"] == name)
        ours = row["train"]
    else:
        ours = row["objective"] if row and split == "test" else history.curve(split)[-1]
    elbo = row["elbo"] if row else sum(history.curve("test", part)[-1] for part in TERMS)
    if split == "train" and run.beta == 1 and run.likelihood == "bernoulli":
        elbo = ours
    return {key: one[key] for key in ("text", "split")} | {
        "run": name,
        "reference": one["value"],
        "ours": ours,
        "reference_elbo": sum(one["parts"]) if "parts" in one else None,
        "elbo": elbo,
    }
