"""M2: its two bounds against their definitions, and that unlabelled images are seen as such."""

import math
from functools import partial

import pytest
import torch

from press.semi_supervised import (
    M2,
    label_loss,
    labelled_bound,
    m2_loss,
    unlabelled_bound,
)
from vae_helpers import data, losses
from vae_helpers.models import build_vae
from vae_helpers.training import evaluate, fit


@pytest.fixture
def clothes():
    return data.garments(12, seed=2)


@pytest.fixture
def model():
    """With σ ≈ 0, so that every bound is a number and not a draw."""
    made = M2(build_vae("dense", 3, classes=10))
    torch.nn.init.zeros_(made.vae.encoder.log_var.weight)
    torch.nn.init.constant_(made.vae.encoder.log_var.bias, -40.0)
    return made.eval()


def test_a_labelled_bound_is_the_elbo_under_the_label_and_the_labels_own_cost(model, clothes):
    images, labels = clothes[:]
    logits, mu, log_var = model.vae(images, labels=labels)
    terms = losses.elbo_terms(logits, images, mu, log_var)
    expected = terms.reconstruction + terms.kl + math.log(10)
    assert torch.allclose(labelled_bound(model, images, labels), expected, atol=1e-2)


def test_an_unlabelled_bound_is_the_expectation_over_labels_less_their_entropy(model, clothes):
    images, _ = clothes[:]
    q = torch.softmax(model(images), dim=1)
    expected = -torch.distributions.Categorical(q).entropy()
    for y in range(10):
        of_label = labelled_bound(model, images, torch.full((len(images),), y))
        expected = expected + q[:, y] * of_label
    assert torch.allclose(unlabelled_bound(model, images), expected, atol=1e-2)


def test_no_classifier_has_a_lower_bound_than_bayes_rule(model, clothes):
    # min over q of U is −log Σ_y exp(−L(x, y)).
    images, _ = clothes[:]
    every = [labelled_bound(model, images, torch.full((len(images),), y)) for y in range(10)]
    least = -torch.logsumexp(-torch.stack(every), dim=0)
    assert (unlabelled_bound(model, images) >= least - 1e-2).all()


def test_the_parts_add_up_and_the_batchs_own_labels_are_not_learned_from(model, clothes):
    images, labels = clothes[:]
    loss = partial(m2_loss, labelled=clothes.subset([0, 1]), weight=3.0)
    terms = loss(model, images, labels, generator=torch.Generator().manual_seed(0))
    other = loss(model, images, (labels + 1) % 10, generator=torch.Generator().manual_seed(0))
    assert torch.equal(terms["total"], other["total"])
    assert not torch.equal(terms["error"], other["error"])
    cross_entropy = (terms["total"] - terms["unlabelled"] - terms["labelled"]) / 3
    known, answers = clothes.subset([0, 1])[:]
    possible = label_loss(model, known, answers)["total"]
    # Of each drawn image one of the two costs that there are.
    nearest = (cross_entropy[:, None] - possible).abs().min(1).values
    assert nearest.max() < 1e-3


def test_the_same_seed_builds_the_same_model():
    one, same, other = (M2(build_vae("dense", 2, seed=s, classes=10), s) for s in (1, 1, 2))
    for part in ("vae", "classifier"):
        a, b, c = (
            torch.cat([p.flatten() for p in getattr(m, part).parameters()])
            for m in (one, same, other)
        )
        assert torch.equal(a, b)
        assert not torch.equal(a, c)


def test_it_learns_classes_of_images_whose_labels_it_never_saw():
    images, test = data.garments(1_500), data.garments(300, seed=5)
    model = M2(build_vae("dense", 4, seed=0, classes=10), seed=0)
    loss = partial(m2_loss, labelled=images.balanced(50, seed=0), weight=50.0)
    fit(model, images, epochs=5, lr=2e-3, loss=loss, progress=False)
    error = evaluate(model, test, loss=label_loss)["error"].mean()
    assert error < 0.5  # chance is 0.9


def test_both_batches_are_drawn_by_a_cpu_generator_for_any_device(elsewhere):
    images, model = data.garments(30), M2(build_vae("dense", 3, classes=10))
    loss = partial(m2_loss, labelled=images.balanced(10, seed=0), weight=1.0)
    expected = evaluate(model, images, loss=loss)
    found = evaluate(model.to(elsewhere), images, loss=loss)
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values)
