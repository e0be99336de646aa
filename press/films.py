"""The book's films, in ``assets/gifs``: stored, and drawn again by ``make chapters`` when stale.

Beside each ``….gif`` lies ``….png``, its last frame, for readers who prefer no motion.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from press.checkpoints import Experiment
from press.files import kept
from press.images import data_digest
from press.report import drawable
from press.training import film_images
from vae_helpers.files import digest_json, under
from vae_helpers.films import TrainingFilm, read_comment, training_film, walk_film, write_gif


def film(book, *names: str) -> Path:
    """The GIF of that run's training, or of several in step. Raises ResultError if it is stale."""
    alone = f"vae_beta_{book.experiment(names[0]).run.beta:.1f}_evolution"
    stem = alone if len(names) == 1 else "vae_beta_side_by_side"
    return _stored(book, stem, training_film, names)


def walk(book, name: str) -> Path:
    """The GIF of walks through that run's latent space. Raises as ``film``."""
    return _stored(book, f"traversal_{name}", walk_film, [name])


def frames(book, draw: Callable, names: Sequence[str]) -> list[np.ndarray]:
    """Every frame ``(H, W, 3)`` of a film, drawn by ``training_film`` or ``walk_film``.

    Raises ValueError for a training that was not filmed.
    """
    made = [book.experiment(name) for name in names]
    marks = {"signature": drawable(book.settings.author), "mark": "smoke run" if book.smoke else ""}
    if draw is training_film:
        return draw([watched(one) for one in made], **marks)
    (one,) = made
    return draw(one.model, one.test, f"β = {one.run.beta:g}", **marks)


def watched(one: Experiment) -> TrainingFilm:
    """What is drawn of a filmed training. Raises ValueError for a run that was not filmed."""
    frames = under("film.", one.snapshots)
    if not frames:
        raise ValueError(f"the run {one.run.name!r} was not filmed; give it filmed=True and train")
    steps = sorted({name.split(".")[0] for name in frames})

    def stacked(part: str) -> Tensor:
        return torch.stack([frames[f"{step}.{part}"] for step in steps])

    epochs = torch.tensor([int(step) for step in steps]) / int(steps[-1]) * one.run.epochs
    followed = film_images(one.test, one.run.classes)
    labels = [one.run.classes.index(followed.classes[label]) for label in followed.labels]
    return TrainingFilm(
        epochs=epochs,
        positions=stacked("positions").float(),
        labels=torch.tensor(labels),
        classes=one.run.classes,
        losses=stacked("losses").float(),
        originals=followed.images,
        reconstructions=stacked("reconstructions"),
        beta=one.run.beta,
    )


def _stored(book, stem: str, draw: Callable, names: Sequence[str]) -> Path:
    """The stored film, whose comment says as JSON what it was drawn from, for the site, too."""
    settings, made = book.settings, [book.experiment(name) for name in names]
    of = [settings.author, settings.smoke, *(one.digest for one in made)]
    digest = digest_json([*of, data_digest("test", made[0].run.dataset, settings)])
    drawn = {"digest": digest, "function": f"films.{draw.__name__}", "of": {"runs": list(names)}}
    comment = json.dumps(drawn)
    return kept(
        settings.assets / "gifs" / f"{stem}.gif",
        comment,
        found=read_comment,
        make=lambda path: write_gif(path, frames(book, draw, names), comment),
        remedy="make chapters",
        settings=settings,
    )
