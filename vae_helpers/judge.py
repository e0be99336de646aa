"""The stored classifier's view of images, and how far from the test images it finds them."""

from functools import lru_cache

import numpy as np
from torch import Tensor

from vae_helpers import data, runs
from vae_helpers.classifier import FashionResNet18, in_batches
from vae_helpers.metrics.frechet import frechet

COUNT = 10_000  # images on each side of a Fréchet distance


@lru_cache(maxsize=1)
def network() -> FashionResNet18:
    """The classifier of Fashion-MNIST that every sample of the book is shown to."""
    return runs.trained("classifier").model


@lru_cache(maxsize=1)
def reference() -> np.ndarray:
    """What the judge sees in the test images ``(N, features)``."""
    return features(data.load("test")[:COUNT][0])


def features(images: Tensor) -> np.ndarray:
    """What the judge sees in images ``(N, 1, 28, 28)`` in [0, 1]: ``(N, features)``."""
    return in_batches(network().features, images).numpy()


def distance(images: Tensor) -> float:
    """Fréchet distance of images from the test images (Heusel et al. 2017); see ``frechet``."""
    return frechet(reference(), features(images))


def count() -> int:
    """As many samples as there are test images to compare them with."""
    return min(COUNT, len(data.load("test")))
