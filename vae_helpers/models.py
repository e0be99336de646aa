"""The variational autoencoder: an encoder, a decoder, and the step between them.

The model knows no loss. Its decoder returns logits; only ``generate`` turns them into pixels.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BATCH = 500  # images a large inference takes at a time: their activations stay in the cache


class VAE(nn.Module):
    """q(z|x) = N(μ(x), diag σ²(x)), p(z) = N(0, I), p(x|z) from ``decoder(z)`` (Kingma & Welling
    2014).

    encoder: images ``(B, 1, 28, 28)`` → (μ, log σ²), each ``(B, d)``. With σ = 0 everywhere it is
    a plain autoencoder: its sample is μ, and its KL infinite.
    decoder: latents ``(B, d)`` → logits ``(B, 1, 28, 28)``.
    classes: above 0, the model is conditional (Kingma et al. 2014): it is q(z|x, y) and p(x|z, y)
    with a label y ``(B,)``, which joins what the encoder's heads and the decoder see. A model
    without classes does not look at labels.
    """

    def __init__(self, encoder: "Encoder", decoder: nn.Module, classes: int = 0):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.classes = classes

    @property
    def latent(self) -> int:
        """d, the number of latent dimensions."""
        return self.encoder.mu.out_features

    def forward(
        self,
        images: Tensor,
        generator: torch.Generator | None = None,
        labels: Tensor | None = None,
    ):
        """Logits ``(B, 1, 28, 28)`` of one posterior sample each, μ and log σ² ``(B, d)``."""
        mu, log_var = self.encode(images, labels)
        return self.decode(self.reparameterize(mu, log_var, generator), labels), mu, log_var

    def encode(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """μ and log σ² of q(z|x), each ``(B, d)``, float32 even under autocast.

        Raises ValueError, as all that follows does, where a conditional model gets no labels.
        """
        mu, log_var = self.encoder(images, self._one_hot(labels))
        return mu.float(), log_var.float()

    @staticmethod
    def reparameterize(
        mu: Tensor, log_var: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """A sample z ~ N(μ, σ²) ``(B, d)`` that gradients flow through, into μ and log σ²."""
        # z = μ + σ ⊙ ε,  ε ~ N(0, I)
        return mu + torch.exp(0.5 * log_var) * noise(mu.shape, mu.device, generator)

    def decode(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits ``(B, 1, 28, 28)`` of p(x|z), float32 even under autocast."""
        return self.decoder(_joined(latents, self._one_hot(labels))).float()

    def generate(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images ``(B, 1, 28, 28)`` in [0, 1]: the mean of p(x|z)."""
        return torch.sigmoid(self.decode(latents, labels))

    def sample(
        self,
        count: int,
        generator: torch.Generator | None = None,
        labels: Tensor | None = None,
    ) -> Tensor:
        """``count`` images ``(count, 1, 28, 28)`` in [0, 1] from the prior, z ~ N(0, I)."""
        device = self.encoder.mu.weight.device
        return self.generate(noise((count, self.latent), device, generator), labels)

    def _one_hot(self, labels: Tensor | None) -> Tensor | None:
        if not self.classes:
            return None
        if labels is None:
            raise ValueError(f"a model of {self.classes} classes needs labels; give (B,) of them")
        return F.one_hot(labels, self.classes).float()


class Encoder(nn.Module):
    """A body that turns images into ``(B, features)``, and one linear head each for μ, log σ².

    Without ``variational`` there is no second head, and log σ² is −∞. The one-hot label
    ``(B, classes)`` of a conditional model joins the features.
    """

    def __init__(
        self,
        body: nn.Module,
        features: int,
        latent: int,
        variational: bool = True,
        classes: int = 0,
    ):
        super().__init__()
        self.body = body
        self.mu = nn.Linear(features + classes, latent)
        self.log_var = nn.Linear(features + classes, latent) if variational else None

    def forward(self, images: Tensor, one_hot: Tensor | None = None) -> tuple[Tensor, Tensor]:
        features = _joined(self.body(images), one_hot)
        mu = self.mu(features)
        if self.log_var is None:
            return mu, torch.full_like(mu, -torch.inf)
        return mu, self.log_var(features)


def _joined(features: Tensor, one_hot: Tensor | None) -> Tensor:
    return features if one_hot is None else torch.cat([features, one_hot.to(features.dtype)], dim=1)


def noise(shape, device: torch.device, generator: torch.Generator | None = None) -> Tensor:
    """ε ~ N(0, I), drawn where the generator lives: a CPU generator gives every device the same."""
    source = generator.device if generator is not None else device
    return torch.randn(shape, generator=generator, device=source).to(device)


def build_vae(
    body: str, latent: int, seed: int = 42, variational: bool = True, classes: int = 0
) -> VAE:
    """A new VAE for 28×28 grey images, its weights drawn from ``seed``.

    body: ``conv``, ``dense``, ``deep-conv`` or ``residual``. variational: False gives the plain
    autoencoder.
    classes: above 0, a conditional model of that many labels.
    Raises ValueError for another name, latent < 1 or classes < 0.
    """
    if classes < 0:
        raise ValueError(f"{classes} classes; give 0 for a model without labels, or their number")
    if body not in BODIES:
        raise ValueError(f"no body {body!r}; choose one of {', '.join(BODIES)}")
    if latent < 1:
        raise ValueError(f"latent size {latent}; a VAE needs at least one dimension")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VAE(*BODIES[body](latent, variational, classes), classes)


def _dense(latent: int, variational: bool, classes: int) -> tuple[Encoder, nn.Module]:
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 400), nn.ReLU())
    decoder = nn.Sequential(
        nn.Linear(latent + classes, 400),
        nn.ReLU(),
        nn.Linear(400, 784),
        nn.Unflatten(1, (1, 28, 28)),
    )
    return Encoder(encoder, 400, latent, variational, classes), decoder


def _residual(latent: int, variational: bool, classes: int) -> tuple[Encoder, nn.Module]:
    width = 512
    encoder = nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, width),
        ResidualLayers(width),
        nn.LayerNorm(width),
        nn.SiLU(),
    )
    decoder = nn.Sequential(
        nn.Linear(latent + classes, width),
        ResidualLayers(width),
        nn.LayerNorm(width),
        nn.SiLU(),
        nn.Linear(width, 784),
        nn.Unflatten(1, (1, 28, 28)),
    )
    return Encoder(encoder, width, latent, variational, classes), decoder


class ResidualLayers(nn.Module):
    """x + F(x) with two dense layers, normalized first (He et al. 2016b); ``(B, width)``."""

    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)
        )

    def forward(self, features: Tensor) -> Tensor:
        return features + self.layers(features)


def _conv(latent: int, variational: bool, classes: int, more: int = 0) -> tuple[Encoder, nn.Module]:
    encoder = nn.Sequential(
        *_down(1, 32, stride=2),  # (B, 32, 14, 14)
        *_down(32, 64, stride=2),  # (B, 64, 7, 7)
        *_deeper(more),
        nn.Flatten(),
    )
    decoder = nn.Sequential(
        *_spread(latent + classes),  # (B, 64, 7, 7)
        *_deeper(more),
        *_up(64, 32),  # (B, 32, 14, 14)
        nn.ConvTranspose2d(32, 1, kernel_size=4, stride=2, padding=1),
    )
    return Encoder(encoder, 64 * 7 * 7, latent, variational, classes), decoder


def _deeper(more: int) -> list[nn.Module]:
    return [layer for _ in range(more) for layer in _down(64, 64, stride=1)]


def _spread(inputs: int) -> list[nn.Module]:
    return [nn.Linear(inputs, 64 * 7 * 7), Unflatten(1, (64, 7, 7)), nn.ReLU()]


class Unflatten(nn.Unflatten):
    """PyTorch's, with the channels of a pixel side by side in memory: convolutions want them so."""

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features).contiguous(memory_format=torch.channels_last)


