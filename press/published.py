"""What published student reports state for models like ours, and what ours reach."""

from pathlib import Path

import yaml

from press.runs import RUNS
from press.settings import ROOT

MINIMIZED = {"train": "train", "test": "objective"}  # split → what tables call it there


def stated(root: Path = ROOT) -> dict[str, dict]:
    """The reports' own figures: run → ``{text, split, value}``, some ``parts``, ``epochs``, …"""
    return yaml.safe_load((root / "chapters" / "published.yml").read_text(encoding="utf-8"))


def compared(book) -> list[dict]:
    """Each report beside ours, like with like: the same β, split and number of epochs.

    ``run``, ``text``, ``split``; ``reference`` and ``ours``, what was minimized; as −ELBO in nats,
    ``reference_elbo`` (None where its parts are not given) and ``elbo``, which is ours on the test
    images unless what was minimized on training images is one itself.
    """
    models, stopped = ({row["run"]: row for row in book.rows(one)} for one in ("models", "budgets"))
    found = []
    for name, one in stated(book.settings.root).items():
        run, curve = RUNS[name], book.experiment(name).history.curve
        elbo = curve("test", "reconstruction")[-1] + curve("test", "kl")[-1]
        row = {"train": curve("train")[-1], "objective": curve("test")[-1], "elbo": elbo}
        row |= stopped[name] if "epochs" in one else models.get(name, {})
        ours = row[MINIMIZED[one["split"]]]
        is_elbo = one["split"] == "train" and run.beta == 1 and run.likelihood == "bernoulli"
        elbo = ours if is_elbo else row["elbo"]
        theirs = {"reference": one["value"], "reference_elbo": sum(one.get("parts", ())) or None}
        found.append(one | theirs | {"run": name, "ours": ours, "elbo": elbo})
    return found
