"""Features of the network that published FIDs use: optional, and never needed by the book.

``pip install 'vae-helpers[inception]'`` brings the network (torch-fidelity); its weights are a file
that has to be fetched once, see ``WEIGHTS_URL``.
"""

import os
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from vae_helpers.data import DataError
from vae_helpers.metrics.images import check_images

WEIGHTS_URL = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth"
)
BATCH = 50


@torch.inference_mode()
def inception_features(images: Tensor, weights: Path | str) -> np.ndarray:
    """Inception's 2,048 features ``(N, 2048)`` of grey images ``(N, 1, H, W)`` in [0, 1].

    weights: the file from ``WEIGHTS_URL``; it is read without running any code it may hold. For
    numbers comparable with papers, give ``frechet`` at least 10,000 images. Raises DataError
    where library or file is missing or foreign, ValueError for other images.
    """
    check_images(images)
    network = _network(Path(weights))
    bytes_ = (255 * images).round().byte().expand(-1, 3, -1, -1)
    return torch.cat([network(part)[0] for part in bytes_.split(BATCH)]).double().numpy()


def _network(weights: Path):
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ModuleNotFoundError as error:
        raise DataError(
            "Inception features need torch-fidelity: pip install 'vae-helpers[inception]', or use "
            "the book's own classifier"
        ) from error
    if not weights.is_file():
        raise DataError(f"{weights}: no Inception weights here; fetch them from {WEIGHTS_URL}")
    try:
        # The library would unpickle whatever the file says; this makes torch read tensors alone.
        with mock.patch.dict(os.environ, TORCH_FORCE_WEIGHTS_ONLY_LOAD="1"):
            return FeatureExtractorInceptionV3(
                "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(weights)
            )
    except Exception as error:  # each kind of foreign file raises an error of its own
        raise DataError(
            f"{weights}: not Inception's weights ({error}); fetch them from {WEIGHTS_URL}"
        ) from error
