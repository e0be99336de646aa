"""From a run's name to the trained model: loaded from its checkpoint, or trained first."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor, nn

from press.files import fetched, hardware, versions
from press.images import data_digest
from press.runs import (
    DEFAULTS,
    Run,
    build,
    find_run,
    loss_of,
    recipe,
    settled,
    steps_an_epoch,
    test_images,
    training_images,
)
from press.settings import Settings
from vae_helpers.classifier import FashionResNet18, calibrate
from vae_helpers.data import ImageDataset
from vae_helpers.errors import CheckpointError
from vae_helpers.files import digest_json, load_tensors, locked, save_tensors, under
from vae_helpers.models import VAE, evaluating, noise
from vae_helpers.training import History, best_device, best_precision, evaluate, fit

SNAPSHOT_EPOCHS = (1, 2, 5, 10, 25)
SNAPSHOT_IMAGES = 8
FILM_FRAMES = 100  # at most: of the first steps, several fall together
FILM_PER_CLASS = 200
TRAINED_BY = "python -m press train"


@dataclass(frozen=True, eq=False)
class Experiment:
    """A trained model with all that is known of how it came about, and the images it is about.

    model: on the CPU, in evaluation mode.
    snapshots: named tensors along the way, ``005.reconstructions`` for those after epoch 5.
    digest: changes with the run, its data or its weights; stored numbers carry it.
    made: seconds, hardware, precision, versions and command of its training.
    Images are read when they are first asked for.
    """

    run: Run
    settings: Settings
    path: Path
    model: VAE | FashionResNet18
    history: History
    snapshots: dict[str, Tensor]
    digest: str
    made: dict

    @cached_property
    def images(self) -> ImageDataset:
        """The images that the run learned from."""
        return self._parts[0]

    @cached_property
    def held_out(self) -> ImageDataset | None:
        """The training images that it did not learn from, if any."""
        return self._parts[1]

    @cached_property
    def _parts(self) -> tuple[ImageDataset, ImageDataset | None]:
        return training_images(self.run, self.settings)

    @cached_property
    def test(self) -> ImageDataset:
        """The test images of its dataset and classes."""
        return test_images(self.run, self.settings)

    @property
    def loss(self) -> Callable[..., dict[str, Tensor]]:
        """What it minimized, as ``fit`` takes it."""
        return loss_of(self.run, self.settings)


def experiment(name: str, settings: Settings) -> Experiment:
    """The run of that name with its model, loaded from the checkpoint, or trained first.

    Raises KeyError for a name that is not in ``RUNS``, CheckpointError for a checkpoint that is
    damaged or was made by another run or data, and FetchError for one that a sparse clone lacks
    and cannot get.
    """
    run = find_run(name, settings)
    path = fetched(checkpoint_path(name, settings), settings.root)
    if settings.smoke or not path.exists():
        train(run, settings)
    return load(path, run, settings)


def checkpoint_path(name: str, settings: Settings) -> Path:
    """Where the run's checkpoint lies, whether it exists or not."""
    return settings.assets / "checkpoints" / f"{name}.safetensors"


def load(path: Path, run: Run, settings: Settings) -> Experiment:
    """Read one checkpoint. Raises CheckpointError where it does not belong to run and data."""
    tensors, header = load_tensors(path)
    remedy = f"delete it, then `{TRAINED_BY} {run.name}` makes it again"
    # A checkpoint older than a field was made as that field's default says.
    stored, wanted = DEFAULTS | header.get("run", {}), DEFAULTS | settled(run)
    for key, value in wanted.items():
        if stored.get(key) != value:
            raise CheckpointError(
                f"{path}: trained with {key}={stored.get(key)!r}, but the run {run.name!r} has "
                f"{key}={value!r}; {remedy}"
            )
    if header["data"] != data_digest("train", run.dataset, settings):
        raise CheckpointError(f"{path}: trained on other images than the book's; {remedy}")
    model = build(run)
    try:
        model.load_state_dict(under("model.", tensors))
    except RuntimeError as error:
        raise CheckpointError(f"{path}: does not fit the run's model; {remedy}") from error
    return Experiment(
        run=run,
        settings=settings,
        path=path,
        model=model.eval().to(memory_format=torch.channels_last),  # as ``fit`` has it, and why
        history=History(header["history"], header["made"]["seconds"]),
        snapshots=under("snapshot.", tensors),
        digest=digest_json([settled(run), header["data"], header["weights"]]),
        made=header["made"] | {"command": f"{TRAINED_BY} {run.name}"},
    )


