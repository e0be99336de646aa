"""Published figures: that they fit together, and that ours are held against them like with like."""

from types import SimpleNamespace

import pytest
import yaml

from press import experiments
from press.published import compared, stated
from press.runs import RUNS
from vae_helpers.training import History

REPORTS = {
    "dense2-beta-0.5": {"split": "test", "value": 258.0, "parts": [250.0, 16.0]},
    "dense10": {"split": "test", "value": 245.0},
    "dense2": {"split": "train", "value": 300.0},
    "dense10-beta-4": {"split": "train", "value": 290.0},
    "conditional2": {"split": "train", "value": 255.0, "epochs": 3},
}
TABLES = {
    "models": [{"run": "dense2-beta-0.5", "elbo": 264.0, "objective": 257.5}],
    "budgets": [{"run": "conditional2", "epochs": 3, "elbo": 256.0, "train": 254.0}],
}
HISTORY = History(
    [
        {
            "epoch": epoch,
            "split": split,
            "total": 270.0 - epoch,
            "reconstruction": 200.0,
            "kl": 10.0,
        }
        for epoch in (1, 2)
        for split in ("train", "test")
    ]
)


@pytest.fixture
def book(tmp_path):
    """A book of these tables and reports."""
    path = tmp_path / "chapters" / "published.yml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump({name: {"text": "…"} | one for name, one in REPORTS.items()}))
    return SimpleNamespace(
        settings=SimpleNamespace(root=tmp_path),
        rows=lambda table: TABLES[table],
        experiment=lambda name: SimpleNamespace(history=HISTORY),
    )


def test_every_report_fits_a_run_and_its_own_parts():
    for name, one in stated().items():
        run = RUNS[name]
        assert one["split"] in ("train", "test")
        assert f"β = {run.beta:g}" in one["text"] or f"{run.beta:g}·KL" in one["text"]
        if "parts" in one:
            reconstruction, kl = one["parts"]
            assert one["value"] == pytest.approx(reconstruction + run.beta * kl, abs=0.02)
        if "epochs" in one:
            budgets = experiments.find_table("budgets").configurations(None)
            assert {"run": name, "epochs": one["epochs"]} in budgets


@pytest.mark.parametrize(
    ("name", "ours", "elbo", "reference_elbo"),
    [
        ("dense2-beta-0.5", 257.5, 264.0, 266.0),  # of the table of models, with its own β
        ("dense10", 268.0, 210.0, None),  # a run that the table does not have: its history
        ("dense2", 268.0, 268.0, None),  # minimized on training images: at β = 1 a −ELBO itself
        ("dense10-beta-4", 268.0, 210.0, None),  # at another β it is none
        ("conditional2", 254.0, 254.0, None),  # stopped as early as the report
    ],
)
def test_ours_is_what_was_minimized_on_the_reports_images(book, name, ours, elbo, reference_elbo):
    found = {one["run"]: one for one in compared(book)}
    assert found.keys() == REPORTS.keys()
    one = found[name]
    assert (one["ours"], one["elbo"]) == (ours, elbo)
    assert one["reference"] == REPORTS[name]["value"]
    assert one["reference_elbo"] == reference_elbo
    assert one["split"] == REPORTS[name]["split"]
