"""Maps of codes: clusters stay together, and trust has its known ends."""

import math

import pytest
import torch

from press.experiments.embeddings import embeddings, trustworthiness


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_embeddings_keep_clusters_together():
    labels = torch.arange(150) % 3
    codes = normal(150, 8) + 30 * torch.eye(8)[labels]
    for points in embeddings(codes).values():
        assert points.shape == (150, 2)
        assert trustworthiness(codes, points) > 0.8
        nearest = torch.cdist(points, points).fill_diagonal_(math.inf).argmin(1)
        assert float((labels[nearest] == labels).double().mean()) > 0.98


def test_trustworthiness_is_one_for_the_codes_themselves_and_half_by_chance():
    codes = normal(400, 2)
    assert trustworthiness(codes, codes) == pytest.approx(1)
    assert trustworthiness(codes, normal(400, 2, seed=1)) == pytest.approx(0.5, abs=0.05)
