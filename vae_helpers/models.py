"""The variational autoencoder: an encoder, a decoder, and the step between them.

The model knows no loss. Its decoder returns logits; only ``generate`` turns them into pixels.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vae_helpers.data import checked_images, checked_labels

BATCH = 500  # images a large inference takes at a time: their activations stay in the cache
Shape = tuple[int, int, int]  # channels, height and width of an image


class VAE(nn.Module):
    """q(z|x) = N(μ(x), diag σ²(x)), p(z) = N(0, I), p(x|z) from ``decoder(z)`` (Kingma & Welling
    2014).

    encoder: images ``(B, C, H, W)`` → (μ, log σ²), each ``(B, d)``. With σ = 0 everywhere it is
    a plain autoencoder: its sample is μ, and its KL infinite.
    decoder: latents ``(B, d)`` → logits ``(B, C, H, W)``. shape: (C, H, W).
    classes: above 0, the model is conditional (Kingma et al. 2014): it is q(z|x, y) and p(x|z, y)
    with a label y ``(B,)``, which joins what the encoder's heads and the decoder see. A model
    without classes does not look at labels.

    ``forward``, ``encode`` and ``decode`` are the passes that training consists of, in the mode
    that the model is in; ``generate`` makes pictures, in evaluation mode.
    """

    def __init__(
        self, encoder: "Encoder", decoder: nn.Module, shape: Shape = (1, 28, 28), classes: int = 0
    ):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.shape = shape
        self.classes = classes

    @property
    def latent(self) -> int:
        """d, the number of latent dimensions."""
        return self.encoder.mu.out_features

    def forward(
        self, images: Tensor, generator: torch.Generator | None = None, labels: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits ``(B, C, H, W)`` of one posterior sample each, μ and log σ² ``(B, d)``."""
        mu, log_var = self.encode(images, labels)
        return self.decode(self.reparameterize(mu, log_var, generator), labels), mu, log_var

    def encode(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """μ and log σ² of q(z|x), each ``(B, d)``, float32 even under autocast.

        Raises ValueError for images of another shape than the model's, pixels outside [0, 1] and,
        as all that follows does, where a conditional model gets no labels, or wrong ones.
        """
        images = checked_images(images, (len(images), *self.shape)).to(self.encoder.mu.weight.dtype)
        mu, log_var = self.encoder(images, labels)
        return mu.float(), log_var.float()

    @staticmethod
    def reparameterize(
        mu: Tensor, log_var: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """A sample z ~ N(μ, σ²) ``(B, d)`` that gradients flow through, into μ and log σ²."""
        epsilon = drawn(torch.randn, mu.shape, device=mu.device, generator=generator)
        # z = μ + σ ⊙ ε,  ε ~ N(0, I)
        return mu + torch.exp(0.5 * log_var) * epsilon

    def decode(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits ``(B, C, H, W)`` of p(x|z), float32 even under autocast."""
        latents = latents.to(self.encoder.mu.weight.dtype)
        return self.decoder(_labelled(latents, labels, self.classes)).float()

    def generate(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images ``(B, C, H, W)`` in [0, 1]: the mean of p(x|z)."""
        with evaluating(self):
            return torch.sigmoid(self.decode(latents, labels))


class Encoder(nn.Module):
    """A body that turns images into ``(B, features)``, and one linear head each for μ, log σ².

    Without ``variational`` there is no second head, and log σ² is −∞.
    """

    def __init__(
        self, body: nn.Module, features: int, latent: int, variational: bool = True, classes=0
    ):
        super().__init__()
        self.body = body
        self.mu = nn.Linear(features + classes, latent)
        self.log_var = nn.Linear(features + classes, latent) if variational else None
        self.classes = classes

    def forward(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        features = _labelled(self.body(images), labels, self.classes)
        mu = self.mu(features)
        if self.log_var is None:
            return mu, torch.full_like(mu, -torch.inf)
        return mu, self.log_var(features)


def _labelled(features: Tensor, labels: Tensor | None, classes: int) -> Tensor:
    """Features ``(B, f)``, beside their one-hot labels in a conditional model."""
    if not classes:
        return features
    named = f"a model of {classes} classes needs labels; "
    labels = checked_labels(labels, len(features), classes, named)
    return torch.cat([features, F.one_hot(labels, classes).to(features)], dim=1)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """``model`` in evaluation mode; afterwards each of its parts is in the mode that it was in."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def device_of(model: nn.Module) -> torch.device:
    """Where the model's weights are."""
    return next(model.parameters()).device


def drawn(how: Callable[..., Tensor], *arguments, device: torch.device, generator=None) -> Tensor:
    """``how(*arguments)``, say of ``torch.randint``, for ``device``.

    Drawn where the generator lives: a CPU generator gives every device the same.
    """
    source = device if generator is None else generator.device
    return how(*arguments, generator=generator, device=source).to(device)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """New layers lie on the CPU and draw their weights from ``seed``.

    PyTorch's own draws then go on as if nothing had been drawn, on every device.
    """
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed GPUs, too
        yield


def build_vae(
    body: str,
    latent: int,
    shape: Shape = (1, 28, 28),
    *,
    seed: int = 42,
    variational: bool = True,
    classes: int = 0,
) -> VAE:
    """A new VAE for images of ``shape`` (C, H, W), its weights drawn from ``seed``.

    body: ``dense`` or ``residual``, for images of any size; ``conv`` or ``deep-conv``, for sides
    that are multiples of 4. variational: False gives the plain autoencoder.
    classes: above 0, a conditional model of that many labels.
    Raises ValueError for another name, latent < 1, classes < 0, or a shape that does not fit.
    """
    if body not in BODIES:
        raise ValueError(f"no body {body!r}; choose one of {', '.join(BODIES)}")
    if latent < 1 or classes < 0:
        raise ValueError(f"latent size {latent}, {classes} classes; give 1 or more, and 0 or more")
    shape = tuple(shape)
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"images of shape {shape}; give (channels, height, width)")
    with seeded(seed):
        layers, features, decoder = BODIES[body](shape, latent + classes)
        encoder = Encoder(layers, features, latent, variational, classes)
    return VAE(encoder, decoder, shape, classes)


def _dense(shape: Shape, inputs: int, width: int = 400, residual: bool = False):
    # As every body: the encoder's layers, how many features they make, and the decoder's layers.
    def hidden() -> list[nn.Module]:
        if residual:
            return [ResidualLayers(width), nn.LayerNorm(width), nn.SiLU()]
        return [nn.ReLU()]

    pixels = math.prod(shape)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(pixels, width), *hidden())
    decoder = nn.Sequential(
        nn.Linear(inputs, width), *hidden(), nn.Linear(width, pixels), nn.Unflatten(1, shape)
    )
    return encoder, width, decoder


class ResidualLayers(nn.Module):
    """x + F(x) with two dense layers, normalized first (He et al. 2016b); ``(B, width)``."""

    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)
        )

    def forward(self, features: Tensor) -> Tensor:
        return features + self.layers(features)