def _down(channels_in: int, channels_out: int, stride: int) -> list[nn.Module]:
    # Overwriting the normalized activations spares a third of this block's memory traffic.
    return [
        nn.Conv2d(channels_in, channels_out, kernel_size=3, stride=stride, padding=1),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    ]


def _up(channels_in: int, channels_out: int) -> list[nn.Module]:
    return [
        nn.ConvTranspose2d(channels_in, channels_out, kernel_size=4, stride=2, padding=1),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    ]


BODIES = {
    "conv": _conv,
    "dense": _dense,
    "deep-conv": partial(_conv, more=2),
    "residual": _residual,
}


def layer_table(model: VAE, images: Tensor) -> list[tuple[str, str, str, int]]:
    """What the live model does to a batch: (part, layer, output shape, parameters) per layer.

    The heads μ and log σ² and every body layer appear in the order in which data meets them.
    """
    rows = []

    def record(part: str, layer: nn.Module):
        def hook(_, __, output):
            shape = " × ".join(["B", *map(str, output.shape[1:])])
            parameters = sum(p.numel() for p in layer.parameters())
            rows.append((part, _layer_name(layer), shape, parameters))

        return layer.register_forward_hook(hook)

    parts = [
        *(("encoder", layer) for layer in model.encoder.body),
        ("μ head", model.encoder.mu),
        ("log σ² head", model.encoder.log_var),
        *(("decoder", layer) for layer in model.decoder),
    ]
    hooks = [record(part, layer) for part, layer in parts if layer is not None]
    training = model.training
    try:
        with torch.inference_mode():
            model.eval()(images)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return rows


def _layer_name(layer: nn.Module) -> str:
    name = type(layer).__name__
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        kernel, stride, padding = layer.kernel_size[0], layer.stride[0], layer.padding[0]
        return f"{name} k{kernel} s{stride} p{padding}"
    return name


def parameter_count(module: nn.Module) -> int:
    """How many numbers the module learns."""
    return sum(p.numel() for p in module.parameters())
