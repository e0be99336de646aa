"""Walks through a latent space: encode, decode, interpolate, lay out, freeze, project."""

import math
import warnings
from functools import lru_cache

import torch
from torch import Tensor

from vae_helpers.data import ImageDataset
from vae_helpers.models import BATCH, VAE, noise

EMBEDDINGS = ("t-SNE", "UMAP")


@torch.inference_mode()
def encode(model: VAE, data: ImageDataset) -> tuple[Tensor, Tensor]:
    """μ and log σ² ``(N, d)`` of every image, on the CPU."""
    device = model.encoder.mu.weight.device
    parts = [model.encode(*batch) for batch in data.to(device).batches(BATCH)]
    return tuple(torch.cat(part).cpu() for part in zip(*parts, strict=True))


@torch.inference_mode()
def decode(model: VAE, latents: Tensor, labels: Tensor | None = None) -> Tensor:
    """Images ``(N, 1, 28, 28)`` in [0, 1] of latents ``(N, d)``, on the CPU.

    labels ``(N,)``: for a conditional model. Raises ValueError where the latents have another
    size than the model's, or such a model gets no labels.
    """
    if latents.ndim != 2 or latents.shape[1] != model.latent:
        raise ValueError(
            f"latents of shape {tuple(latents.shape)} for a model with {model.latent}; "
            f"give (N, {model.latent})"
        )
    device = model.encoder.mu.weight.device
    if labels is None:
        return torch.cat([model.generate(part.to(device)).cpu() for part in latents.split(BATCH)])
    parts = zip(latents.split(BATCH), labels.split(BATCH), strict=True)
    return torch.cat([model.generate(z.to(device), y.to(device)).cpu() for z, y in parts])


def labels_for(model: VAE, count: int) -> Tensor | None:
    """``count`` labels that go round the classes of a conditional model; None for any other."""
    return torch.arange(count) % model.classes if model.classes else None


def aggregate(model: VAE, data: ImageDataset, seed: int = 0) -> Tensor:
    """One sample of the posterior of every image, ``(N, d)``: a sample of the aggregate posterior.

    Of a plain autoencoder, whose σ is 0, these are its codes.
    """
    return model.reparameterize(*encode(model, data), torch.Generator().manual_seed(seed))


def interpolate(start: Tensor, end: Tensor, steps: int = 10) -> Tensor:
    """``steps`` latents on the straight line from ``start`` ``(d,)`` to ``end``, both included."""
    return torch.lerp(start, end, torch.linspace(0, 1, steps)[:, None])


def interpolate_spherical(start: Tensor, end: Tensor, steps: int = 10) -> Tensor:
    """As ``interpolate``, along the great circle; the length changes evenly (Shoemake 1985).

    Directions that coincide, or are opposite and so have no one great circle, go straight.
    """
    at = torch.linspace(0, 1, steps)[:, None]
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
    at = torch.special.ndtri((torch.arange(columns) + 0.5) / columns)
    down, across = torch.meshgrid(at.flip(0), at, indexing="ij")
    return torch.stack([across.flatten(), down.flatten()], dim=1)


def plane(reach: float, columns: int) -> Tensor:
    """A square grid of 2-D latents ``(columns², 2)``, −reach to reach: left to right, top down."""
    at = torch.linspace(-reach, reach, columns)
    down, across = torch.meshgrid(at.flip(0), at, indexing="ij")
    return torch.stack([across.flatten(), down.flatten()], dim=1)


def traverse(codes: Tensor, steps: int = 11, reach: float = 3.0) -> Tensor:
    """Walks along each dimension of codes ``(N, d)``: latents ``(d, steps, d)``.

    Each walk crosses the codes' mean, from −reach to reach times their standard deviation, while
    the other dimensions stay at their means.
    """
    mean, deviation = codes.mean(0), codes.std(0)
    at = torch.linspace(-reach, reach, steps)
    walks = mean.expand(codes.shape[1], steps, -1).clone()
    for dimension in range(codes.shape[1]):
        walks[dimension, :, dimension] += at * deviation[dimension]
    return walks


def frozen(count: int, latent: int, sigma: float, seed: int) -> Tensor:
    """Latents ``(count, latent)`` with μ frozen at 0: z = σ·ε, ε ~ N(0, I)."""
    return sigma * noise((count, latent), torch.device("cpu"), torch.Generator().manual_seed(seed))


def keep_dimensions(code: Tensor, kept: list[int], count: int, seed: int) -> Tensor:
    """Prior samples ``(count, d)`` whose dimensions ``kept`` are frozen at those of ``code``."""
    latents = frozen(count, len(code), 1.0, seed)
    latents[:, kept] = code[kept]
    return latents


def embeddings(codes: Tensor, seed: int = 0) -> dict[str, Tensor]:
    """t-SNE and UMAP of codes ``(N, d)``, ``(N, 2)`` each: slow, and not the same everywhere.

    van der Maaten & Hinton 2008; McInnes et al. 2018. Raises ModuleNotFoundError where umap-learn
    is not installed.
    """
    from sklearn.manifold import TSNE

    with warnings.catch_warnings():
        # umap-learn's bars look for widgets that no one here wants.
        warnings.simplefilter("ignore")
        try:
            from umap import UMAP
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("UMAP needs umap-learn: pip install umap-learn") from error
    methods = (TSNE(random_state=seed), UMAP(random_state=seed, n_jobs=1))
    return {
        name: torch.from_numpy(method.fit_transform(codes.numpy())).float()
        for name, method in zip(EMBEDDINGS, methods, strict=True)
    }


def trustworthiness(codes: Tensor, embedding: Tensor, k: int = 10) -> float:
    """How far neighbours in ``embedding`` ``(N, 2)`` are neighbours of ``codes`` ``(N, d)``, too.

    1 where every embedded neighbour is a true one, ½ for random places (Venna & Kaski 2001).
    """
    from sklearn.manifold import trustworthiness

    return float(trustworthiness(codes.numpy(), embedding.numpy(), n_neighbors=k))


@lru_cache(maxsize=2)
def principal_directions(images: ImageDataset, count: int) -> tuple[Tensor, Tensor]:
    """Mean ``(784,)`` and ``count`` widest directions ``(784, count)``, widest first, of images.

    A linear autoencoder: ``(pixels − mean) @ directions`` encodes, ``code @ directions.T + mean``
    decodes, and no other of that size has a smaller squared error.
    """
    pixels = images[:][0].flatten(1)
    _, directions = torch.linalg.eigh(pixels.T.double().cov())  # ascending
    return pixels.mean(0), directions[:, -count:].flip(1).float()


def principal_components(codes: Tensor, count: int = 2) -> tuple[Tensor, Tensor]:
    """Codes ``(N, d)`` on their ``count`` widest directions ``(N, count)``, and variance shares.

    Each direction's sign is fixed so that its largest coefficient is positive: the same picture on
    every machine.
    """
    centred = (codes - codes.mean(0)).double()
    _, values, directions = torch.linalg.svd(centred, full_matrices=False)
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    directions = directions * largest.sign()
    return (centred @ directions[:count].T).float(), (values**2 / (values**2).sum())[:count]
