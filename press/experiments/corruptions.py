"""Ways to spoil images in measured steps, and what a quality score sees of them."""

import torch
from torch import Tensor, nn

from press import fid
from press.experiments.common import some
from press.experiments.samples import sampled
from press.stored import Table
from vae_helpers.classifier import in_batches
from vae_helpers.metrics.frechet import frechet
from vae_helpers.models import seeded

STRENGTHS = {
    "blur": (0.5, 1.0, 1.5, 2.0, 3.0),
    "noise": (0.05, 0.1, 0.2, 0.3, 0.5),
    "shuffle": (0.05, 0.1, 0.2, 0.5, 1.0),
}
TOY_COUNT = 1_000


def corruption_score(book, features: str, kind: str, strength: float) -> dict[str, float]:
    """Fréchet distance of spoiled training images from clean test images.

    features: ``trained`` on 10,000 images, or ``untrained`` on 1,000. kind: a corruption, or
    ``samples`` of the standard run instead of training images.
    """
    count = fid.count(book) if features == "trained" else min(TOY_COUNT, fid.count(book))
    if kind == "samples":
        made = sampled(book.experiment("conv16"), "prior", fid.count(book), seed=0)[:count]
    else:
        made = corrupted(some(book.images("train"), count, seed=0)[:][0], kind, strength)
    if features == "trained":
        return {"frechet": fid.distance(book, made)}
    network, real = build_untrained(), some(book.images("test"), count, seed=0)[:][0]
    return {"frechet": frechet(*(in_batches(network, one).numpy() for one in (real, made)))}


def corrupted(images: Tensor, kind: str, strength: float) -> Tensor:
    """Images ``(N, 1, H, W)`` in [0, 1], spoiled; unchanged where ``strength`` is 0.

    kind: ``blur``, whose strength is a standard deviation in pixels; ``noise``, in grey values; or
    ``shuffle``, the share of an image's pixels that change places, other ones in each image.
    """
    generator = torch.Generator().manual_seed(0)
    if strength == 0:
        return images
    if kind == "blur":
        from torchvision.transforms.v2.functional import gaussian_blur  # as long as torch does

        width = 2 * round(3 * strength) + 1
        return gaussian_blur(images, [width, width], [strength, strength]).clamp(0, 1)
    if kind == "noise":
        return (images + strength * torch.randn(images.shape, generator=generator)).clamp(0, 1)
    flat = images.flatten(1)
    order = torch.rand(flat.shape, generator=generator).argsort(1)
    chosen = order[:, : round(strength * flat.shape[1])]
    moved = flat.scatter(1, chosen, flat.gather(1, chosen.roll(1, dims=1)))
    return moved.view(images.shape)


def build_untrained(seed: int = 0) -> nn.Module:
    """The toy that some reports take features from: three convolutions that never learned.

    Grey images ``(B, 1, H, W)`` → ``(B, 128)``, with PyTorch's initial weights from ``seed``.
    """
    with seeded(seed):
        return nn.Sequential(
            nn.Conv2d(1, 32, kernel_size=3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, kernel_size=3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 128, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )


STEPS = [("blur", 0.0), ("samples", 0.0)]
STEPS += [(kind, strength) for kind, many in STRENGTHS.items() for strength in many]
ASKED = [
    {"features": features, "kind": kind, "strength": strength}
    for features in ("untrained", "trained")
    for kind, strength in STEPS
]
TABLES = (Table("corruptions", corruption_score, lambda book: ASKED, ("conv16", "classifier")),)
