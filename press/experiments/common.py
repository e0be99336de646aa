"""What the studies share: commands, seeds, grids, images drawn by chance, principal directions."""

from functools import lru_cache
from itertools import product

import torch
from torch import Tensor

from vae_helpers import latent
from vae_helpers.data import ImageDataset

MEASURE = "python -m press measure"
SWEEP = "python -m press sweep"


def seeds(book, many: int = 3) -> range:
    """The seeds of a comparison: so many, but two in the smoke profile."""
    return range(2 if book.smoke else many)


def ends(book, values) -> list:
    """All of the values, but the first and the last in the smoke profile."""
    values = list(values)
    return values[:: len(values) - 1] if book.smoke else values


def crossed(**axes) -> list[dict]:
    """A configuration for each combination of the axes' values; the last axis changes fastest."""
    return [dict(zip(axes, one, strict=True)) for one in product(*axes.values())]


def some(images: ImageDataset, count: int, seed: int) -> ImageDataset:
    """``count`` random images."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return images.subset(order[:count])


@lru_cache(maxsize=2)  # seconds, for rows that differ in what follows
def principal(images: ImageDataset, count: int) -> tuple[Tensor, Tensor]:
    """``latent.principal_directions`` of these images."""
    return latent.principal_directions(images, count)
