"""Trainings of which only numbers are kept: a row of a table each, no weights."""

from collections.abc import Callable
from functools import partial

from press import fid
from press.checkpoints import Experiment
from press.experiments.model_scores import knows_all_garments, scores
from press.experiments.samples import sampled
from press.runs import RUNS, Run, build, recipe, settled, shortened, training_images
from press.stored import Table
from vae_helpers.data import ImageDataset
from vae_helpers.files import digest_json, locked
from vae_helpers.training import fit


def train_row(book, run: Run, images: ImageDataset | None = None) -> Experiment:
    """That run, trained here on its own images or on these, and then forgotten; one that was cut
    off is resumed.
    """
    run = shortened(run, book.settings)
    images = training_images(run, book.settings)[0] if images is None else images
    of = digest_json([settled(run), images.digest])
    state = book.settings.work / "sweeps" / f"{of}.safetensors"
    model = build(run).to(book.settings.torch_device)
    how = recipe(run, book.settings)
    with locked(state.with_suffix(".lock")):  # a worker that Dask gave up may still be at it
        history, _ = fit(model, images, **how, state=state, progress=False)
        state.unlink()
    return Experiment(run, book.settings, model.cpu().eval(), history, {}, of, {})


def judged(book, one: Experiment) -> dict[str, float]:
    """``scores``, the last training loss ``train``, and the Fréchet distance of samples."""
    row = scores(one) | {"train": one.history.curve("train")[-1]}
    if knows_all_garments(one.run):
        row["frechet"] = fid.distance(book, sampled(one, "prior", fid.count(book), one.run.seed))
    return row


def learned(measure: Callable, book, make: Callable[..., Run | None], **configuration) -> dict:
    """What ``measure`` finds of the run of a configuration, or of the book's own that it names."""
    run = make(**configuration)
    one = train_row(book, run) if run else book.experiment(configuration["run"])
    return measure(book, one)


def swept(
    name: str,
    configurations: Callable[..., list[dict]],
    make: Callable[..., Run | None],
    measure: Callable[..., dict[str, float]] = judged,
) -> Table:
    """A table of rows that each train a run, see ``learned``."""

    def needs(**configuration) -> tuple[str, ...]:
        run = make(**configuration)
        own = () if run else (configuration["run"],)
        seen = knows_all_garments(run or RUNS[configuration["run"]])
        return (*own, "classifier") if seen else own

    return Table(name, partial(learned, measure, make=make), configurations, needs, make)
