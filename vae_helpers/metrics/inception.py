"""Features of the network that published FIDs use, for comparison with papers.

``pip install 'vae-helpers[inception]'`` brings the network (torch-fidelity); its weights are a file
that has to be fetched once, see ``WEIGHTS_URL``.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vae_helpers.errors import DataError
from vae_helpers.metrics.images import checked_images

WEIGHTS_URL = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth"
)
BATCH = 50


@torch.inference_mode()
def inception_features(images: Tensor, weights: Path | str) -> np.ndarray:
    """Inception's 2,048 features ``(N, 2048)`` of grey or RGB images ``(N, C, H, W)`` in [0, 1].

    weights: the file from ``WEIGHTS_URL``; it is read without running any code it may hold. Give
    ``frechet`` at least 10,000 images. Raises DataError where library or file is missing or
    foreign, ValueError for other images.
    """
    pixels = (255 * checked_images(images)).round().byte().expand(-1, 3, -1, -1)
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ModuleNotFoundError as error:
        remedy = "pip install 'vae-helpers[inception]'"
        raise DataError(f"Inception features need torch-fidelity: {remedy}") from error
    try:
        torch.load(weights, map_location="cpu", weights_only=True)  # the library would run its code
        network = FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(weights)
        )
    except Exception as error:  # each kind of foreign file raises an error of its own
        raise DataError(f"{weights}: no Inception weights; get {WEIGHTS_URL} ({error})") from error
    return torch.cat([network(part)[0] for part in pixels.split(BATCH)]).double().numpy()
