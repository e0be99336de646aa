"""The stored classifier's view of images, and how far from the test images it finds them."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vae_helpers import classifier, data, runs
from vae_helpers.classifier import FashionResNet18, in_batches
from vae_helpers.metrics.frechet import frechet
from vae_helpers.settings import settings
from vae_helpers.storage import digest_json, load_tensors, save_tensors

COUNT = 10_000  # images on each side of a Fréchet distance


@lru_cache(maxsize=1)
def network() -> FashionResNet18:
    """The classifier of Fashion-MNIST that every sample of the book is shown to."""
    return runs.trained("classifier").model


@lru_cache(maxsize=1)
def reference() -> np.ndarray:
    """What the judge sees in the test images ``(N, features)``.

    Computed once and kept under ``_build``, for half of the chapters ask for it.
    """
    images = data.load("test").subset(slice(COUNT))
    code = Path(classifier.__file__).read_text(encoding="utf-8")
    of = digest_json([runs.trained("classifier").digest, images.digest, code])
    path = settings().work / "judge" / f"{of}.safetensors"
    if not path.exists():
        seen = torch.from_numpy(features(images[:][0]))
        save_tensors(path, {"features": seen}, {"of": of})
    return load_tensors(path)[0]["features"].numpy()


def features(images: Tensor) -> np.ndarray:
    """What the judge sees in images ``(N, 1, 28, 28)`` in [0, 1]: ``(N, features)``."""
    return in_batches(network().features, images).numpy()


def distance(images: Tensor) -> float:
    """Fréchet distance of images from the test images (Heusel et al. 2017); see ``frechet``."""
    return frechet(reference(), features(images))


def count() -> int:
    """As many samples as there are test images to compare them with."""
    return min(COUNT, len(data.load("test")))
