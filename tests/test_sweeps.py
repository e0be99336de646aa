"""Sweeps: each configuration is a run of its own, and its row says what was learned."""

import re
from dataclasses import replace
from functools import cache

import pytest
import torch

from vae_helpers import data, judge, measurements, runs, sweeps, tables
from vae_helpers.__main__ import main
from vae_helpers.classifier import build_classifier
from vae_helpers.metrics.images import diversity
from vae_helpers.results import ResultError
from vae_helpers.runs import Run
from vae_helpers.settings import Settings
from vae_helpers.training import History

FIVE_SEEDS = ("augmentation", "beta-seeds", "betas", "latent-sizes", "seeds", "training-sizes")


def test_every_configuration_is_another_training():
    for name, table in sweeps.TABLES.items():
        made = [table.trains(one) for one in table.configurations()]
        made = [run for run in made if run is not None]
        assert len(set(made)) == len(made), name
        assert all(run.epochs > 1 for run in made)
        assert all(run.annealing in runs.ANNEALING for run in made)


@pytest.mark.parametrize("name", sweeps.TABLES)
def test_every_number_that_is_compared_has_three_seeds_or_five(name):
    configurations = list(sweeps.TABLES[name].configurations())
    if name == "budgets":  # a report's budget, not a comparison of ours
        assert len(configurations) == 1
        return
    settings = {}
    for one in configurations:
        rest = tuple((key, value) for key, value in one.items() if key != "seed")
        settings.setdefault(rest, set()).add(one["seed"])
    deterministic, wanted = (("codes", "PCA"),), 5 if name in FIVE_SEEDS else 3
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


def test_a_run_of_the_book_is_repeated_from_other_seeds_but_not_from_its_own(quick, monkeypatch):
    table = sweeps.TABLES["seeds"]
    trainings = []
    train = sweeps.train
    monkeypatch.setattr(sweeps, "train", lambda run: trainings.append(run.seed) or train(run))
    own, other = (table.row(run="dense2", seed=seed) for seed in (42, 0))
    assert trainings == [0]
    assert own["elbo"] == pytest.approx(
        sweeps.scores(runs.trained("dense2").model, runs.find_run("dense2"))["elbo"]
    )
    assert own.keys() == other.keys()
    assert own["elbo"] != other["elbo"]
    assert all(row["bound"] > 0 for row in (own, other))
    assert all(0 <= row[what] <= 1 for row in (own, other) for what in ("blind", "sighted"))
    assert table.runs({"run": "dense2", "seed": 42}) == ("dense2", "classifier")
    assert table.runs({"run": "dense2", "seed": 0}) == ("classifier",)
    assert table.runs({"run": "mnist-dense2", "seed": 0}) == ()


def test_what_needs_no_labels_is_not_asked_of_a_conditional_model(quick):
    row = sweeps.repeated("conditional2", 0)
    assert "frechet" in row
    assert not {"bound", "blind", "sighted"} & row.keys()


def test_pictures_are_judged_against_real_ones_of_the_same_classes(quick, monkeypatch):
    real = runs.test_images(runs.find_run("beta-1"))[:][0]
    blurred = sweeps.pictured("beta-1", 0)
    assert 0 < blurred["reconstructed"] < 100
    assert "frechet" not in blurred  # the judge knows ten classes
    monkeypatch.setattr(sweeps.latent, "decode", lambda model, latents: real)
    perfect = sweeps.pictured("beta-1", 0)
    assert perfect["sharpness"] == perfect["reconstructed"] == pytest.approx(100)
    assert perfect["diversity"] == diversity(real)[0]


