"""How sharp images are and how much they differ, from their pixels alone."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from vae_helpers.data import checked_images

BLOCK = 1_000  # rows of a distance matrix held at a time


def sharpness(images: Tensor) -> Tensor:
    """Variance of the Laplacian over each image ``(N, C, H, W)``: ``(N,)``, 0 for a flat image.

    A blurred edge has a smaller second derivative (Pech-Pacheco et al. 2000); of a colour image,
    the mean over its channels. Noise counts as sharp, too. Raises ValueError for another shape,
    NaN, or values outside [0, 1].
    """
    images = checked_images(images).detach().cpu().double()  # not every device has float64
    kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]]).double()
    laplacian = F.conv2d(images.flatten(0, 1)[:, None], kernel[None, None])
    return laplacian.flatten(1).var(1, correction=0).view(images.shape[:2]).mean(1)


def diversity(images: Tensor) -> tuple[float, float]:
    """Mean L2 distance between two different images of ``(N, C, H, W)``, and its standard error.

    Every pair counts once. The error is that of a U-statistic, 2·sd(h)/√N, where h is one image's
    mean distance to the others (Hoeffding 1948). Raises ValueError for fewer than 3 images, and
    as ``sharpness`` does.
    """
    points = checked_images(images).detach().cpu().double().flatten(1)
    count = len(points)
    if count < 3:
        raise ValueError(f"{count} images; diversity and its error need at least 3")
    # Centred and in double precision, equal images are at distance 0 and not merely near it.
    points = points - points.mean(0)
    to_others = torch.cat(
        [torch.cdist(part, points).sum(1) / (count - 1) for part in points.split(BLOCK)]
    )
    return float(to_others.mean()), 2 * float(to_others.std()) / math.sqrt(count)
