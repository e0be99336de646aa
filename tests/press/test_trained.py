"""Rows that train: each configuration is a run of its own, and its row says what was learned."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from press import experiments
from press.book import Book
from press.experiments import few_labels, learning, trained
from press.experiments.few_labels import augmentation
from press.experiments.learning import TRAINING_SIZES
from press.experiments.model_scores import scores
from press.experiments.trained import judged, train_row
from press.runs import RUNS, Run, build, find_run, training_images
from press.settings import read
from press.stored import tables
from vae_helpers.metrics.images import diversity
from vae_helpers.training import History, fit

FIVE_SEEDS = ("augmentation", "beta-seeds", "betas", "latent-sizes", "seeds", "training-sizes")
SWEPT = experiments.tables(trained=True)


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """A smoke book whose models are trained once for all tests here."""
    return Book(read({}, profile="smoke", build=tmp_path_factory.mktemp("smoke")))


@pytest.fixture
def whole(settings):
    """The book in full, for grids and drawn garments alone."""
    return Book(settings)


# --- grids of the book --------------------------------------------------------------------------


def test_every_configuration_is_another_training(whole):
    for name, table in SWEPT.items():
        made = [table.trained(one, whole) for one in table.configurations(whole)]
        made = [run for run in made if run is not None]
        assert len(set(made)) == len(made), name
        assert all(run.epochs > 1 for run in made)


@pytest.mark.parametrize("name", SWEPT)
def test_every_number_that_is_compared_has_three_seeds_or_five(whole, name):
    configurations = list(SWEPT[name].configurations(whole))
    if name == "budgets":  # a report's budget, not a comparison of ours
        assert configurations == [{"run": "conditional2", "epochs": 3}]
        return
    groups = {}
    for one in configurations:
        rest = tuple((key, value) for key, value in one.items() if key != "seed")
        groups.setdefault(rest, set()).add(one["seed"])
    deterministic, wanted = (("codes", "PCA"),), 5 if name in FIVE_SEEDS else 3
    assert all(len(found) == wanted for rest, found in groups.items() if rest != deterministic)


def test_few_training_images_are_seen_as_often_as_takes_as_many_steps(whole):
    table = SWEPT["training-sizes"]
    steps = {
        images: -(-images // run.batch_size) * run.epochs
        for images in TRAINING_SIZES
        for run in [table.trained({"images": images, "seed": 0}, whole)]
    }
    assert steps[60_000] == 4_690
    assert all(found == pytest.approx(4_690, rel=0.02) for found in steps.values())


def test_a_study_of_few_labels_sees_no_other_labels(whole):
    for table in (SWEPT["augmentation"], SWEPT["few-labels"]):
        for one in table.configurations(whole):
            run = table.trained(one, whole)
            assert run.labelled == one["labels"]
            assert run.seed == one["seed"]


def test_digits_are_a_reports_run_but_for_one_change():
    found = learning.changed("convolutions", seed=1)
    assert replace(found, name="mnist-dense2", seed=42, body="dense") == RUNS["mnist-dense2"]


# --- what is learned ----------------------------------------------------------------------------


def test_a_row_tells_what_was_learned(book):
    table = SWEPT["latent-sizes"]
    row = table.row(book, latent=4, seed=0)
    assert row == table.row(book, latent=4, seed=0)
    assert row != table.row(book, latent=4, seed=1)
    assert row["elbo"] == pytest.approx(row["reconstruction"] + row["kl"], abs=1e-3)
    assert row["objective"] == pytest.approx(row["elbo"], abs=1e-3)  # at β = 1
    assert 0 <= row["active"] <= 4
    assert row["frechet"] > 0
    assert table.needed({"latent": 4, "seed": 0}) == ("classifier",)


def test_digits_are_not_shown_to_the_classifier_of_garments(book):
    assert "frechet" not in judged(book, book.experiment("mnist-dense2"))
    assert "frechet" in judged(book, book.experiment("dense2"))


def test_a_run_of_the_book_is_repeated_from_other_seeds_but_not_from_its_own(book, monkeypatch):
    table, trainings = SWEPT["seeds"], []
    monkeypatch.setattr(
        trained, "train_row", lambda book, run: trainings.append(run.seed) or train_row(book, run)
    )
    own, other = (table.row(book, run="dense2", seed=seed) for seed in (42, 0))
    assert trainings == [0]
    assert own["elbo"] == scores(book.experiment("dense2"))["elbo"]
    assert own.keys() == other.keys()
    assert own["elbo"] != other["elbo"]
    assert all(row["bound"] > 0 for row in (own, other))
    assert all(0 <= row[what] <= 1 for row in (own, other) for what in ("blind", "sighted"))
    assert table.needed({"run": "dense2", "seed": 42}) == ("dense2", "classifier")
    assert table.needed({"run": "dense2", "seed": 0}) == ("classifier",)
    assert table.needed({"run": "mnist-dense2", "seed": 0}) == ()


def test_what_needs_no_labels_is_not_asked_of_a_conditional_model(book):
    row = SWEPT["seeds"].row(book, run="conditional2", seed=0)
    assert "frechet" in row
    assert not {"bound", "blind", "sighted"} & row.keys()


def test_pictures_are_judged_against_real_ones_of_the_same_classes(book, monkeypatch):
    one = book.experiment("beta-1")
    real, blurred = one.test[:][0], learning.pictured(book, one)
    assert 0 < blurred["reconstructed"] < 100
    assert "frechet" not in blurred  # the classifier knows ten classes
    monkeypatch.setattr(learning.latent, "decode", lambda model, latents: real)
    perfect = learning.pictured(book, one)
    assert perfect["sharpness"] == perfect["reconstructed"] == pytest.approx(100)
    assert perfect["diversity"] == diversity(real)[0]


def test_free_bits_keep_dimensions_that_a_large_beta_would_drop(whole):
    some = {"dataset": "garments", "labelled": 500, "epochs": 10}
    kl = {}
    for method in ("free bits", "constant"):
        run = SWEPT["annealing"].trained({"beta": 10.0, "method": method, "seed": 0}, whole)
        kl[method] = scores(train_row(whole, replace(run, **some)))["kl"]
    assert kl["free bits"] > kl["constant"] + 1


def test_codes_of_garments_are_scored_with_their_baselines(book):
    rows = book.rows("disentanglement")
    codes = {row["codes"] for row in rows}
    assert codes == {"β = 0.5", "β = 1", "β = 4", "random", "PCA"}
    assert all(0 <= row[what] <= 1 for row in rows for what in ("mig", "disentanglement"))
    assert all(("early" in row) == row["codes"].startswith("β") for row in rows)


def test_both_ways_to_learn_from_few_labels_end_with_an_accuracy(book):
    table = SWEPT["few-labels"]
    for method in ("labels alone", "M2"):
        row = table.row(book, labels=100, method=method, seed=0)
        assert set(row) == {"accuracy"}
        assert 0 <= row["accuracy"] <= 1
        assert table.needed({"labels": 100, "method": method, "seed": 0}) == ()


def test_classifiers_with_and_without_samples_get_the_same_images_and_steps(book, monkeypatch):
    trainings = []

    def counted(book, run, images=None):
        images = (
            training_images(replace(run, labelled=100), book.settings)[0]
            if images is None
            else images
        )
        trainings.append((run, images))
        return SimpleNamespace(
            run=run, model=build(run).eval(), images=images, test=book.images("test")
        )

    monkeypatch.setattr(few_labels, "train_row", counted)
    assert set(augmentation(book, 600, "without", 0)) == {"accuracy"}
    ((_, plain),) = trainings
    assert set(augmentation(book, 600, "with", 0)) == {"accuracy", "recognized"}
    _, (cvae, seen), (half, both) = trainings
    first = trainings[0][0]
    assert cvae.conditional
    assert torch.equal(seen.images, plain.images)
    assert torch.equal(both.images[: len(plain)], plain.images)
    assert len(both) == 2 * len(plain)
    assert torch.bincount(both.labels).tolist() == [20] * 10
    assert first.epochs == 2 * half.epochs


def test_digits_rows_tell_how_the_training_went(book):
    curve = [10.0] * 5 + [9.0, 9.5] + [8.0] * 10 + [7.0]  # rises once, a nat after epoch 15
    rows = [{"epoch": i + 1, "split": "train", "total": v} for i, v in enumerate(curve)]
    one = replace(book.experiment("mnist-dense2"), history=History(rows))
    row = learning.digits(book, one)
    assert row["rises"] == 1
    assert row["late"] == 1
    assert 0 <= row["votes"] <= 1
    assert row["train"] == 7


# --- the training itself ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["betas", "few-labels", "augmentation"])
def test_models_are_trained_on_the_books_device(book, elsewhere, monkeypatch, name):
    devices = []

    def placed(model, *arguments, **options):
        devices.append(next(model.parameters()).device)
        return fit(model, *arguments, **options)

    monkeypatch.setattr(trained, "fit", placed)
    there = replace(book, settings=replace(book.settings, device=str(elsewhere)))
    *_, one = SWEPT[name].configurations(there)
    one = train_row(there, SWEPT[name].trained(one, there))
    assert devices == [elsewhere]
    assert next(one.model.parameters()).device.type == "cpu"


def test_what_was_trained_is_on_the_cpu_in_evaluation_mode(book):
    one = train_row(book, RUNS["dense2"])
    assert one.run == find_run("dense2", book.settings)
    assert not one.model.training
    assert next(one.model.parameters()).device.type == "cpu"
    assert len(one.images) == 1_000
    assert one.history.epochs == 1


def test_a_training_that_was_cut_off_goes_on(whole, tmp_path, monkeypatch):
    run = Run("row", "dense", 2, 2, dataset="garments", labelled=500)
    undisturbed, steps = train_row(whole, run), []

    def cut(model, step):
        steps.append(step)
        if len(steps) == 7:  # of eight
            raise KeyboardInterrupt
        return {}

    monkeypatch.setattr(trained, "fit", partial(fit, snapshot=cut))
    with pytest.raises(KeyboardInterrupt):
        train_row(whole, run)
    again = train_row(whole, run)
    assert steps == [1, 2, 3, 4, 5, 6, 7, 5, 6, 7, 8]
    assert again.history.rows == undisturbed.history.rows
    pairs = zip(undisturbed.model.parameters(), again.model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_rows_are_stored_with_what_their_training_begins_with(book):
    table = SWEPT["betas"]
    row = tables.measure_row(table, book, {"beta": 0.01, "seed": 1})
    run = table.trained({"beta": 0.01, "seed": 1}, book)
    assert row["early"] == pytest.approx(tables.early(run, book), rel=1e-5)
