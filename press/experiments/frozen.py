"""Samples of the standard run from latents drawn more narrowly or widely than the prior."""

import torch

from press import fid
from press.experiments.common import MEASURE, crossed, seeds
from press.stored import Table
from vae_helpers import latent
from vae_helpers.classifier import in_batches
from vae_helpers.metrics.frechet import frechet
from vae_helpers.metrics.images import diversity, sharpness

SIGMAS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
DIVERSITY_COUNT = 1_000


def frozen_quality(book, sigma: float, seed: int) -> dict[str, float]:
    """Samples from z ~ N(0, σ²I): as many as there are test images, diversity of 1,000."""
    model, classifier = book.experiment("conv16").model, book.classifier
    made = latent.decode(model, latent.frozen(fid.count(book), model.latent, sigma, seed))
    features = fid.features(book, made)
    probabilities = in_batches(classifier, torch.from_numpy(features), "probabilities_of")
    return {
        "diversity": diversity(made[:DIVERSITY_COUNT])[0],
        "sharpness": float(sharpness(made).mean()),
        "confidence": float(probabilities.max(1).values.double().mean()),
        "frechet": frechet(fid.reference(book), features),
    }


TABLES = (
    Table(
        *("frozen", MEASURE, frozen_quality),
        lambda book: crossed(sigma=SIGMAS, seed=seeds(book)),
        runs=lambda configuration: ("conv16", "classifier"),
    ),
)
