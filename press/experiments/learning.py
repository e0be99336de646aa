"""What a dense VAE learns, by its size, its β and the way there, its images and its budget."""

import math
from dataclasses import replace

from press.experiments.common import crossed, ends, seeds
from press.experiments.trained import swept
from press.runs import ONE_CYCLE, RUNS, Run

LATENT_SIZES = (2, 4, 8, 16, 32, 64)
BETAS = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)
TRAINING_SIZES = (500, 1_000, 2_000, 5_000, 10_000, 20_000, 60_000)
EPOCHS_OF_ALL = 10  # of the largest; the smaller ones are seen as often as takes as many steps
ANNEALED = (1.0, 10.0)
METHODS = {  # how β gets there
    "constant": {},
    "linear warm-up": {"annealing": "linear"},
    "cyclical": {"annealing": "cyclical"},
    "free bits": {"free_bits": 0.5},
}


def _dense(name: str, latent: int = 10, epochs: int = 10, **options) -> Run:
    return Run(name, body="dense", latent=latent, epochs=epochs, **ONE_CYCLE, **options)


def _of_size(latent: int, seed: int) -> Run:
    return _dense("latent-sizes", latent, seed=seed)


def _of_beta(beta: float, seed: int) -> Run:
    return _dense("betas", beta=beta, seed=seed)


def _of_images(images: int, seed: int) -> Run:
    """As many steps on fewer images: more epochs."""
    steps = [math.ceil(many / Run.batch_size) for many in (TRAINING_SIZES[-1], images)]
    epochs = round(EPOCHS_OF_ALL * steps[0] / steps[1])
    return _dense("training-sizes", epochs=epochs, labelled=images, seed=seed)


def _annealed(beta: float, method: str, seed: int) -> Run:
    return _dense("annealing", 32, beta=beta, seed=seed, **METHODS[method])


def _stopped(run: str, epochs: int) -> Run:
    """A run of the book, stopped as early as a report stopped."""
    return replace(RUNS[run], epochs=epochs)


TABLES = (
    swept(
        "latent-sizes",
        lambda book: crossed(latent=ends(book, LATENT_SIZES), seed=seeds(book, 5)),
        _of_size,
    ),
    swept(
        "betas",
        lambda book: crossed(beta=ends(book, BETAS), seed=seeds(book, 5)),
        _of_beta,
    ),
    swept(
        "training-sizes",
        lambda book: crossed(images=ends(book, TRAINING_SIZES), seed=seeds(book, 5)),
        _of_images,
    ),
    swept(
        "annealing",
        lambda book: crossed(beta=ANNEALED, method=ends(book, METHODS), seed=seeds(book)),
        _annealed,
    ),
    swept("budgets", lambda book: [{"run": "conditional2", "epochs": 3}], _stopped),
)
