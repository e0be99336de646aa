"""Runs of the book, trained from other seeds: what of their numbers is the seed's."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from press.checkpoints import Experiment
from press.experiments.common import SWEEP
from press.experiments.trained import judged, knows_all_garments, train
from press.runs import RUNS, Run, shortened
from press.stored import Table
from vae_helpers import latent
from vae_helpers.losses import entropy_floor
from vae_helpers.metrics.detection import auroc
from vae_helpers.metrics.images import diversity, sharpness
from vae_helpers.metrics.likelihood import bound_of_weights, log_weights
from vae_helpers.training import evaluate

REPEATED = (
    *("dense2", "dense2-beta-0.5", "dense10", "conditional2", "conv2-beta-0.5", "conv16"),
    *("conv16-one-cycle", "residual32", "deep-conv-mse", "mnist-dense2"),
)
PICTURED = ("beta-0.1", "beta-0.5", "beta-1")  # and so are these, for how their pictures look
MORE_SEEDS = (0, 1, 2, 3)
OTHER = {"fashion-mnist": "mnist", "mnist": "fashion-mnist"}  # strange images
BOUNDED, BOUND = 100, 1_000  # test images, and importance samples of each


def repeated(book, run: str, seed: int) -> dict[str, float]:
    """That run of the book from that seed, see ``judged``; its own seed's model is stored.

    Besides, where a model takes no labels: ``bound``, by how many nats per image the bound of
    1,000 importance samples exceeds that of one; and the AUROC with which it tells the other
    dataset's images from its own, ``blind`` by their −ELBO, ``sighted`` by what of it is above
    each image's floor.
    """
    one = _from_seed(book, run, seed)
    row = judged(book, one)
    if one.run.conditional:
        return row
    dataset = one.run.dataset
    sides = [book.images("test", name) for name in (dataset, OTHER[dataset])]
    surprise = [evaluate(one.model, images)["total"].double() for images in sides]
    above = [
        nats - entropy_floor(images[:][0]) for nats, images in zip(surprise, sides, strict=True)
    ]
    draws = 10 if book.smoke else BOUND
    weights = log_weights(one.model, sides[0][:BOUNDED][0], draws, torch.Generator().manual_seed(0))
    gained = bound_of_weights(weights, draws) - bound_of_weights(weights, 1)
    return row | {
        "bound": float(gained.double().mean()),
        "blind": auroc(*surprise)[0],
        "sighted": auroc(*above)[0],
    }


def pictured(book, run: str, seed: int) -> dict[str, float]:
    """As ``repeated``, and how its pictures look instead: ``sharpness`` of as many samples of the
    prior as there are test images, in per cent of theirs, and of what is ``reconstructed`` of them;
    ``diversity``, the mean L2 distance between two samples.
    """
    one = _from_seed(book, run, seed)
    model, test = one.model, one.test
    samples = latent.decode(model, latent.frozen(len(test), model.latent, 1.0, seed=0))
    reconstructed = latent.decode(model, latent.encode(model, test)[0])
    share = 100 / sharpness(test[:][0]).mean()
    return judged(book, one) | {
        "sharpness": float(share * sharpness(samples).mean()),
        "reconstructed": float(share * sharpness(reconstructed).mean()),
        "diversity": diversity(samples)[0],
    }


def _from_seed(book, run: str, seed: int) -> Experiment:
    other = _again(run, seed)
    return book.experiment(run) if other is None else train(book, other)


def _again(run: str, seed: int) -> Run | None:
    """That run of the book with another seed; None for its own, whose model is there."""
    return None if seed == RUNS[run].seed else replace(RUNS[run], seed=seed)


def _seeded(book, names: Sequence[str]) -> list[dict]:
    more = MORE_SEEDS[:1] if book.smoke else MORE_SEEDS
    return [{"run": name, "seed": seed} for name in names for seed in (RUNS[name].seed, *more)]


def _needs(configuration: dict) -> tuple[str, ...]:
    run = RUNS[configuration["run"]]
    own = (run.name,) * (configuration["seed"] == run.seed)
    return own + ("classifier",) * knows_all_garments(run)


def _trains(configuration: dict, book) -> Run | None:
    other = _again(**configuration)
    return other and shortened(other, book.settings)


TABLES = (
    Table(
        *("seeds", SWEEP, repeated),
        lambda book: _seeded(book, REPEATED[:2] if book.smoke else REPEATED),
        *(_needs, _trains),
    ),
    Table(
        *("beta-seeds", SWEEP, pictured, lambda book: _seeded(book, PICTURED)),
        *(_needs, _trains),
    ),
)
