"""Ways to spoil images in measured steps, for seeing what a quality score sees."""

import torch
from torch import Tensor


def blur(images: Tensor, strength: float, seed: int = 0) -> Tensor:
    """Gaussian blur of ``strength`` pixels' standard deviation; needs no seed."""
    from torchvision.transforms.v2.functional import gaussian_blur  # imports as long as torch does

    width = 2 * round(3 * strength) + 1
    return gaussian_blur(images, [width, width], [strength, strength]).clamp(0, 1)


def noise(images: Tensor, strength: float, seed: int = 0) -> Tensor:
    """Gaussian noise of standard deviation ``strength`` on every pixel, cut to [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return (images + strength * torch.randn(images.shape, generator=generator)).clamp(0, 1)


def shuffle(images: Tensor, strength: float, seed: int = 0) -> Tensor:
    """That share of each image's pixels changes places; which ones differs from image to image."""
    generator = torch.Generator().manual_seed(seed)
    flat = images.flatten(1)
    count = round(strength * flat.shape[1])
    chosen = torch.rand(flat.shape, generator=generator).argsort(1)[:, :count]
    moved = flat.clone()
    moved.scatter_(1, chosen, flat.gather(1, chosen.roll(1, dims=1)))
    return moved.view(images.shape)


CORRUPTIONS = {"blur": blur, "noise": noise, "shuffle": shuffle}


def corrupted(images: Tensor, kind: str, strength: float, seed: int = 0) -> Tensor:
    """Images ``(N, 1, H, W)`` in [0, 1], spoiled; unchanged where ``strength`` is 0.

    kind: ``blur`` (pixels), ``noise`` (standard deviation) or ``shuffle`` (share of pixels).
    Raises ValueError for another kind or a negative strength.
    """
    if kind not in CORRUPTIONS:
        raise ValueError(f"no corruption {kind!r}; choose one of {', '.join(CORRUPTIONS)}")
    if strength < 0:
        raise ValueError(f"{kind} of strength {strength}; give 0 or more")
    return CORRUPTIONS[kind](images, strength, seed) if strength else images
