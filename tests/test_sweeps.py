"""Sweeps: each configuration is a run of its own, and its row says what was learned."""

from dataclasses import replace
from functools import cache

import pytest
import torch

from vae_helpers import data, judge, measurements, runs, sweeps
from vae_helpers.classifier import build_classifier
from vae_helpers.settings import Settings
from vae_helpers.training import History


def test_every_configuration_is_another_training():
    for name, table in sweeps.TABLES.items():
        made = [table.trains(one) for one in table.configurations()]
        made = [run for run in made if run is not None]
        assert len(set(made)) == len(made), name
        assert all(run.epochs > 1 for run in made)
        assert all(run.annealing in runs.ANNEALING for run in made)


@pytest.mark.parametrize("name", sweeps.TABLES)
def test_every_number_that_is_compared_has_three_seeds(name):
    configurations = list(sweeps.TABLES[name].configurations())
    if name == "budgets":  # a report's budget, not a comparison of ours
        assert len(configurations) == 1
        return
    settings = {}
    for one in configurations:
        rest = tuple((key, value) for key, value in one.items() if key != "seed")
        settings.setdefault(rest, set()).add(one["seed"])
    deterministic, wanted = (("codes", "PCA"),), 5 if name == "augmentation" else 3
    assert all(len(seeds) == wanted for rest, seeds in settings.items() if rest != deterministic)


@pytest.fixture
def quick(smoke):
    judge.reference.cache_clear()
    judge.network.cache_clear()
    yield smoke
    judge.reference.cache_clear()
    judge.network.cache_clear()


def test_a_row_tells_what_was_learned(quick):
    table = sweeps.TABLES["latent-sizes"]
    row = table.row(latent=4, seed=0)
    assert row == table.row(latent=4, seed=0)
    assert row != table.row(latent=4, seed=1)
    assert row["elbo"] == pytest.approx(row["reconstruction"] + row["kl"], abs=1e-3)
    assert row["objective"] == pytest.approx(row["elbo"], abs=1e-3)  # at β = 1
    assert 0 <= row["active"] <= 4
    assert row["frechet"] > 0
    assert table.runs({"latent": 4, "seed": 0}) == ("classifier",)


def test_digits_are_not_shown_to_the_judge_of_garments(quick):
    run = runs.find_run("mnist-dense2")
    assert "frechet" not in sweeps.learned(run)
    assert "frechet" in sweeps.learned(runs.find_run("dense2"))


def test_free_bits_keep_dimensions_that_a_large_beta_would_drop(smoke, monkeypatch):
    drawn = {"train": data.garments(600), "test": data.garments(200, seed=1)}
    for module in (runs, sweeps):
        monkeypatch.setattr(module.data, "load", lambda split, name="": drawn[split])
    monkeypatch.setattr(Settings, "smoke", False)
    run = sweeps.TABLES["annealing"].trains({"beta": 10.0, "method": "free bits", "seed": 0})
    free = sweeps.scores(sweeps.train(run)[0], run)
    run = sweeps.TABLES["annealing"].trains({"beta": 10.0, "method": "constant", "seed": 0})
    plain = sweeps.scores(sweeps.train(run)[0], run)
    assert free["kl"] > plain["kl"] + 1


def test_codes_of_garments_are_scored_with_their_baselines(quick):
    rows = measurements.measured("disentanglement")
    codes = {row["codes"] for row in rows}
    assert codes == {"β = 0.5", "β = 1", "β = 4", "random", "PCA"}
    assert all(0 <= row[what] <= 1 for row in rows for what in ("mig", "disentanglement"))
    assert all(("early" in row) == row["codes"].startswith("β") for row in rows)


def test_a_study_of_few_labels_sees_no_other_labels():
    for table in ("augmentation", "few-labels"):
        for one in sweeps.TABLES[table].configurations():
            run = sweeps.TABLES[table].trains(one)
            assert run.labelled == one["labels"]
            assert run.seed == one["seed"]


def test_classifiers_with_and_without_samples_get_the_same_images_and_steps(quick, monkeypatch):
    trainings = []

    def counted(run, images=None):
        trainings.append((run, images or runs.training_images(run)[0]))
        return runs.build(run).eval(), None

    monkeypatch.setattr(sweeps, "train", counted)
    monkeypatch.setattr(sweeps, "SHARES", {600: (2, 2)})
    monkeypatch.setattr(judge, "network", cache(lambda: build_classifier(64).eval()))
    monkeypatch.setattr(runs, "shortened", lambda run: replace(run, labelled=100))
    row = sweeps.augmented(600, "without", 0)
    assert set(row) == {"accuracy"}
    (_, plain), *_ = trainings
    row = sweeps.augmented(600, "with", 0)
    assert set(row) == {"accuracy", "recognized"}
    (first, _), (cvae, seen), (second, both) = trainings
    assert cvae.conditional
    assert torch.equal(seen.images, plain.images)
    assert torch.equal(both.images[: len(plain)], plain.images)
    assert len(both) == 2 * len(plain)
    assert torch.bincount(both.labels).tolist() == [20] * 10
    assert first.epochs == 2 * second.epochs


def test_digits_rows_tell_how_the_training_went(quick, monkeypatch):
    curve = [10.0] * 5 + [9.0, 9.5] + [8.0] * 10 + [7.0]  # rises once, a nat after epoch 15
    history = History([{"epoch": i + 1, "split": "train", "total": v} for i, v in enumerate(curve)])
    monkeypatch.setattr(sweeps, "train", lambda run: (runs.build(run).eval(), history))
    row = sweeps.TABLES["digits"].row(change="none", seed=0)
    assert row["rises"] == 1
    assert row["late"] == 1
    assert 0 <= row["votes"] <= 1
    assert row["train"] == 7
