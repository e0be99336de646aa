"""A classifier of garments: features for Fréchet distances, and an opinion on samples.

It is trained by the same ``fit`` as every other model; only its loss differs.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vae_helpers.data import ImageDataset, checked_data, checked_images, checked_labels
from vae_helpers.models import device_of, drawn, evaluating, normalized, seeded

BATCH = 100  # images an inference takes at a time: a ResNet's activations stay in the cache
SHIFT = 1  # pixels by which a training image may be moved, up and down and sideways


class FashionResNet18(nn.Module):
    """ResNet-18 (He et al. 2016) with a 3×3 stem and no pooling after it, for small images.

    features: the width of its last stage, twice that of the one before: 512 in the paper.
    temperature: divides the logits before ``probabilities`` are taken, see ``calibrate``.
    """

    def __init__(self, features: int, classes: int = 10, channels: int = 1):
        super().__init__()
        widths = [features // 8, features // 4, features // 2, features]
        stem = nn.Conv2d(channels, widths[0], kernel_size=3, padding=1, bias=False)
        self.stem = nn.Sequential(*normalized(stem))
        blocks, before = [], widths[0]
        for width in widths:  # (B, width, H, W), and then half, a quarter and an eighth
            stride = 1 if width == widths[0] else 2
            blocks += [ResidualBlock(before, width, stride), ResidualBlock(width, width, 1)]
            before = width
        self.stages = nn.Sequential(*blocks)
        self.head = nn.Linear(features, classes)
        self.register_buffer("temperature", torch.ones(()))

    def features(self, images: Tensor) -> Tensor:
        """What the last layer sees of images ``(B, C, H, W)`` in [0, 1]: ``(B, features)``."""
        precise = self.head.weight.dtype  # even under autocast
        seen = self.stages(self.stem(checked_images(images).to(precise)))
        return seen.to(precise).mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(B, classes)``, before the temperature."""
        return self.head(self.features(images)).float()

    def probabilities(self, images: Tensor) -> Tensor:
        """Calibrated class probabilities ``(B, classes)`` of images, in evaluation mode."""
        with evaluating(self):
            return self.probabilities_of(self.features(images))

    def probabilities_of(self, features: Tensor) -> Tensor:
        """Calibrated class probabilities ``(B, classes)`` of features ``(B, features)``."""
        return torch.softmax(self.head(features) / self.temperature, dim=1)


class ResidualBlock(nn.Module):
    """relu(x + F(x)), with a 1×1 convolution on x where its shape changes (He et al. 2016)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int):
        super().__init__()
        first = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)
        self.residual = nn.Sequential(
            *normalized(first),
            nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
        )
        self.shortcut = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride=stride, bias=False),
                nn.BatchNorm2d(channels_out),
            )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.residual(x) + self.shortcut(x), inplace=True)


def build_classifier(
    features: int, seed: int = 42, *, classes: int = 10, channels: int = 1
) -> FashionResNet18:
    """A new classifier, its weights drawn from ``seed``.

    Raises ValueError unless ``features`` is a multiple of 64.
    """
    # The first stage is an eighth as wide, and oneDNN's channels-last convolutions of fewer than
    # eight channels write beyond their memory (torch 2.14.1 on AVX2: a crash, or a hang).
    if features < 64 or features % 64:
        raise ValueError(f"{features} features; give a multiple of 64")
    with seeded(seed):
        return FashionResNet18(features, classes, channels)


def classifier_loss(model, images, labels, beta=1.0, generator=None) -> dict[str, Tensor]:
    """Cross-entropy in nats and error (0 or 1), ``(B,)`` each; β has no meaning here.

    While the model trains, it sees each image mirrored or not and shifted, both at random.
    """
    if model.training:
        images = augmented(images, generator)
    logits = model(images)
    labels = checked_labels(labels, *logits.shape)
    return {
        "total": F.cross_entropy(logits, labels, reduction="none"),
        "error": (logits.argmax(1) != labels).float(),
    }


def augmented(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Each image ``(B, C, H, W)`` mirrored with probability ½ and shifted by up to 1 pixel."""
    images = checked_images(images)
    count, channels, height, width = images.shape
    device = images.device

    def draw(high: int) -> Tensor:
        return drawn(torch.randint, high, (count, 1), device=device, generator=generator)

    rows = torch.arange(height, device=device) + draw(2 * SHIFT + 1)  # (B, H)
    columns = torch.arange(width, device=device) + draw(2 * SHIFT + 1)
    columns = torch.where(draw(2).bool(), columns.flip(1), columns)
    padded = F.pad(images, (SHIFT, SHIFT, SHIFT, SHIFT))
    which = torch.arange(count, device=device)[:, None, None, None]
    channel = torch.arange(channels, device=device)[:, None, None]
    return padded[which, channel, rows[:, None, :, None], columns[:, None, None, :]]


@torch.inference_mode()
def in_batches(model: nn.Module, images: Tensor, method: str = "__call__") -> Tensor:
    """What a model makes of many images, on the CPU: its output, or that of another ``method``.

    ``in_batches(classifier, images, "features")``, say, or ``"probabilities"``.
    """
    call, device, images = getattr(model, method), device_of(model), torch.as_tensor(images)
    with evaluating(model):
        return torch.cat([call(part.to(device)).cpu() for part in images.split(BATCH)])


def calibrate(model: FashionResNet18, held_out: ImageDataset) -> None:
    """Set the temperature that minimizes the cross-entropy of images not trained on.

    One number, so that the order of classes never changes (Guo et al. 2017, section 4.2).
    """
    from scipy.optimize import minimize_scalar

    labels = checked_data(held_out).known_labels().cpu()
    logits = in_batches(model, held_out[:][0]).double()
    found = minimize_scalar(
        lambda log_t: float(F.cross_entropy(logits / 2.0**log_t, labels)),
        bounds=(-4, 4),
        method="bounded",
    )
    model.temperature.fill_(2.0**found.x)
