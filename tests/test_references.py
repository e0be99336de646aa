"""Published figures: that they fit together, and that ours are held against them like with like."""

import pytest

from vae_helpers import measurements, references, runs, sweeps


def test_every_reference_fits_a_run_and_its_own_parts():
    for name, one in references.stated().items():
        run = runs.RUNS[name]
        assert one["split"] in ("train", "test")
        assert f"β = {run.beta:g}" in one["text"] or f"{run.beta:g}·KL" in one["text"]
        if "parts" in one:
            reconstruction, kl = one["parts"]
            assert one["value"] == pytest.approx(reconstruction + run.beta * kl, abs=0.02)


def test_ours_is_what_was_minimized_on_the_references_images(smoke, monkeypatch):
    stated = references.stated()
    some = {name: stated[name] for name in ("dense2-beta-0.5", "dense10", "conditional2")}
    some["dense2"] = {"text": "…", "split": "train", "value": 300.0}
    monkeypatch.setattr(references, "stated", lambda: some)
    monkeypatch.setattr(measurements, "MODELS", ("dense2-beta-0.5",))
    found = {one["run"]: one for one in references.compared()}
    assert list(found) == list(some)
    # of the table of models, with the run's own β
    (row,) = measurements.measured("models")
    half = found["dense2-beta-0.5"]
    assert half["ours"] == row["objective"]
    assert half["ours"] == pytest.approx(row["reconstruction"] + 0.5 * row["kl"], abs=0.01)
    assert half["elbo"] == row["elbo"]
    assert half["reference_elbo"] == pytest.approx(262.47)
    # of a run that the table does not have, and of one held against its training loss
    assert found["dense10"]["ours"] == runs.trained("dense10").history.curve("test")[-1]
    assert found["dense2"]["ours"] == runs.trained("dense2").history.curve("train")[-1]
    assert found["dense2"]["reference_elbo"] is None
    # of a run that was stopped as early as the reference
    (early,) = measurements.measured("budgets")
    assert found["conditional2"]["ours"] == early["train"]
    assert found["conditional2"]["elbo"] == early["train"]  # at β = 1 it is one
    assert sweeps.TABLES["budgets"].configurations() == [{"run": "conditional2", "epochs": 3}]


def test_ours_of_several_trainings_is_what_the_one_was_held_against(smoke):
    own, other = references.repeated("dense2-beta-0.5")
    rows = [row for row in measurements.measured("seeds") if row["run"] == "dense2-beta-0.5"]
    assert [own, other] == [row["objective"] for row in rows]
    (stored,) = (one for one in references.compared() if one["run"] == "dense2-beta-0.5")
    assert own == pytest.approx(stored["ours"], abs=0.01)
    assert other != own
    assert len(references.repeated("beta-1")) == 2
    assert references.repeated("conditional2") == []  # its reference stopped early, ours did once
