"""Training the book's runs: from a name to a checkpoint, with the pictures kept along the way."""

import contextlib
import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from press import runs
from press.checkpoints import Experiment, checkpoint_path, load
from press.files import hardware, versions
from press.images import data_digest
from press.runs import Run
from press.settings import Settings
from vae_helpers.classifier import calibrate
from vae_helpers.data import ImageDataset
from vae_helpers.errors import CheckpointError
from vae_helpers.files import locked, save_tensors
from vae_helpers.models import VAE, device_of, evaluating
from vae_helpers.training import best_precision, evaluate, fit

SNAPSHOT_EPOCHS = (1, 2, 5, 10, 25)
SNAPSHOT_IMAGES = 8
FILM_FRAMES = 100  # at most: of the first steps, several fall together
FILM_PER_CLASS = 200


def experiment(name: str, settings: Settings) -> Experiment:
    """The run of that name with its model, loaded from the checkpoint, or trained first.

    Raises KeyError for a name that is not in ``RUNS``, and what ``checkpoints.load`` raises.
    """
    run = runs.find_run(name, settings)
    path = checkpoint_path(name, settings)
    if settings.smoke or not path.exists():
        train(run, settings)
    return load(path, run, settings)


def train(run: Run, settings: Settings, progress: bool = True) -> Path:
    """Train that run, or go on where an interrupted call stopped; return its checkpoint.

    progress: show a bar. Does nothing where the checkpoint exists already. One process at a time
    trains a run; another one waits for it.
    """
    path = checkpoint_path(run.name, settings)
    retrained = "retrained-" if settings.retrain else ""
    state = settings.work / "training" / f"{retrained}{run.name}.safetensors"
    with locked(state.with_suffix(".lock")):
        if path.exists() and not settings.smoke:
            return path
        with contextlib.suppress(CheckpointError):  # none, or a smoke run's of older code
            load(path, run, settings)
            return path
        device = settings.torch_device
        precision = best_precision(device)
        images, validation = runs.training_images(run, settings)
        test = runs.images_of(run, "test", settings)
        watch = ({"validation": validation} if validation else {}) | {"test": test}
        model = runs.build(run).to(device)
        history, snapshots = fit(
            model,
            images,
            **runs.recipe(run, settings),
            watch=watch,
            snapshot=_snapshots(run, test, runs.steps_an_epoch(run, images)),
            state=state,
            precision=precision,
            progress=False if settings.smoke else progress,
        )
        if run.kind == "classifier":
            calibrate(model, watch["validation"])
        # Half the bytes, for less than a hundredth of a nat; counters stay as they are.
        tensors = {
            f"model.{key}": value.half() if value.is_floating_point() else value
            for key, value in model.state_dict().items()
        }
        tensors |= {f"snapshot.{key}": value for key, value in snapshots.items()}
        made = {"seconds": round(history.seconds, 1), "hardware": hardware(str(device))}
        made["precision"] = str(precision or torch.float32).removeprefix("torch.")
        made["versions"] = versions()
        of = {"run": runs.settled(run), "data": data_digest("train", run.dataset, settings)}
        save_tensors(path, tensors, of | {"history": history.rows, "made": made})
        state.unlink()
    return path


def film_images(test: ImageDataset, classes: tuple[str, ...]) -> ImageDataset:
    """The test images a film follows: the first of each class, in turn."""
    which = [(test.labels == test.classes.index(name)).nonzero()[:, 0] for name in classes]
    count = min(FILM_PER_CLASS, *map(len, which))
    return test.subset(torch.stack([index[:count] for index in which], dim=1).flatten())


def _snapshots(run: Run, test: ImageDataset, steps: int) -> Callable | None:
    """What ``fit`` is to keep after which steps: pictures of some epochs, or frames of a film."""
    if run.kind not in ("vae", "autoencoder"):
        return None
    some = film_images(test, run.classes) if run.filmed else test.subset(slice(SNAPSHOT_IMAGES))
    names = {epoch * steps: f"{epoch:03d}" for epoch in SNAPSHOT_EPOCHS}
    if run.filmed:  # denser early, when most happens
        when = torch.logspace(0, math.log10(run.epochs * steps), FILM_FRAMES).round().int()
        names = {step: f"film.{step:05d}" for step in when.tolist()}

    @torch.inference_mode()
    def keep(model: VAE, step: int) -> dict[str, Tensor]:
        if step not in names:
            return {}
        (images, labels), few = some.to(device_of(model))[:], slice(SNAPSHOT_IMAGES)
        with evaluating(model):
            mu, _ = model.encode(images, labels)
            made = {"reconstructions": _bytes(model.generate(mu[few], labels[few]))}
            if run.filmed:
                losses = evaluate(model, some, beta=run.beta)
                made["losses"] = torch.stack([value.mean() for value in losses.values()])
                made["positions"] = mu.half().cpu()
            else:
                drawn = torch.randn(mu.shape, generator=torch.Generator().manual_seed(0))
                made["samples"] = _bytes(model.generate(drawn.to(mu.device), labels))
        return {f"{names[step]}.{name}": value for name, value in made.items()}

    return keep


def _bytes(pictures: Tensor) -> Tensor:
    return (255 * pictures).round().byte().cpu()
