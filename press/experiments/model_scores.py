"""The book's VAEs on their test images, and what training them takes."""

import time

import numpy as np
import torch

from press.checkpoints import Experiment
from press.experiments.common import MEASURE
from press.runs import RUNS, build, find_run, recipe, steps_an_epoch, training_images
from press.stored import Table
from vae_helpers import latent
from vae_helpers.metrics.posterior import active_units, mutual_information
from vae_helpers.training import evaluate, fit

MODELS = tuple(  # all that know every class of Fashion-MNIST
    name
    for name, run in RUNS.items()
    if run.kind == "vae" and run.dataset == "fashion-mnist" and not run.classes
)
TIMED_STEPS = 50


def model_scores(book, run: str) -> dict[str, float]:
    """``scores`` of a VAE of the book: the same for every objective.

    A model that was trained on another likelihood is judged by Bernoulli's.
    """
    return scores(book.experiment(run))


def scores(one: Experiment) -> dict[str, float]:
    """A VAE on its test images: −ELBO, reconstruction and KL in nats, and what it minimized.

    These with the Bernoulli likelihood and β = 1, whatever the model was trained on; ``objective``
    with its own; ``error`` is the standard error of the −ELBO over images. Besides, how many units
    are active, and what its codes tell of the image, see ``metrics.posterior``.
    """
    nats = evaluate(one.model, one.test)
    own = evaluate(one.model, one.test, loss=one.loss, beta=one.run.beta)
    mu, log_var = latent.encode(one.model, one.test)
    return {
        "elbo": float(nats["total"].double().mean()),
        "error": float(nats["total"].double().std() / len(one.test) ** 0.5),
        "reconstruction": float(nats["reconstruction"].double().mean()),
        "kl": float(nats["kl"].double().mean()),
        "objective": float(own["total"].double().mean()),
        "active": active_units(mu),
        "information": mutual_information(mu, log_var, torch.Generator().manual_seed(0)),
    }


def training_time(book, run: str) -> dict[str, float]:
    """Seconds that training that run takes here, from the median of fifty of its steps."""
    one = find_run(run, book.settings)
    images, _ = training_images(one, book.settings)
    clock = []

    def tick(model, step: int) -> dict:
        clock.append(time.perf_counter())
        return {}

    few = images.subset(slice(TIMED_STEPS * one.batch_size))
    how = recipe(one, book.settings) | {"epochs": 1}
    fit(build(one), few, **how, snapshot=tick, progress=False)
    steps = one.epochs * steps_an_epoch(one, images)
    return {"seconds": float(np.median(np.diff(clock))) * steps}


TABLES = tuple(
    Table(
        *(name, MEASURE, row, lambda book: [{"run": one} for one in MODELS]),
        runs=lambda configuration: (configuration["run"],),
    )
    for name, row in (("models", model_scores), ("speed", training_time))
)
