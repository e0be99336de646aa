"""What published student reports state for models like ours, and what ours reach."""

from pathlib import Path

import yaml

from vae_helpers import measurements, runs
from vae_helpers.settings import ROOT

TERMS = ("reconstruction", "kl")
MINIMIZED = {"train": "train", "test": "objective"}  # split → what tables call it there
STATED = ROOT / "chapters" / "references.yml"


def stated(path: Path = STATED) -> dict[str, dict]:
    """The reports' own figures: run → ``{text, split, value}``, some ``parts``, ``epochs``, …"""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def compared() -> list[dict]:
    """Each reference beside ours, like with like: the same β, split and number of epochs.

    ``run``, ``text``, ``split``; ``reference`` and ``ours``, what was minimized; as −ELBO in nats,
    ``reference_elbo`` (None where its parts are not given) and ``elbo``, which is ours on the test
    images unless what was minimized on training images is one itself.
    """
    rows = {row["run"]: row for row in measurements.measured("models")}
    return [_beside(name, one, rows.get(name)) for name, one in stated().items()]


def repeated(name: str) -> list[float]:
    """What each training of that run minimized, on its reference's split and after as many epochs.

    Empty where that was done once.
    """
    one = stated()[name]
    rows = measurements.measured("seeds") + measurements.measured("beta-seeds")
    return [
        row[MINIMIZED[one["split"]]] for row in rows if row["run"] == name and "epochs" not in one
    ]


def _beside(name: str, one: dict, row: dict | None) -> dict:
    history = runs.trained(name).history
    if "epochs" in one:  # of a report that stopped early
        row = next(r for r in measurements.measured("budgets") if r["run"] == name)
        ours = row["train"]
    else:
        ours = (
            row["objective"] if row and one["split"] == "test" else history.curve(one["split"])[-1]
        )
    elbo = row["elbo"] if row else sum(history.curve("test", part)[-1] for part in TERMS)
    run = runs.RUNS[name]
    if one["split"] == "train" and run.beta == 1 and run.likelihood == "bernoulli":
        elbo = ours
    return {
        "run": name,
        "text": one["text"],
        "split": one["split"],
        "reference": one["value"],
        "ours": ours,
        "reference_elbo": sum(one["parts"]) if "parts" in one else None,
        "elbo": elbo,
    }
