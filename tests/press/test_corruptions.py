"""Corruptions: what they keep, what they change, and by how much."""

import pytest
import torch

from press.experiments.corruptions import STRENGTHS, build_untrained, corrupted
from vae_helpers.classifier import in_batches
from vae_helpers.data import garments

CLOTHES = garments(60, seed=4)[:][0]


@pytest.mark.parametrize("kind", STRENGTHS)
def test_strength_0_changes_nothing_and_more_changes_more(kind):
    assert torch.equal(corrupted(CLOTHES, kind, 0), CLOTHES)
    changes = [float((corrupted(CLOTHES, kind, s) - CLOTHES).norm()) for s in (0.1, 0.4, 0.9)]
    assert 0 < changes[0] < changes[1] < changes[2] or kind == "blur"
    spoiled = corrupted(CLOTHES, kind, 0.7)
    assert spoiled.shape == CLOTHES.shape
    assert 0 <= float(spoiled.min()) <= float(spoiled.max()) <= 1
    assert torch.equal(spoiled, corrupted(CLOTHES, kind, 0.7))


def test_blur_spreads_a_point_into_a_gaussian_of_its_width():
    point = torch.zeros(1, 1, 29, 29)
    point[0, 0, 14, 14] = 1
    spread = corrupted(point, "blur", 1.5)[0, 0]
    at = torch.arange(29.0) - 14
    assert float(spread.sum()) == pytest.approx(1, abs=1e-4)
    assert float((spread.sum(0) * at**2).sum()) == pytest.approx(1.5**2, rel=0.05)


def test_noise_has_the_deviation_asked_for():
    grey = torch.full((20, 1, 28, 28), 0.5)
    assert float(corrupted(grey, "noise", 0.1).std()) == pytest.approx(0.1, rel=0.02)


def test_shuffling_keeps_every_image_s_pixels_and_moves_the_share_asked_for():
    ramp = torch.arange(784.0).div(784).view(1, 1, 28, 28).expand(30, -1, -1, -1)
    for share in (0.25, 1.0):
        moved = corrupted(ramp, "shuffle", share)
        assert torch.equal(moved.flatten(1).sort(1).values, ramp.flatten(1).sort(1).values)
        assert float((moved != ramp).double().mean()) == pytest.approx(share, abs=0.01)
    assert not torch.equal(moved[0], moved[1])  # each image in its own way


def test_the_untrained_network_has_128_features_that_hardly_vary():
    found = in_batches(build_untrained(), CLOTHES)
    assert found.shape == (60, 128)
    assert found.isfinite().all()
    assert float(found.std(0).mean()) < 0.05
    assert torch.equal(found, in_batches(build_untrained(), CLOTHES))
