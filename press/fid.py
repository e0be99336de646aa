"""The stored classifier's view of images, and how far from the test images it finds them."""

import numpy as np
import torch
from torch import Tensor

from press.code import code_digest
from press.images import data_digest
from vae_helpers.classifier import FashionResNet18, in_batches
from vae_helpers.files import digest_json, load_tensors, save_tensors
from vae_helpers.metrics.frechet import frechet

COUNT = 10_000  # images on each side of a Fréchet distance


def features(book, pictures: Tensor) -> np.ndarray:
    """What the classifier's last layer sees of pictures in [0, 1]: ``(N, features)``."""
    network: FashionResNet18 = book.classifier  # named, so that its code counts in digests
    return in_batches(network, pictures, "features").numpy()


def reference(book) -> np.ndarray:
    """What it sees in the test images ``(N, features)``.

    Computed once and kept with unfinished work, for half of the chapters ask for it.
    """
    images = data_digest("test", "fashion-mnist", book.settings)
    of = digest_json([book.experiment("classifier").digest, images, code_digest(features)])
    path = book.settings.work / "fid" / f"{of}.safetensors"
    if not path.exists():
        seen = features(book, book.images("test").subset(slice(COUNT))[:][0])
        save_tensors(path, {"features": torch.from_numpy(seen)}, {"of": of})
    return load_tensors(path)[0]["features"].numpy()


def distance(book, pictures: Tensor) -> float:
    """Fréchet distance of pictures from the test images (Heusel et al. 2017); see ``frechet``."""
    return frechet(reference(book), features(book, pictures))


def count(book) -> int:
    """As many samples as there are test images to compare them with."""
    return min(COUNT, len(book.images("test")))
