"""What the studies share: grids, images drawn by chance, principal components."""

from collections.abc import Callable
from functools import lru_cache
from itertools import product

import torch
from torch import Tensor

from vae_helpers.data import ImageDataset


def seeds(book, many: int = 3) -> range:
    """The seeds of a comparison: so many, but two in the smoke profile."""
    return range(2 if book.smoke else many)


def crossed(**axes) -> list[dict]:
    """A configuration for each combination of the axes' values; the last axis changes fastest."""
    return [dict(zip(axes, one, strict=True)) for one in product(*axes.values())]


def from_seeds(many: int, ends: bool = False, **axes) -> Callable[..., list[dict]]:
    """What a table asks of a book: each combination of the axes' values, from so many seeds.

    ends: in the smoke profile, each axis has its first and its last value alone.
    """

    def asked(book) -> list[dict]:
        short = {name: [*values][:: len(values) - 1] for name, values in axes.items()}
        return crossed(**(short if ends and book.smoke else axes), seed=seeds(book, many))

    return asked


def some(images: ImageDataset, count: int, seed: int) -> ImageDataset:
    """``count`` random images."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return images.subset(order[:count])


@lru_cache(maxsize=2)  # seconds, for rows that differ in what follows
def principal(images: ImageDataset, count: int) -> tuple[Tensor, Tensor]:
    """Mean ``(P,)`` and ``count`` widest directions ``(P, count)``, widest first, of P pixels.

    No other linear autoencoder of that size has a smaller squared error.
    """
    pixels = images[:][0].flatten(1)
    _, directions = torch.linalg.eigh(pixels.T.double().cov())  # ascending
    return pixels.mean(0), directions[:, -count:].flip(1).float()


def projected(images: ImageDataset, pool: ImageDataset, count: int) -> Tensor:
    """Principal components ``(N, count)`` of images, along the directions of a pool of others."""
    mean, directions = principal(pool, count)
    return (images[:][0].flatten(1) - mean) @ directions
