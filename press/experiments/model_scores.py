"""The book's VAEs on their test images: scores, bounds on likelihood, and what training takes."""

import time

import numpy as np
import torch

from press.checkpoints import Experiment
from press.runs import RUNS, Run, build, find_run, loss_of, recipe, steps_an_epoch, training_images
from press.stored import Table
from vae_helpers import latent
from vae_helpers.metrics import posterior
from vae_helpers.training import evaluate, fit

TIMED_STEPS = 50
BOUNDS = (1, 10, 100, 1_000)
LIKELIHOOD_IMAGES = 20  # images that a row holds
LIKELIHOOD_ROWS = 50


def knows_all_garments(run: Run) -> bool:
    """Whether it is a VAE of every class of Fashion-MNIST: the classifier may judge its samples."""
    return run.kind == "vae" and run.dataset == "fashion-mnist" and not run.classes


MODELS = tuple(name for name, run in RUNS.items() if knows_all_garments(run))


def model_scores(book, run: str) -> dict[str, float]:
    """``scores`` of a VAE of the book."""
    return scores(book.experiment(run))


def scores(one: Experiment) -> dict[str, float]:
    """A VAE on its test images: −ELBO, reconstruction and KL in nats, and what it minimized.

    These with the Bernoulli likelihood and β = 1, whatever the model was trained on; ``objective``
    with its own; ``error`` is the standard error of the −ELBO over images. Besides, how many units
    are active, and what its codes tell of the image, see ``metrics.posterior``.
    """
    nats = evaluate(one.model, one.test)
    own = evaluate(one.model, one.test, loss=loss_of(one.run, one.settings), beta=one.run.beta)
    mu, log_var = latent.encode(one.model, one.test)
    return {
        "elbo": float(nats["total"].double().mean()),
        "error": float(nats["total"].double().std() / len(one.test) ** 0.5),
        "reconstruction": float(nats["reconstruction"].double().mean()),
        "kl": float(nats["kl"].double().mean()),
        "objective": float(own["total"].double().mean()),
        "active": posterior.active_units(mu),
        "information": posterior.mutual_information(mu, log_var, torch.Generator().manual_seed(0)),
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


def likelihood(book, part: int) -> dict[str, float]:
    """Bounds of 1 to 1,000 importance samples on 20 test images, in nats per image."""
    model, start = book.experiment("conv16").model, part * LIKELIHOOD_IMAGES
    images = book.images("test")[start : start + LIKELIHOOD_IMAGES][0]
    draws = 10 if book.smoke else BOUNDS[-1]
    weights = posterior.log_weights(model, images, draws, torch.Generator().manual_seed(part))
    bounds = {k: posterior.bound_of_weights(weights, min(k, draws)).mean() for k in BOUNDS}
    return {f"K{k}": float(bound) for k, bound in bounds.items()}


def _every_part(book) -> list[dict]:
    return [{"part": part} for part in range(2 if book.smoke else LIKELIHOOD_ROWS)]


EACH = [{"run": name} for name in MODELS]
TABLES = (
    Table("models", model_scores, lambda book: EACH, lambda run: (run,)),
    Table("speed", training_time, lambda book: EACH, lambda run: (run,)),
    Table("likelihood", likelihood, _every_part, ("conv16",)),
)