def train(run: Run, settings: Settings, progress: bool | Callable[[float], None] = True) -> Path:
    """Train that run, or go on where an interrupted call stopped; return its checkpoint.

    progress: see ``fit``. Does nothing where the checkpoint exists already. One process at a time
    trains a run; another one waits for it.
    """
    path = checkpoint_path(run.name, settings)
    retrained = "retrained-" if settings.retrain else ""
    state = settings.work / "training" / f"{retrained}{run.name}.safetensors"
    with locked(state.with_suffix(".lock")):
        if path.exists() and not (settings.smoke and _outdated(path, run, settings)):
            return path
        device = torch.device(settings.device) if settings.device else best_device()
        precision = best_precision(device)
        images, validation = training_images(run, settings)
        test = test_images(run, settings)
        watch = ({"validation": validation} if validation else {}) | {"test": test}
        model = build(run).to(device)
        history, snapshots = fit(
            model,
            images,
            **recipe(run, settings),
            watch=watch,
            snapshot=_snapshots(run, test, steps_an_epoch(run, images)),
            state=state,
            precision=precision,
            progress=False if settings.smoke else progress,
        )
        if run.kind == "classifier":
            calibrate(model, watch["validation"])
        save_tensors(
            path,
            {f"model.{key}": _halved(value) for key, value in model.state_dict().items()}
            | {f"snapshot.{key}": value for key, value in snapshots.items()},
            {
                "run": settled(run),
                "data": data_digest("train", run.dataset, settings),
                "history": history.rows,
                "made": {
                    "seconds": round(history.seconds, 1),
                    "hardware": hardware(str(device)),
                    "precision": str(precision or torch.float32).removeprefix("torch."),
                    "versions": versions(),
                },
            },
        )
        state.unlink()
    return path


def _halved(weights: Tensor) -> Tensor:
    # Half the bytes, for less than a hundredth of a nat: see test_half_precision_costs_nothing.
    return weights.half() if weights.is_floating_point() else weights


def _outdated(path: Path, run: Run, settings: Settings) -> bool:
    # A smoke run's model is worth nothing: where code or garments changed, it is trained again.
    try:
        load(path, run, settings)
    except CheckpointError:
        return True
    return False


# --- what is kept along the way -----------------------------------------------------------------


@dataclass(frozen=True)
class Film:
    """Frames of a training: where the latent space lay, and what it made of eight images.

    steps ``(F,)``: batches trained on by then, and epochs the same in epochs.
    positions ``(F, N, 2)``: μ of the images of ``film_images``. losses ``(F, 3)``: their mean
    total, reconstruction and KL in nats. reconstructions ``(F, 8, C, H, W)``, bytes.
    """

    steps: Tensor
    epochs: Tensor
    positions: Tensor
    losses: Tensor
    reconstructions: Tensor


def film(one: Experiment) -> Film:
    """The frames of a filmed run, in order. Raises ValueError for a run that was not filmed."""
    frames = under("film.", one.snapshots)
    if not frames:
        raise ValueError(f"the run {one.run.name!r} was not filmed; give it filmed=True and train")
    steps = sorted({name.split(".")[0] for name in frames})
    stacked = {
        part: torch.stack([frames[f"{step}.{part}"] for step in steps])
        for part in ("positions", "losses", "reconstructions")
    }
    counted = torch.tensor([int(step) for step in steps])
    return Film(
        steps=counted,
        epochs=counted / counted[-1] * one.run.epochs,
        positions=stacked["positions"].float(),
        losses=stacked["losses"].float(),
        reconstructions=stacked["reconstructions"],
    )


def film_images(test: ImageDataset, classes: tuple[str, ...]) -> ImageDataset:
    """The test images a film follows: the first of each class, in turn."""
    which = [(test.labels == test.classes.index(name)).nonzero()[:, 0] for name in classes]
    count = min(FILM_PER_CLASS, *map(len, which))
    return test.subset(torch.stack([index[:count] for index in which], dim=1).flatten())


def _snapshots(
    run: Run, test: ImageDataset, steps: int
) -> Callable[[nn.Module, int], dict[str, Tensor]] | None:
    if run.kind not in ("vae", "autoencoder"):
        return None
    if run.filmed:
        # Denser early, when most happens.
        when = torch.logspace(0, math.log10(run.epochs * steps), FILM_FRAMES).round().int()
        frames = frozenset(when.tolist())
        return partial(_frame, film_images(test, run.classes), frames, run.beta)
    return partial(_epoch_pictures, test.subset(slice(SNAPSHOT_IMAGES)), steps)


@torch.inference_mode()
def _frame(
    images: ImageDataset, frames: frozenset[int], beta: float, model: VAE, step: int
) -> dict[str, Tensor]:
    if step not in frames:
        return {}
    device = next(model.parameters()).device
    losses = evaluate(model, images, beta=beta)
    with evaluating(model):
        mu, _ = model.encode(images[:][0].to(device))
        made = {
            "positions": mu.half().cpu(),
            "losses": torch.stack([value.mean() for value in losses.values()]),
            "reconstructions": _bytes(model.generate(mu[:SNAPSHOT_IMAGES])),
        }
    return {f"film.{step:05d}.{name}": value for name, value in made.items()}


@torch.inference_mode()
def _epoch_pictures(some: ImageDataset, steps: int, model: VAE, step: int) -> dict[str, Tensor]:
    epoch = step // steps
    if step % steps or epoch not in SNAPSHOT_EPOCHS:
        return {}
    device = next(model.parameters()).device
    latents = noise((SNAPSHOT_IMAGES, model.latent), device, torch.Generator().manual_seed(0))
    images, labels = some.to(device)[:]
    with evaluating(model):
        codes, _ = model.encode(images, labels)
        return {
            f"{epoch:03d}.reconstructions": _bytes(model.generate(codes, labels)),
            f"{epoch:03d}.samples": _bytes(model.generate(latents, labels)),
        }


def _bytes(pictures: Tensor) -> Tensor:
    return (255 * pictures).round().byte().cpu()
