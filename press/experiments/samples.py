"""How samples compare with test images, and how the answer depends on the number of samples."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from press import fid
from press.checkpoints import Experiment
from press.experiments.common import MEASURE, crossed, seeds, some
from press.experiments.model_scores import MODELS
from press.runs import RUNS
from press.stored import Table
from vae_helpers import latent
from vae_helpers.metrics.frechet import frechet, kernel_distances, neighbour_scores

VAES = (  # of chapters 2 to 9; the last one to show what it costs to lack classes
    *("conv16", "conv16-one-cycle", "dense20-validated", "dense2", "conv16-validated"),
    "beta-1",
)
EX_POST = ("conv16-validated", "autoencoder16")
REAL = "training images"  # in the place of a run, to compare with
SIZES = (500, 1_000, 2_000, 5_000, 10_000)


def sample_quality(book, run: str, sampler: str, seed: int) -> dict[str, float]:
    """How 10,000 samples compare with the 10,000 test images, in the classifier's features.

    sampler: see ``make_sampler``; or ``real`` of the run ``training images``, as many of those.
    """
    made, real = _seen(book, run, sampler, seed), fid.reference(book)
    kid = kernel_distances(real, made, size=min(1_000, len(made)), seed=seed)
    neighbours = neighbour_scores(real, made) if seed == 0 else {}
    return {"frechet": frechet(real, made), "kid": float(kid.mean())} | neighbours


def size_bias(book, made: str, size: int, seed: int) -> dict[str, float]:
    """The Fréchet distance of only ``size`` images from all test images.

    made: ``conv16`` for its prior samples, or ``training images``.
    """
    features = _seen(book, made, "real" if made == REAL else "prior", 0)
    chosen = np.random.default_rng(seed).permutation(len(features))[:size]
    return {"frechet": frechet(fid.reference(book), features[chosen])}


@lru_cache(maxsize=2)  # rows that differ in size see the same
def _seen(book, run: str, sampler: str, seed: int) -> np.ndarray:
    if sampler == "real":
        return fid.features(book, some(book.images("train"), fid.count(book), seed)[:][0])
    return fid.features(book, sampled(book.experiment(run), sampler, fid.count(book), seed))


def sampled(one: Experiment, sampler: str, count: int, seed: int) -> Tensor:
    """``count`` images ``(N, C, H, W)`` from that model and sampler.

    Of a conditional model, as many of each class.
    """
    latents = make_sampler(one, sampler)(count, torch.Generator().manual_seed(seed))
    return latent.decode(one.model, latents, latent.labels_for(one.model, count))


@lru_cache(maxsize=8)
def make_sampler(one: Experiment, sampler: str) -> latent.Sampler:
    """The ``prior``, or a ``gaussian`` or ``mixture`` fitted to the codes of the images that the
    model was trained on.

    No test image has a part in it. Raises ValueError for a sampler that does not exist.
    """
    if sampler == "prior":
        return latent.prior(one.model.latent)
    if sampler not in ("gaussian", "mixture"):
        raise ValueError(f"no sampler {sampler!r}; choose prior, gaussian or mixture")
    codes = latent.aggregate(one.model, one.images)
    return latent.gaussian(codes) if sampler == "gaussian" else latent.mixture(codes)


def _samples(book) -> list[dict]:
    names = dict.fromkeys((*VAES, "autoencoder16", *MODELS))
    pairs = [(REAL, "real"), *((name, "prior") for name in names)]
    pairs += [(name, sampler) for name in EX_POST for sampler in ("gaussian", "mixture")]
    return [{"run": r, "sampler": s, "seed": seed} for r, s in pairs for seed in seeds(book)]


TABLES = (
    Table(
        *("samples", MEASURE, sample_quality, _samples),
        runs=lambda configuration: ("classifier", *({configuration["run"]} & RUNS.keys())),
    ),
    Table(
        *("sizes", MEASURE, size_bias),
        lambda book: crossed(made=("conv16", REAL), size=SIZES, seed=seeds(book)),
        runs=lambda configuration: ("conv16", "classifier"),
    ),
)
