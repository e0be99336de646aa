"""Maps of codes: clusters stay together."""

import math

import torch

from press.experiments.embeddings import embeddings


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_embeddings_keep_clusters_together():
    labels = torch.arange(150) % 3
    codes = normal(150, 8) + 30 * torch.eye(8)[labels]
    for points in embeddings(codes).values():
        assert points.shape == (150, 2)
        points = points.float()
        nearest = torch.cdist(points, points).fill_diagonal_(math.inf).argmin(1)
        assert float((labels[nearest] == labels).double().mean()) > 0.98
