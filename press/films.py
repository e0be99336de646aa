"""The book's films, in ``assets/gifs``: stored, and drawn again by ``make chapters`` when stale.

Beside each ``….gif`` lies ``….png``, its last frame, for readers who prefer no motion.
"""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from press import checkpoints
from press.checkpoints import Experiment
from press.code import code_digest
from press.files import fetched
from press.images import data_digest
from press.settings import Settings
from press.stored.artefacts import kept
from vae_helpers.files import digest_json
from vae_helpers.films import TrainingFilm, read_comment, training_film, walk_film, write_gif

CLASSES = 3  # colours that the palette of the book's films has


def film(made: Sequence[Experiment], settings: Settings) -> Path:
    """The GIF of that training, or of several in step.

    Raises ValueError for a run that was not filmed, ResultError where the stored film is stale.
    """
    betas = [f"beta_{one.run.beta:.1f}" for one in made]
    stem = f"vae_{betas[0]}_evolution" if len(made) == 1 else "vae_beta_side_by_side"
    films = list(map(watched, made))
    return _stored(stem, made, training_film, partial(training_film, films), settings)


def walk(one: Experiment, settings: Settings) -> Path:
    """The GIF of walks through that model's latent space. Raises as ``film``."""
    title = f"β = {one.run.beta:g}"
    draw = partial(walk_film, one.model, one.test, title)
    return _stored(f"traversal_{one.run.name}", [one], walk_film, draw, settings)


def watched(one: Experiment) -> TrainingFilm:
    """What is drawn of a filmed training. Raises ValueError for a run that was not filmed."""
    frames, followed = checkpoints.film(one), checkpoints.film_images(one.test, one.run.classes)
    labels = [one.run.classes.index(followed.classes[label]) for label in followed.labels]
    return TrainingFilm(
        epochs=frames.epochs,
        positions=frames.positions,
        labels=torch.tensor(labels),
        classes=one.run.classes,
        losses=frames.losses,
        originals=followed.images,
        reconstructions=frames.reconstructions,
        beta=one.run.beta,
    )


def _stored(
    stem: str,
    made: Sequence[Experiment],
    function: Callable,
    draw: Callable[..., list[np.ndarray]],
    settings: Settings,
) -> Path:
    """The stored film, whose comment says as JSON what it was drawn from, for the site, too."""
    path = fetched(settings.assets / "gifs" / f"{stem}.gif", settings.root)
    of = [settings.author, settings.smoke, code_digest(function), *(one.digest for one in made)]
    drawn = {
        "digest": digest_json([*of, data_digest("test", made[0].run.dataset, settings)]),
        "function": f"films.{function.__name__}",
        "of": {"runs": [one.run.name for one in made]},
    }
    of = json.dumps(drawn)

    def make(path: Path) -> None:
        mark = "smoke run" if settings.smoke else ""
        write_gif(path, draw(signature=settings.author, mark=mark), of, colors=CLASSES)

    if settings.record and not (path.exists() and read_comment(path) == of):
        make(path)
    return kept(path, of, found=read_comment, make=make, remedy="make chapters", settings=settings)
