"""Trainings of which only numbers are kept: a row of a table each, no weights."""

from collections.abc import Callable
from functools import partial

from press import fid
from press.checkpoints import Experiment
from press.experiments.common import SWEEP
from press.experiments.model_scores import scores
from press.experiments.samples import sampled
from press.runs import Run, build, recipe, settled, shortened, training_images
from press.stored import Table
from vae_helpers.data import ImageDataset
from vae_helpers.files import digest_json, locked
from vae_helpers.training import fit


def train(book, run: Run, images: ImageDataset | None = None) -> Experiment:
    """That run, trained here on the book's device and then forgotten; one cut off is resumed.

    images: what to train on instead of the run's own training images.
    """
    run = shortened(run, book.settings)
    images = training_images(run, book.settings)[0] if images is None else images
    of = digest_json([settled(run), images.digest])
    state = book.settings.work / "sweeps" / f"{of}.safetensors"
    model = build(run).to(book.device)
    how = recipe(run, book.settings)
    with locked(state.with_suffix(".lock")):  # a worker that Dask gave up may still be at it
        history, _ = fit(model, images, **how, state=state, progress=book.progress)
        state.unlink()
    return Experiment(run, book.settings, state, model.cpu().eval(), history, {}, of, {})


def learned(make: Callable[..., Run], book, **configuration) -> dict[str, float]:
    """``judged`` of the run that ``make`` makes of a configuration, trained for this alone."""
    return judged(book, train(book, make(**configuration)))


def judged(book, one: Experiment) -> dict[str, float]:
    """``scores``, the last training loss ``train``, and the Fréchet distance of samples."""
    row = scores(one) | {"train": one.history.curve("train")[-1]}
    if knows_all_garments(one.run):
        row["frechet"] = fid.distance(book, sampled(one, "prior", fid.count(book), one.run.seed))
    return row


def knows_all_garments(run: Run) -> bool:
    """Whether the classifier may judge that run's samples."""
    return run.dataset == "fashion-mnist" and not run.classes


def swept(
    name: str,
    configurations: Callable[..., list[dict]],
    run: Callable[..., Run],
    row: Callable[..., dict[str, float]] | None = None,
    judged: bool = True,
) -> Table:
    """A table of rows that each train a run, which ``run`` makes of a configuration.

    row: what is measured, ``learned`` by default. judged: a row of garments has a Fréchet distance,
    and so depends on the classifier.
    """

    def needs(configuration: dict) -> tuple[str, ...]:
        return ("classifier",) * (judged and knows_all_garments(run(**configuration)))

    return Table(
        *(name, SWEEP, row or partial(learned, run), configurations),
        runs=needs,
        trains=lambda configuration, book: shortened(run(**configuration), book.settings),
    )
