"""Scores of strangeness: what they subtract, and that they order what they should."""

import math
from dataclasses import replace

import pytest
import torch

from press import runs
from press.experiments import anomaly
from vae_helpers import data, losses
from vae_helpers.metrics.detection import auroc
from vae_helpers.training import evaluate, fit


@pytest.fixture(scope="module")
def model():
    images = data.garments(1_000)
    made = runs.build(runs.RUNS["dense2"])
    fit(made, images, epochs=8, lr=4e-3, progress=False)
    return made.eval()


@pytest.fixture(scope="module")
def clothes():
    return data.garments(200, seed=9)


def test_scores_are_what_they_are_called(model, clothes):
    found = anomaly.scores(model, clothes, typical=300.0)
    total = evaluate(model, clothes)["total"].double()
    assert torch.equal(found["−ELBO"], total)
    assert torch.allclose(found["reconstruction"] + found["KL"], total, atol=1e-3)
    assert torch.allclose(found["typicality"], (total - 300).abs())
    floor = losses.entropy_floor(clothes[:][0])
    assert torch.allclose(found["floor"], total - floor)
    assert found["floor"].min() > 0  # no model is below it
    assert all(score.shape == (len(clothes),) for score in found.values())


def test_the_floor_of_black_images_is_zero(model, clothes):
    black = replace(clothes, images=torch.zeros_like(clothes.images))
    found = anomaly.scores(model, black, typical=0.0)
    assert torch.equal(found["floor"], found["−ELBO"])
    png = found["−ELBO"] - found["complexity"]
    assert 0 < float(png[0]) < 8 * 30 * math.log(2)


def test_noise_is_stranger_than_clothes_by_every_likelihood(model, clothes):
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, clothes.images.shape, generator=draw, dtype=torch.uint8)
    normal = anomaly.scores(model, clothes, typical=250.0)
    strange = anomaly.scores(model, replace(clothes, images=pixels), typical=250.0)
    for score in ("−ELBO", "reconstruction", "floor", "typicality"):
        assert auroc(normal[score], strange[score])[0] > 0.95, score
