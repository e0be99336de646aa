"""What a VAE learns, by its size, its β and the way there, its images, its budget and its seed."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise

import torch

from press.checkpoints import Experiment
from press.experiments.common import from_seeds
from press.experiments.trained import judged, swept
from press.runs import ONE_CYCLE, RUNS, Run
from vae_helpers import latent
from vae_helpers.losses import entropy_floor
from vae_helpers.metrics.differences import auroc
from vae_helpers.metrics.images import diversity, sharpness
from vae_helpers.metrics.posterior import bound_of_weights, log_weights
from vae_helpers.training import evaluate

SIZES = from_seeds(5, ends=True, latent=(2, 4, 8, 16, 32, 64))
BETAS = from_seeds(5, ends=True, beta=(0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0))
TRAINING_SIZES = (500, 1_000, 2_000, 5_000, 10_000, 20_000, 60_000)
EPOCHS_OF_ALL = 10  # of the largest; the smaller ones are seen as often as takes as many steps
ANNEALED = (1.0, 10.0)
METHODS = {  # how β gets there
    "constant": {},
    "linear warm-up": {"annealing": "linear"},
    "cyclical": {"annealing": "cyclical"},
    "free bits": {"free_bits": 0.5},
}
CHANGES = {
    "none": {},
    "Fashion-MNIST": {"dataset": "fashion-mnist"},
    "one-cycle": ONE_CYCLE,
    "convolutions": {"body": "conv"},
    "10 dimensions": {"latent": 10},
    "convolutions, 10 dimensions": {"body": "conv", "latent": 10},
    "β = 0.5": {"beta": 0.5},
}
BUDGETS = [{"run": "conditional2", "epochs": 3}]  # stopped as early as a report stopped
CONVERGED = 15  # epochs after which that report calls its training converged
NEIGHBOURS = 10_000  # training codes that a test image's neighbours are looked for in
REPEATED = ("dense2", "dense2-beta-0.5", "dense10", "conditional2", "conv2-beta-0.5", "conv16")
REPEATED += ("conv16-one-cycle", "residual32", "deep-conv-mse", "mnist-dense2")
PICTURED = ("beta-0.1", "beta-0.5", "beta-1")  # and so are these, for how their pictures look
MORE_SEEDS = (0, 1, 2, 3)
OTHER = {"fashion-mnist": "mnist", "mnist": "fashion-mnist"}  # strange images
BOUNDED, BOUND = 100, 1_000  # test images, and importance samples of each


def _dense(name: str, latent: int = 10, epochs: int = 10, **options) -> Run:
    return Run(name, body="dense", latent=latent, epochs=epochs, **ONE_CYCLE, **options)


def _of_images(images: int, seed: int) -> Run:
    """As many steps on fewer images: more epochs."""
    steps = [math.ceil(many / Run.batch_size) for many in (TRAINING_SIZES[-1], images)]
    epochs = round(EPOCHS_OF_ALL * steps[0] / steps[1])
    return _dense("training-sizes", epochs=epochs, labelled=images, seed=seed)


def _annealed(beta: float, method: str, seed: int) -> Run:
    return _dense("annealing", 32, beta=beta, seed=seed, **METHODS[method])


def changed(change: str, seed: int) -> Run:
    """The report's run of digits with that change."""
    return replace(RUNS["mnist-dense2"], name="digits", seed=seed, **CHANGES[change])


def digits(book, one: Experiment) -> dict[str, float]:
    """As ``judged``; training epochs that ended higher than the one before; the nats gained after
    those at which the report stopped looking; test images whose class ten nearest codes vote for.
    """
    from sklearn.neighbors import KNeighborsClassifier

    curve = one.history.curve("train")
    known, test = one.images.subset(slice(NEIGHBOURS)), one.test
    codes, mine = (latent.encode(one.model, images)[0] for images in (known, test))
    voters = KNeighborsClassifier(10).fit(codes, known.labels)
    return judged(book, one) | {
        "rises": sum(after > before for before, after in pairwise(curve)),
        "late": curve[min(CONVERGED, len(curve)) - 1] - curve[-1],
        "votes": float(voters.score(mine, test.labels)),
    }


def repeated(book, one: Experiment) -> dict[str, float]:
    """As ``judged``, and where a model takes no labels: ``bound``, by how many nats per image the
    bound of 1,000 importance samples exceeds that of one; and the AUROC with which it tells the
    other dataset's images from its own, ``blind`` by their −ELBO, ``sighted`` by what of it is
    above each image's floor.
    """
    row = judged(book, one)
    if one.run.conditional:
        return row
    sides = [one.test, book.images("test", OTHER[one.run.dataset])]
    surprise = [evaluate(one.model, images)["total"].double() for images in sides]
    floors = [entropy_floor(images[:][0]) for images in sides]
    draws = 10 if book.smoke else BOUND
    weights = log_weights(one.model, one.test[:BOUNDED][0], draws, torch.Generator().manual_seed(0))
    gained = bound_of_weights(weights, draws) - bound_of_weights(weights, 1)
    return row | {
        "bound": float(gained.double().mean()),
        "blind": auroc(*surprise)[0],
        "sighted": auroc(*(a - b for a, b in zip(surprise, floors, strict=True)))[0],
    }


def pictured(book, one: Experiment) -> dict[str, float]:
    """As ``judged``, and how its pictures look: ``sharpness`` of as many samples of the
    prior as there are test images, in per cent of theirs, and of what is ``reconstructed`` of them;
    ``diversity``, the mean L2 distance between two samples.
    """
    model, test = one.model, one.test
    samples = latent.decode(model, latent.frozen(len(test), model.latent, 1.0, seed=0))
    reconstructed = latent.decode(model, latent.encode(model, test)[0])
    share = 100 / sharpness(test[:][0]).mean()
    return judged(book, one) | {
        "sharpness": float(share * sharpness(samples).mean()),
        "reconstructed": float(share * sharpness(reconstructed).mean()),
        "diversity": diversity(samples)[0],
    }


def _again(run: str, seed: int) -> Run | None:
    """That run of the book with another seed; None for its own, whose model is there."""
    return None if seed == RUNS[run].seed else replace(RUNS[run], seed=seed)


def _seeded(*names: str) -> Callable[..., list[dict]]:
    def asked(book) -> list[dict]:
        some, more = (names[:3], MORE_SEEDS[:1]) if book.smoke else (names, MORE_SEEDS)
        return [{"run": name, "seed": seed} for name in some for seed in (RUNS[name].seed, *more)]

    return asked


TABLES = (
    swept("latent-sizes", SIZES, partial(_dense, "latent-sizes")),
    swept("betas", BETAS, partial(_dense, "betas")),
    swept("training-sizes", from_seeds(5, ends=True, images=TRAINING_SIZES), _of_images),
    swept("annealing", from_seeds(3, ends=True, beta=ANNEALED, method=METHODS), _annealed),
    swept("digits", from_seeds(3, change=CHANGES), changed, digits),
    swept("budgets", lambda book: BUDGETS, lambda run, epochs: replace(RUNS[run], epochs=epochs)),
    swept("seeds", _seeded(*REPEATED), _again, repeated),
    swept("beta-seeds", _seeded(*PICTURED), _again, pictured),
)