def _conv(shape: Shape, inputs: int, more: int = 0):
    channels, height, width = shape
    if height % 4 or width % 4:
        raise ValueError(
            f"images of {height}×{width} for convolutions that halve both sides twice; pad or "
            "resize them to multiples of 4, or build a dense or residual body, which takes any size"
        )

    def deeper() -> list[nn.Module]:
        return [layer for _ in range(more) for layer in normalized(nn.Conv2d(64, 64, 3, 1, 1))]

    small = (64, height // 4, width // 4)
    encoder = nn.Sequential(
        *normalized(nn.Conv2d(channels, 32, kernel_size=3, stride=2, padding=1)),  # half the sides
        *normalized(nn.Conv2d(32, 64, kernel_size=3, stride=2, padding=1)),  # a quarter
        *deeper(),
        nn.Flatten(),
    )
    decoder = nn.Sequential(
        nn.Linear(inputs, math.prod(small)),
        Unflatten(1, small),
        nn.ReLU(),
        *deeper(),
        *normalized(nn.ConvTranspose2d(64, 32, kernel_size=4, stride=2, padding=1)),
        nn.ConvTranspose2d(32, channels, kernel_size=4, stride=2, padding=1),
    )
    return encoder, math.prod(small), decoder


def normalized(convolution: nn.Module) -> list[nn.Module]:
    """A convolution, its batch normalization and a ReLU."""
    # Overwriting the normalized activations spares a third of this block's memory traffic.
    return [convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU(inplace=True)]


class Unflatten(nn.Unflatten):
    """PyTorch's, with the channels of a pixel side by side in memory: convolutions want them so."""

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features).contiguous(memory_format=torch.channels_last)


BODIES = {
    "conv": _conv,
    "dense": _dense,
    "deep-conv": partial(_conv, more=2),
    "residual": partial(_dense, width=512, residual=True),
}


def parameter_count(module: nn.Module) -> int:
    """How many numbers the module learns."""
    return sum(p.numel() for p in module.parameters())