def test_few_training_images_are_seen_as_often_as_takes_as_many_steps():
    table = sweeps.TABLES["training-sizes"]
    steps = {
        images: -(-images // run.batch_size) * run.epochs
        for images in sweeps.TRAINING_SIZES
        for run in [table.trains({"images": images, "seed": 0})]
    }
    assert steps[60_000] == 4_690
    assert all(found == pytest.approx(4_690, rel=0.02) for found in steps.values())


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


# --- grids --------------------------------------------------------------------------------------


def test_a_grid_has_a_run_for_each_combination(smoke):
    table = sweeps.grid(latent=(2, 10), beta=[0.5, 1], seed=range(3), body=("dense", "conv"))
    configurations = table.configurations()
    assert len(configurations) == 2 * 2 * 3 * 2
    made = {table.trains(one) for one in configurations}
    assert len(made) == len(configurations)
    assert {run.latent for run in made} == {2, 10}
    assert {run.beta for run in made} == {0.5, 1.0}
    assert {one["schedule"] for one in configurations} == {"one-cycle"}


def test_a_worker_finds_a_grid_by_its_name(smoke):
    table = sweeps.grid(latent=(2, 3), beta=(1,), dataset=["garments"])
    again = sweeps.find(table.name)
    assert again.configurations() == table.configurations()
    for one in table.configurations():
        assert tables.digest(again, one) == tables.digest(table, one)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ("depth=3", "no axis depth; choose from body, latent"),
        ("latent=two", "latent=two is no int"),
        ("latent=0", "latent size 0; a VAE needs at least one dimension"),
        ("body=mlp", "no body 'mlp'; choose one of"),
        ("beta=", "beta= is no float"),
        ("schedule=cosine", "no schedule 'cosine'; choose one of constant, one-cycle"),
        ("annealing=slow", "no annealing 'slow'; choose one of constant, linear, cyclical"),
        ("likelihood=poisson", "no likelihood 'poisson'"),
        ("dataset=cifar", "no dataset 'cifar'; choose one of fashion-mnist"),
        ("epochs=0", "epochs=0; give more than 0"),
        ("batch_size=-1", "batch_size=-1; give more than 0"),
        ("lr=nan", "lr=nan; give more than 0"),
    ],
)
def test_an_axis_or_value_that_no_run_has_is_named_before_anything_is_trained(
    smoke, capsys, axes, message
):
    with pytest.raises(ValueError, match=re.escape(message)):
        sweeps.find(axes)
    assert main(["sweep", "latent=2", axes]) == 2
    assert message in capsys.readouterr().err


def test_names_and_axes_are_not_mixed(capsys):
    assert main(["sweep", "betas", "latent=2"]) == 2
    assert "not both" in capsys.readouterr().err
    assert main(["sweep", "beta"]) == 2
    said = capsys.readouterr().err
    assert "no table beta; choose from latent-sizes, betas" in said
    assert "or give axes of a grid, like latent=2,10 beta=0.5,1: body, latent" in said


def test_a_row_of_other_images_is_refused_by_the_worker(smoke):
    table = sweeps.grid(latent=(2,), dataset=["garments"])
    (one,) = table.configurations()
    with pytest.raises(ResultError, match="this worker has other images, models or code"):
        sweeps._measured(table.name, one, "another digest", print)


def test_a_worker_tells_how_far_a_row_is_and_leaves_no_state_behind(smoke):
    table = sweeps.grid(latent=(2,), dataset=["garments"])
    (one,) = table.configurations()
    told = []
    row = sweeps._measured(table.name, one, tables.digest(table, one), told.append)
    assert told == sorted(told)
    assert told[-1] == 1
    assert row == tables.measured_row(table, one)
    assert told[-1] == 1
    assert not list((smoke / "work").rglob("*.safetensors"))


def test_a_training_that_was_cut_off_goes_on(smoke, monkeypatch):
    run = Run("row", body="dense", latent=2, epochs=2, dataset="garments")
    whole, history = sweeps.train(run)
    steps = []

    def cut(share):
        steps.append(share)
        if share > 0.75:
            raise KeyboardInterrupt

    token = sweeps._tell.set(cut)
    with pytest.raises(KeyboardInterrupt):
        sweeps.train(run)
    sweeps._tell.reset(token)
    cut_at = len(steps)
    token = sweeps._tell.set(steps.append)
    again, resumed = sweeps.train(run)
    sweeps._tell.reset(token)
    assert min(steps[cut_at:]) > 0.5
    assert resumed.rows == history.rows
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
