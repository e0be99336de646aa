"""A report's model of MNIST, and what changes of it change."""

from dataclasses import replace
from itertools import pairwise

from press.experiments.common import crossed, seeds
from press.experiments.trained import judged, swept, train
from press.runs import ONE_CYCLE, RUNS, Run
from vae_helpers import latent
from vae_helpers.metrics.posterior import neighbour_accuracy

CHANGES = {
    "none": {},
    "Fashion-MNIST": {"dataset": "fashion-mnist"},
    "one-cycle": ONE_CYCLE,
    "convolutions": {"body": "conv"},
    "10 dimensions": {"latent": 10},
    "convolutions, 10 dimensions": {"body": "conv", "latent": 10},
    "β = 0.5": {"beta": 0.5},
}
CONVERGED = 15  # epochs after which that report calls its training converged
NEIGHBOURS = 10_000  # training codes that a test image's neighbours are looked for in


def changed(change: str, seed: int) -> Run:
    """The report's run with that change."""
    return replace(RUNS["mnist-dense2"], name="digits", seed=seed, **CHANGES[change])


def digits(book, change: str, seed: int) -> dict[str, float]:
    """``learned``, and how it went: training epochs that ended higher than the one before, and
    the nats gained after those at which the report stopped looking; and the share of test images
    whose class most of the ten nearest of 10,000 training codes have.
    """
    one = train(book, changed(change, seed))
    curve = one.history.curve("train")
    known, test = one.images.subset(slice(NEIGHBOURS)), one.test
    codes, mine = (latent.encode(one.model, images)[0] for images in (known, test))
    votes = neighbour_accuracy(codes, known.labels, mine, test.labels)
    return judged(book, one) | {
        "rises": sum(after > before for before, after in pairwise(curve)),
        "late": curve[min(CONVERGED, len(curve)) - 1] - curve[-1],
        "votes": float(votes.mean()),
    }


TABLES = (
    swept(
        "digits",
        lambda book: crossed(change=CHANGES, seed=seeds(book)),
        changed,
        digits,
    ),
)
