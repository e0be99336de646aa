"""Importance-weighted bounds on the likelihood of test images under the standard run."""

import torch

from press.experiments.common import MEASURE
from press.stored import Table
from vae_helpers.metrics.likelihood import bound_of_weights, log_weights

BOUNDS = (1, 10, 100, 1_000)
LIKELIHOOD_IMAGES = 20  # images that a row holds
LIKELIHOOD_ROWS = 50


def likelihood(book, part: int) -> dict[str, float]:
    """Bounds of 1 to 1,000 importance samples on 20 test images, in nats per image."""
    model, start = book.experiment("conv16").model, part * LIKELIHOOD_IMAGES
    images = book.images("test")[start : start + LIKELIHOOD_IMAGES][0]
    draws = 10 if book.smoke else BOUNDS[-1]
    weights = log_weights(model, images, draws, torch.Generator().manual_seed(part))
    return {f"K{k}": float(bound_of_weights(weights, min(k, draws)).mean()) for k in BOUNDS}


TABLES = (
    Table(
        *("likelihood", MEASURE, likelihood),
        lambda book: [{"part": part} for part in range(2 if book.smoke else LIKELIHOOD_ROWS)],
        runs=lambda configuration: ("conv16",),
    ),
)
