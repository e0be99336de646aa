"""What is not said is what the documentation says: numbers of the book rest on these defaults."""

from functools import partial

import numpy as np
import pytest
import torch

from vae_helpers import latent, losses, training
from vae_helpers.classifier import build_classifier
from vae_helpers.data import from_array, garments
from vae_helpers.figures import charts, pictures
from vae_helpers.metrics.differences import Estimate
from vae_helpers.metrics.disentanglement import dci
from vae_helpers.metrics.frechet import kernel_distances, neighbour_scores
from vae_helpers.models import build_vae

CLOTHES = garments(150, seed=1)
IMAGES, LABELS = CLOTHES[:]
CODES = torch.randn((150, 2), generator=torch.Generator().manual_seed(0))
LOGITS = torch.linspace(-3, 3, IMAGES.numel()).view(IMAGES.shape)
MODEL = build_vae("dense", 2)
MANY = np.random.default_rng(0).normal(size=(2, 1_200, 3))
FACTORS = np.column_stack([CODES[:, 0] > 0, CODES[:, 1]]).astype(float)


def weights(model):
    return torch.cat([one.detach().flatten() for one in model.parameters()])


def trained(**options):
    model = build_vae("dense", 2)
    history, _ = training.fit(model, CLOTHES, epochs=2, progress=False, **options)
    return [*history.curve("train"), *weights(model)]


def schedule(**options):
    return [losses.cyclical(2.0, **options)(progress) for progress in np.linspace(0, 1, 101)]


def drawn(draw, *arguments, **options):
    figure = draw(*arguments, **options)
    places = [value for ax in figure.axes for value in ax.get_position().bounds]
    texts = [text.get_text() for ax in figure.axes for text in ax.texts]
    return [*figure.get_size_inches(), *places, *[value for ax in figure.axes for one in ax.images
            for value in np.ravel(one.get_array())], *map(hash, texts)]  # fmt: skip


def split(**options):
    return [part.digest for part in CLOTHES.split(0.5, **options)]


def loss(**options):
    draws = torch.Generator().manual_seed(0)
    return training.vae_loss(MODEL, IMAGES, LABELS, generator=draws, **options)["total"].detach()


SERIES = {name: {"a": ([0, 1], [0, 1])} for name in "abc"}
SAID = {
    losses.cyclical: (schedule, {"cycles": 4, "share": 0.5}),
    losses.gaussian_nll: (partial(losses.gaussian_nll, LOGITS, IMAGES), {"sigma": 1.0}),
    losses.ElboTerms.total: (losses.ElboTerms(LOGITS, LOGITS.square()).total, {"beta": 1.0}),
    training.vae_loss: (loss, {"beta": 1.0, "free_bits": 0.0, "likelihood": "bernoulli"}),
    training.fit: (
        trained,
        {"beta": 1.0, "batch_size": 128, "lr": 1e-3, "schedule": "constant", "seed": 42},
    ),
    training.evaluate: (
        lambda **options: training.evaluate(MODEL, CLOTHES, **options)["total"],
        {"beta": 1.0, "seed": 0},
    ),
    latent.aggregate: (partial(latent.aggregate, MODEL, CLOTHES), {"seed": 0}),
    latent.interpolate: (partial(latent.interpolate, CODES[0], CODES[1]), {"steps": 10}),
    latent.quantile_grid: (latent.quantile_grid, {"columns": 15}),
    latent.traverse: (partial(latent.traverse, CODES), {"steps": 11, "reach": 3.0}),
    kernel_distances: (partial(kernel_distances, *MANY), {"size": 1_000, "subsets": 20, "seed": 0}),
    neighbour_scores: (
        lambda **options: [*neighbour_scores(*MANY, **options).values()],
        {"k": 5},
    ),
    dci: (lambda **options: [*dci(CODES.numpy(), FACTORS, **options).values()], {"seed": 0}),
    build_vae: (
        lambda **options: weights(build_vae("dense", 2, **options)),
        {"shape": (1, 28, 28), "seed": 42, "classes": 0, "variational": True},
    ),
    build_classifier: (
        lambda **options: weights(build_classifier(64, **options)),
        {"seed": 42, "classes": 10, "channels": 1},
    ),
    CLOTHES.split: (split, {"seed": 42}),
    garments: (lambda **options: garments(20, **options).digest, {"seed": 0}),
    charts.curves: (partial(drawn, charts.curves, SERIES, "x"), {"columns": 2}),
    charts.matrix: (partial(drawn, charts.matrix, FACTORS[:2], ["a", "b"]), {"fmt": ".1f"}),
    pictures.picture_grid: (partial(drawn, pictures.picture_grid, IMAGES), {"columns": 16}),
    pictures.mosaic: (partial(pictures.mosaic, pictures.pixels(IMAGES), 5), {"gap": 1}),
}


def same(a, b):
    if isinstance(a, str | list) and not isinstance(a[0], torch.Tensor | float):
        return a == b
    return np.array_equal(np.asarray(a, float), np.asarray(b, float))


@pytest.mark.parametrize("function", SAID, ids=lambda one: one.__qualname__)
def test_what_is_not_said_is_as_documented(function):
    call, said = SAID[function]
    assert same(call(), call(**said))


def test_an_estimate_without_an_error_has_none():
    assert f"{Estimate(1.0):.1f}" == "1.0"
    assert from_array(np.zeros((1, 2, 2), np.uint8)).name == "images"
