"""How samples compare with test images: by model, number, width of the latents, and class."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from press import fid
from press.checkpoints import Experiment
from press.experiments.common import from_seeds, seeds, some
from press.experiments.model_scores import MODELS
from press.runs import RUNS
from press.stored import Table
from vae_helpers import latent
from vae_helpers.classifier import in_batches
from vae_helpers.metrics.frechet import frechet, kernel_distances, neighbour_scores
from vae_helpers.metrics.images import diversity, sharpness

# Of chapters 2 to 9; the last one to show what it costs to lack classes.
VAES = ("conv16", "conv16-one-cycle", "dense20-validated", "dense2", "conv16-validated", "beta-1")
EX_POST = ("conv16-validated", "autoencoder16")
REAL = "training images"  # in the place of a run, to compare with
SIZES = (500, 1_000, 2_000, 5_000, 10_000)


def sample_quality(book, run: str, sampler: str, seed: int) -> dict[str, float]:
    """How 10,000 samples of a sampler (``real`` of the run ``training images``: as many of those)
    compare with the 10,000 test images, in the classifier's features.
    """
    made, real = _seen(book, run, sampler, seed), fid.reference(book)
    kid = kernel_distances(real, made, size=min(1_000, len(made)), seed=seed)
    neighbours = neighbour_scores(real, made) if seed == 0 else {}
    return {"frechet": frechet(real, made), "kid": float(kid.mean())} | neighbours


def size_bias(book, made: str, size: int, seed: int) -> dict[str, float]:
    """Fréchet distance of so many samples of ``conv16``, or training images, from all test ones."""
    features = _seen(book, made, "real" if made == REAL else "prior", 0)
    chosen = np.random.default_rng(seed).permutation(len(features))[:size]
    return {"frechet": frechet(fid.reference(book), features[chosen])}


@lru_cache(maxsize=2)  # rows that differ in size see the same
def _seen(book, run: str, sampler: str, seed: int) -> np.ndarray:
    if sampler == "real":
        return fid.features(book, some(book.images("train"), fid.count(book), seed)[:][0])
    return fid.features(book, sampled(book.experiment(run), sampler, fid.count(book), seed))


def sampled(one: Experiment, sampler: str, count: int, seed: int) -> Tensor:
    """``count`` images ``(N, C, H, W)``; of a conditional model, as many of each class."""
    latents = make_sampler(one, sampler)(count, torch.Generator().manual_seed(seed))
    classes = one.model.classes
    return latent.decode(one.model, latents, torch.arange(count) % classes if classes else None)


@lru_cache(maxsize=8)
def make_sampler(one: Experiment, sampler: str) -> Callable[[int, torch.Generator], Tensor]:
    """The ``prior``, or a ``gaussian`` or ``mixture`` fitted to codes of the images that the model
    was trained on: Ghosh et al.'s ex-post density estimation (2020). No test image has a part in
    it. Raises ValueError for any other.
    """
    if sampler == "prior":
        return lambda count, generator: torch.randn(count, one.model.latent, generator=generator)
    if sampler not in ("gaussian", "mixture"):
        raise ValueError(f"no sampler {sampler!r}; choose prior, gaussian or mixture")
    codes = latent.aggregate(one.model, one.images)
    return mixture(codes, components=1 if sampler == "gaussian" else 10)


def mixture(codes: Tensor, components: int) -> Callable[[int, torch.Generator], Tensor]:
    """z from a Gaussian mixture with full covariances, fitted to ``codes`` ``(N, d)`` by EM."""
    from sklearn.mixture import GaussianMixture

    fitted = GaussianMixture(components, random_state=0).fit(codes.double().numpy())
    weights, means = torch.from_numpy(fitted.weights_), torch.from_numpy(fitted.means_)
    roots = torch.linalg.cholesky(torch.from_numpy(fitted.covariances_))

    def sample(count: int, generator: torch.Generator) -> Tensor:
        which = torch.multinomial(weights, count, replacement=True, generator=generator)
        noise = torch.randn(means[which].shape, generator=generator, dtype=means.dtype)
        return (means[which] + (roots[which] @ noise[:, :, None]).squeeze(2)).float()

    return sample


def _samples(book) -> list[dict]:
    names = dict.fromkeys((*VAES, "autoencoder16", *MODELS))
    pairs = [(REAL, "real"), *((name, "prior") for name in names)]
    pairs += [(name, sampler) for name in EX_POST for sampler in ("gaussian", "mixture")]
    return [{"run": r, "sampler": s, "seed": seed} for r, s in pairs for seed in seeds(book)]


def _needs(run: str, **_) -> tuple[str, ...]:
    return ("classifier", run) if run in RUNS else ("classifier",)


SIGMAS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)


def frozen_quality(book, sigma: float, seed: int) -> dict[str, float]:
    """Samples from z ~ N(0, σ²I): as many as there are test images, diversity of 1,000."""
    model, classifier = book.experiment("conv16").model, book.classifier
    made = latent.decode(model, latent.frozen(fid.count(book), model.latent, sigma, seed))
    features = fid.features(book, made)
    probabilities = in_batches(classifier, torch.from_numpy(features), "probabilities_of")
    return {
        "diversity": diversity(made[:1_000])[0],
        "sharpness": float(sharpness(made).mean()),
        "confidence": float(probabilities.max(1).values.double().mean()),
        "frechet": frechet(fid.reference(book), features),
    }


def class_samples(book, label: int, seed: int) -> dict[str, float]:
    """What the classifier calls as many samples of a class as it has test images (``called 0`` …
    are shares), and how far off these are. ``real``: the share of test images that are recognized;
    ``floor``: the distance of as many training images.
    """
    model, classifier = book.experiment("conditional2").model, book.classifier
    seen, pool = fid.reference(book), book.images("train")
    if not book.smoke:  # whose classes have fewer images than the classifier has features
        seen = seen[(book.images("test").labels == label).numpy()]
        pool = pool.only([pool.classes[label]])
    latents = latent.frozen(len(seen), model.latent, 1.0, seed)
    samples = latent.decode(model, latents, torch.full((len(seen),), label))
    made = fid.features(book, samples)
    floor = fid.features(book, some(pool, len(seen), seed)[:][0])
    called, right = (
        in_batches(classifier, torch.from_numpy(what), "probabilities_of").argmax(1)
        for what in (made, seen)
    )
    shares = torch.bincount(called, minlength=model.classes).double() / len(called)
    return {
        "accuracy": float(shares[label]),
        "real": float((right == label).double().mean()),
        "frechet": frechet(seen, made),
        "floor": frechet(seen, floor),
    } | {f"called {i}": float(share) for i, share in enumerate(shares)}


SEEN = ("conv16", "classifier")
TABLES = (
    Table("samples", sample_quality, _samples, _needs),
    Table("sizes", size_bias, from_seeds(3, made=("conv16", REAL), size=SIZES), SEEN),
    Table("frozen", frozen_quality, from_seeds(3, sigma=SIGMAS), SEEN),
    Table("classes", class_samples, from_seeds(3, label=range(10)), ("conditional2", "classifier")),
)
