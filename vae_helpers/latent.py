"""A latent space: encode, decode, interpolate, lay out, freeze."""

import torch
from torch import Tensor

from vae_helpers.data import ImageDataset, checked_data, checked_labels
from vae_helpers.losses import kl_per_dimension
from vae_helpers.models import BATCH, VAE, device_of, evaluating


@torch.inference_mode()
def encode(model: VAE, data: ImageDataset) -> tuple[Tensor, Tensor]:
    """μ and log σ² ``(N, d)`` of every image, on the CPU."""
    batches = checked_data(data).to(device_of(model)).batches(BATCH)
    with evaluating(model):
        parts = [model.encode(*batch) for batch in batches]
    return tuple(torch.cat(part).cpu() for part in zip(*parts, strict=True))


@torch.inference_mode()
def decode(model: VAE, latents: Tensor, labels: Tensor | None = None) -> Tensor:
    """Images ``(N, C, H, W)`` in [0, 1] of latents ``(N, d)``, on the CPU.

    labels ``(N,)``: for a conditional model. Raises ValueError where the latents have another
    size than the model's, or such a model gets no labels.
    """
    if latents.ndim != 2 or latents.shape[1] != model.latent:
        raise ValueError(
            f"latents of shape {tuple(latents.shape)} for a model with {model.latent}; "
            f"give (N, {model.latent})"
        )
    parts, named = latents.split(BATCH), [None] * -(-len(latents) // BATCH)
    if model.classes and labels is not None:
        named = checked_labels(labels, len(latents), model.classes).split(BATCH)
    device = device_of(model)
    pairs = zip(parts, named, strict=True)
    return torch.cat([model.generate(z.to(device), y).cpu() for z, y in pairs])


def aggregate(model: VAE, data: ImageDataset, seed: int = 0) -> Tensor:
    """One sample of the posterior of every image, ``(N, d)``: a sample of the aggregate posterior.

    Of a plain autoencoder, whose σ is 0, these are its codes.
    """
    return model.reparameterize(*encode(model, data), torch.Generator().manual_seed(seed))


def by_kl(model: VAE, images: ImageDataset) -> tuple[Tensor, Tensor]:
    """Dimensions by mean KL over ``images``, largest first, and these means in nats ``(d,)``."""
    kl, dimensions = kl_per_dimension(*encode(model, images)).mean(0).sort(descending=True)
    return dimensions, kl


def interpolate(start: Tensor, end: Tensor, steps: int = 10) -> Tensor:
    """``steps`` latents on the straight line from ``start`` ``(d,)`` to ``end``, both included."""
    at = torch.linspace(0, 1, steps, device=start.device, dtype=start.dtype)
    return torch.lerp(start, end, at[:, None])


def quantile_grid(columns: int = 15) -> Tensor:
    """A square grid of 2-D latents ``(columns², 2)``, as images read: left to right, top down.

    Evenly spaced in probability: the prior's inverse cumulative distribution of the midpoints of
    ``columns`` equal slices, so that every latent stands for as much of the prior.
    """
    at = torch.special.ndtri((torch.arange(columns) + 0.5) / columns)
    return torch.cartesian_prod(at.flip(0), at).flip(1)


def traverse(codes: Tensor, steps: int = 11, reach: float = 3.0) -> Tensor:
    """Walks along each dimension of codes ``(N, d)``: latents ``(d, steps, d)``.

    Each walk crosses the codes' mean, from −reach to reach times their standard deviation, while
    the other dimensions stay at their means.
    """
    at = torch.linspace(-reach, reach, steps, device=codes.device)
    return codes.mean(0) + at[:, None] * torch.diag(codes.std(0))[:, None]


def frozen(count: int, latent: int, sigma: float, seed: int) -> Tensor:
    """Latents ``(count, latent)`` with μ frozen at 0: z = σ·ε, ε ~ N(0, I)."""
    return sigma * torch.randn((count, latent), generator=torch.Generator().manual_seed(seed))
