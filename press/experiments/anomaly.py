"""Scores that may tell images unlike the training images: the higher, the stranger."""

import torch
from torch import Tensor

from press.experiments import compression
from vae_helpers import losses
from vae_helpers.data import ImageDataset
from vae_helpers.models import VAE
from vae_helpers.training import evaluate


def scores(model: VAE, images: ImageDataset, typical: float) -> dict[str, Tensor]:
    """Six scores of each image, ``(N,)`` each, all in nats.

    ``−ELBO``, its ``reconstruction`` and its ``KL``. ``typicality``: how far the −ELBO is from
    ``typical``, its mean over training images (Nalisnick et al. 2019b). ``complexity``: the −ELBO
    less the length of the image as a PNG (Serrà et al. 2020). ``floor``: the −ELBO less the
    least that any Bernoulli model could reach, that is, the log ratio of the likelihood that the
    image has if it is its own mean to the model's.
    """
    terms = evaluate(model, images)
    total, pixels = terms["total"].double(), images[:][0]
    return {
        "−ELBO": total,
        "reconstruction": terms["reconstruction"].double(),
        "KL": terms["kl"].double(),
        "typicality": (total - typical).abs(),
        "complexity": total - compression.png_bits(images.images) * torch.log(torch.tensor(2.0)),
        "floor": total - losses.entropy_floor(pixels),
    }
