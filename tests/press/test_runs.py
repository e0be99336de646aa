"""Runs are values: what may stand in one, and what is built and trained from it."""

from dataclasses import replace

import pytest
import torch

from press import runs
from press.images import DATASETS, GARMENTS
from press.runs import RUNS, Run
from vae_helpers.models import BODIES


def test_runs_are_filed_under_their_names_and_can_be_built():
    for name, run in RUNS.items():
        assert run.name == name
        assert run.body in BODIES or run.kind == "classifier"
        assert run.labelled == 0
        assert runs.build(run) is not None
        assert 0 < run.train_share <= 1
        assert run.dataset in DATASETS


def test_the_standard_run_is_what_the_book_says():
    run = RUNS["conv16"]
    assert (run.body, run.latent, run.beta, run.lr) == ("conv", 16, 1.0, 1e-3)
    assert (run.epochs, run.batch_size, run.seed, run.schedule) == (25, 128, 42, "constant")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "gan"}, "no kind 'gan'; choose one of vae"),
        ({"dataset": "cifar"}, "no dataset 'cifar'"),
        ({"schedule": "cosine"}, "no schedule 'cosine'"),
        ({"annealing": "late"}, "no annealing 'late'"),
        ({"likelihood": "poisson"}, "no likelihood 'poisson'"),
        ({"latent": 0}, "latent=0; give more than 0"),
        ({"latent": 2.7}, "latent=2.7; give a whole number"),
        ({"epochs": 0}, "epochs=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"lr": 0.0}, "lr=0.0"),
        ({"filmed": True}, "a film shows .* its classes"),
        ({"filmed": True, "classes": ("Bag",), "latent": 3}, "a film shows two dimensions"),
        ({"kind": "semi-supervised"}, "learns from labels; give labelled"),
        ({"kind": "autoencoder", "beta": 0.5}, "kind 'autoencoder' has no beta"),
        ({"kind": "autoencoder", "likelihood": "gaussian"}, "has no likelihood"),
        ({"kind": "classifier", "free_bits": 0.5}, "has no free_bits"),
        ({"kind": "supervised", "label_weight": 2.0}, "has no label_weight"),
        ({"kind": "classifier", "conditional": True}, "has no conditional"),
    ],
)
def test_a_run_that_could_not_be_trained_or_would_ignore_a_field_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Run(**{"name": "one", "body": "dense", "latent": 2, "epochs": 1} | values)


@pytest.mark.parametrize("kind", runs.LOSSES)
def test_a_run_of_each_kind_can_be_trained_under_a_name_of_the_book(book, monkeypatch, kind):
    extra = {"labelled": 50, "label_weight": 3.0} if kind == "semi-supervised" else {}
    body, latent = ("resnet18", 64) if kind == "classifier" else ("dense", 2)
    run = Run("one", body, latent, 3, kind=kind, train_share=0.9, dataset="garments", **extra)
    monkeypatch.setitem(RUNS, "one", run)
    assert book.experiment("one").history.epochs == 1


def test_few_labels_are_balanced_and_the_same_for_the_same_seed(settings):
    run = Run("few", "dense", 2, 1, dataset="garments", labelled=100)
    images, held_out = runs.training_images(run, settings)
    assert held_out is None
    assert torch.bincount(images.labels).tolist() == [10] * 10
    assert torch.equal(images.images, runs.training_images(run, settings)[0].images)
    other, _ = runs.training_images(replace(run, seed=1), settings)
    assert not torch.equal(images.images, other.images)


def test_held_out_images_are_the_rest_of_the_training_images(smoke):
    images, held_out = runs.training_images(RUNS["dense20-validated"], smoke)
    assert (len(images), len(held_out)) == (900, 100)


def test_a_semi_supervised_run_sees_all_images_and_few_labels(settings):
    some = {"kind": "semi-supervised", "dataset": "garments", "labelled": 50}
    run = Run("m2", "dense", 2, 1, **some, label_weight=3.0)
    images, _ = runs.training_images(run, settings)
    assert len(images) == GARMENTS["train"]
    given = runs.loss_of(run, settings).keywords
    assert given["weight"] == 3
    assert torch.bincount(given["labelled"].labels).tolist() == [5] * 10
    assert runs.build(run).vae.classes == 10


def test_a_recipe_is_all_that_training_takes_from_a_run(settings):
    run = replace(
        RUNS["dense2"],
        likelihood="mean-squared-error",
        beta=3.0,
        annealing="linear",
        free_bits=0.5,
    )
    recipe = runs.recipe(run, settings)
    assert recipe["loss"].keywords == {"likelihood": "mean-squared-error", "free_bits": 0.5}
    assert [recipe["beta"](at) for at in (0.0, 0.25, 0.5, 1.0)] == [0.0, 1.5, 3.0, 3.0]
    assert {name: recipe[name] for name in ("epochs", "batch_size", "lr", "seed")} == {
        "epochs": 30,
        "batch_size": 128,
        "lr": 4e-3,
        "seed": 42,
    }


def test_a_training_is_expected_to_take_longer_with_epochs_and_a_larger_body(smoke):
    run = RUNS["dense2"]
    once, twice = (runs.operations(replace(run, epochs=many), smoke) for many in (1, 2))
    assert twice == 2 * once
    assert runs.operations(RUNS["residual32"], smoke) > runs.operations(run, smoke)
    by_length = sorted(RUNS.values(), key=lambda run: runs.operations(run, smoke))
    assert by_length[-2].name == "deep-conv-mse"  # only the classifier takes longer
