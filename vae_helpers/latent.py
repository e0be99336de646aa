"""A latent space: encode, decode, draw, interpolate, lay out, freeze, project.

A sampler maps (count, generator of the CPU) to latents ``(count, d)``: those of the prior, or of a
density fitted to the codes of training images after training, which is Ghosh et al.'s ex-post
density estimation (2020).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from vae_helpers.data import ImageDataset
from vae_helpers.losses import kl_per_dimension
from vae_helpers.models import BATCH, VAE, device_of, evaluating, noise

CPU = torch.device("cpu")
Sampler = Callable[[int, torch.Generator], Tensor]


@torch.inference_mode()
def encode(model: VAE, data: ImageDataset) -> tuple[Tensor, Tensor]:
    """μ and log σ² ``(N, d)`` of every image, on the CPU."""
    with evaluating(model):
        parts = [model.encode(*batch) for batch in data.to(device_of(model)).batches(BATCH)]
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
    parts = latents.split(BATCH)
    named = [None] * len(parts) if labels is None else labels.split(BATCH)
    device = device_of(model)
    pairs = zip(parts, named, strict=True)
    return torch.cat([model.generate(z.to(device), y).cpu() for z, y in pairs])


def labels_for(model: VAE, count: int) -> Tensor | None:
    """``count`` labels that go round the classes of a conditional model; None for any other."""
    return torch.arange(count) % model.classes if model.classes else None


def aggregate(model: VAE, data: ImageDataset, seed: int = 0) -> Tensor:
    """One sample of the posterior of every image, ``(N, d)``: a sample of the aggregate posterior.

    Of a plain autoencoder, whose σ is 0, these are its codes.
    """
    return model.reparameterize(*encode(model, data), torch.Generator().manual_seed(seed))


def by_kl(model: VAE, images: ImageDataset) -> tuple[Tensor, Tensor]:
    """Dimensions by mean KL over ``images``, largest first, and these means in nats ``(d,)``."""
    kl, dimensions = kl_per_dimension(*encode(model, images)).mean(0).sort(descending=True)
    return dimensions, kl


def prior(latent: int) -> Sampler:
    """z ~ N(0, I) of ``latent`` dimensions."""
    return lambda count, generator: noise((count, latent), CPU, generator)


def gaussian(codes: Tensor) -> Sampler:
    """z ~ N(m, S) with the mean and covariance of ``codes`` ``(N, d)``: a mixture of one."""
    return mixture(codes, components=1)


def mixture(codes: Tensor, components: int = 10, seed: int = 0) -> Sampler:
    """z from a Gaussian mixture with full covariances, fitted to ``codes`` ``(N, d)`` by EM.

    Raises ValueError for NaN or fewer codes than ten per component.
    """
    from sklearn.mixture import GaussianMixture

    if len(codes) < 10 * components:
        raise ValueError(
            f"{len(codes)} codes for {components} components; give at least {10 * components}"
        )
    if codes.isnan().any():
        raise ValueError("codes hold NaN; look at the model or the images they come from")
    fitted = GaussianMixture(components, random_state=seed).fit(codes.cpu().double().numpy())
    weights = torch.from_numpy(fitted.weights_)
    means = torch.from_numpy(fitted.means_)
    roots = torch.linalg.cholesky(torch.from_numpy(fitted.covariances_))

    def sample(count: int, generator: torch.Generator) -> Tensor:
        which = torch.multinomial(weights, count, replacement=True, generator=generator)
        noise = torch.randn(means[which].shape, generator=generator, dtype=means.dtype)
        return (means[which] + (roots[which] @ noise[:, :, None]).squeeze(2)).float()

    return sample


def interpolate(start: Tensor, end: Tensor, steps: int = 10) -> Tensor:
    """``steps`` latents on the straight line from ``start`` ``(d,)`` to ``end``, both included."""
    return torch.lerp(start, end, torch.linspace(0, 1, steps, device=start.device)[:, None])


def interpolate_spherical(start: Tensor, end: Tensor, steps: int = 10) -> Tensor:
    """As ``interpolate``, along the great circle; the length changes evenly (Shoemake 1985).

    Directions that coincide, or are opposite and so have no one great circle, go straight.
    """
    at = torch.linspace(0, 1, steps, device=start.device)[:, None]
    lengths = torch.lerp(start.norm(), end.norm(), at)
    a, b = start / start.norm(), end / end.norm()
    angle = torch.arccos((a * b).sum().clamp(-1, 1))
    if not 1e-3 < float(angle) < math.pi - 1e-3:
        return interpolate(start, end, steps)
    # sin((1 − t)θ)/sin θ · a + sin(tθ)/sin θ · b
    return lengths * (torch.sin((1 - at) * angle) * a + torch.sin(at * angle) * b) / angle.sin()


def manifold(columns: int = 15) -> Tensor:
    """A square grid of 2-D latents ``(columns², 2)``, as images read: left to right, top down.

    Evenly spaced in probability: the prior's inverse cumulative distribution of the midpoints of
    ``columns`` equal slices, so that every latent stands for as much of the prior.
    """
    return _grid(torch.special.ndtri((torch.arange(columns) + 0.5) / columns))


def plane(reach: float, columns: int) -> Tensor:
    """A square grid of 2-D latents ``(columns², 2)``, −reach to reach: left to right, top down."""
    return _grid(torch.linspace(-reach, reach, columns))


def _grid(at: Tensor) -> Tensor:
    down, across = torch.meshgrid(at.flip(0), at, indexing="ij")
    return torch.stack([across.flatten(), down.flatten()], dim=1)


def traverse(codes: Tensor, steps: int = 11, reach: float = 3.0) -> Tensor:
    """Walks along each dimension of codes ``(N, d)``: latents ``(d, steps, d)``.

    Each walk crosses the codes' mean, from −reach to reach times their standard deviation, while
    the other dimensions stay at their means.
    """
    mean, deviation = codes.mean(0), codes.std(0)
    at = torch.linspace(-reach, reach, steps, device=codes.device)
    walks = mean.expand(codes.shape[1], steps, -1).clone()
    for dimension in range(codes.shape[1]):
        walks[dimension, :, dimension] += at * deviation[dimension]
    return walks


def frozen(count: int, latent: int, sigma: float, seed: int) -> Tensor:
    """Latents ``(count, latent)`` with μ frozen at 0: z = σ·ε, ε ~ N(0, I)."""
    return sigma * noise((count, latent), CPU, torch.Generator().manual_seed(seed))


def keep_dimensions(code: Tensor, kept: list[int], count: int, seed: int) -> Tensor:
    """Prior samples ``(count, d)`` whose dimensions ``kept`` are frozen at those of ``code``."""
    latents = frozen(count, len(code), 1.0, seed)
    latents[:, kept] = code.cpu()[kept]
    return latents


def principal_directions(images: ImageDataset, count: int) -> tuple[Tensor, Tensor]:
    """Mean ``(P,)`` and ``count`` widest directions ``(P, count)``, widest first, of P pixels.

    A linear autoencoder: ``(pixels − mean) @ directions`` encodes, ``code @ directions.T + mean``
    decodes, and no other of that size has a smaller squared error.
    """
    pixels = images[:][0].flatten(1).cpu()
    _, directions = torch.linalg.eigh(pixels.T.double().cov())  # ascending
    return pixels.mean(0), directions[:, -count:].flip(1).float()


def principal_components(codes: Tensor, count: int = 2) -> tuple[Tensor, Tensor]:
    """Codes ``(N, d)`` on their ``count`` widest directions ``(N, count)``, and variance shares.

    Each direction's sign is fixed so that its largest coefficient is positive: the same picture on
    every machine.
    """
    centred = (codes - codes.mean(0)).cpu().double()
    _, values, directions = torch.linalg.svd(centred, full_matrices=False)
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    directions = directions * largest.sign()
    return (centred @ directions[:count].T).float(), (values**2 / (values**2).sum())[:count]
