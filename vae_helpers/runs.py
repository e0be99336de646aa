"""Every trained model of the book, by name: what it is, and where its weights come from."""

import json
import math
from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from vae_helpers import data, losses
from vae_helpers.classifier import FashionResNet18, build_classifier, calibrate, classifier_loss
from vae_helpers.files import alone, fetched
from vae_helpers.models import VAE, build_vae, noise
from vae_helpers.semi_supervised import build_m2, label_loss, m2_loss
from vae_helpers.settings import settings
from vae_helpers.storage import (
    CheckpointError,
    digest_json,
    hardware,
    load_tensors,
    save_tensors,
    under,
    versions,
)
from vae_helpers.training import (
    History,
    autoencoder_loss,
    best_device,
    best_precision,
    evaluate,
    fit,
    vae_loss,
)

SNAPSHOT_EPOCHS = (1, 2, 5, 10, 25)
SNAPSHOT_IMAGES = 8
FILM_FRAMES = 100  # at most: of the first steps, several fall together
FILM_PER_CLASS = 200
TRAINED_BY = "python -m vae_helpers train"


@dataclass(frozen=True)
class Run:
    """One training, as a value: everything that decides its result but the data's bytes.

    kind: ``vae``, ``autoencoder``, ``classifier`` (whose code is the features of its last layer),
    ``semi-supervised`` (M2), or ``supervised``, which trains the classifier of M2 alone.
    dataset: what ``data.load`` calls it.
    classes: those that are trained on and watched; all of them where none are named.
    conditional: labels go into encoder and decoder.
    likelihood: see ``losses.reconstruction_nll``. beta: its final value.
    annealing: the way there, ``constant``, ``linear`` over half of training, or ``cyclical``.
    free_bits: nats of KL a dimension that cost nothing.
    filmed: keep frames of the latent space along the way, see ``film``.
    train_share: below 1, that share of the training images is trained on and the rest validates.
    labelled: above 0, only so many labels are known, as many of each class; all that a run sees
    of the training images, but for ``semi-supervised`` ones, which see the others without.
    label_weight: what a nat of their cross-entropy counts there, see ``semi_supervised.m2_loss``.
    """

    name: str
    body: str
    latent: int
    epochs: int
    kind: str = "vae"
    dataset: str = "fashion-mnist"
    classes: tuple[str, ...] = ()
    conditional: bool = False
    filmed: bool = False
    lr: float = 1e-3
    schedule: str = "constant"
    likelihood: str = "bernoulli"
    beta: float = 1.0
    annealing: str = "constant"
    free_bits: float = 0.0
    batch_size: int = 128
    train_share: float = 1.0
    labelled: int = 0
    label_weight: float = 0.0
    seed: int = 42


ONE_CYCLE = {"lr": 4e-3, "schedule": "one-cycle"}
DENSE = {"body": "dense", "epochs": 30, **ONE_CYCLE}
RUNS = {
    run.name: run
    for run in (
        Run("conv16", body="conv", latent=16, epochs=25),
        Run("conv16-one-cycle", body="conv", latent=16, epochs=25, lr=4e-3, schedule="one-cycle"),
        Run("dense20-validated", body="dense", latent=20, epochs=30, train_share=0.9),
        *(
            Run(
                f"beta-{beta:g}",
                body="conv",
                latent=2,
                epochs=20,
                classes=("T-shirt/top", "Trouser", "Sneaker"),
                filmed=True,
                lr=4e-3,
                schedule="one-cycle",
                beta=beta,
            )
            for beta in (0.1, 0.5, 1.0)
        ),
        Run("dense2", **DENSE, latent=2),
        Run("conv16-validated", body="conv", latent=16, epochs=25, train_share=0.9),
        Run(
            "autoencoder16",
            body="conv",
            latent=16,
            epochs=25,
            kind="autoencoder",
            train_share=0.9,
        ),
        Run(
            "classifier",
            body="resnet18",
            latent=128,
            epochs=20,
            kind="classifier",
            lr=2e-3,
            schedule="one-cycle",
            train_share=0.95,
        ),
        Run("dense2-beta-0.5", **DENSE, latent=2, beta=0.5),
        Run("dense10-beta-0.5", **DENSE, latent=10, beta=0.5),
        Run("dense10", **DENSE, latent=10),
        Run("dense10-beta-4", **DENSE, latent=10, beta=4.0),
        Run("conditional2", **DENSE, latent=2, conditional=True),
        Run("conv2-beta-0.5", body="conv", latent=2, epochs=12, **ONE_CYCLE, beta=0.5),
        # Its body, rate and size were chosen on held-out training images.
        Run(
            "residual32",
            body="residual",
            latent=32,
            epochs=40,
            lr=2e-3,
            schedule="one-cycle",
        ),
        Run(
            "deep-conv-mse",
            body="deep-conv",
            latent=2,
            epochs=10,
            lr=4e-3,
            schedule="one-cycle",
            likelihood="mean-squared-error",
            beta=0.001,
            batch_size=512,
        ),
        # The same objective with the KL at its full weight: what a mean over pixels does to β = 1.
        Run(
            "collapsed",
            body="conv",
            latent=10,
            epochs=5,
            likelihood="mean-squared-error",
        ),
        Run("mnist-dense2", body="dense", latent=2, epochs=20, dataset="mnist"),
    )
}
LOSSES = {
    "vae": vae_loss,
    "autoencoder": autoencoder_loss,
    "classifier": classifier_loss,
    "semi-supervised": m2_loss,
    "supervised": label_loss,
}
ANNEALING = {
    "constant": lambda beta: lambda progress: beta,
    "linear": partial(losses.linear_warmup, share=0.5),
    "cyclical": losses.cyclical,
}


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained model with all that is known of how it came about.

    snapshots: named tensors along the way, ``005.reconstructions`` for those after epoch 5.
    digest: changes with the run, its data or its weights; stored numbers carry it.
    """

    run: Run
    model: VAE | FashionResNet18
    history: History
    snapshots: dict[str, Tensor]
    digest: str
    made: dict


def trained(name: str) -> Trained:
    """The model of that run, loaded from its checkpoint, or trained first where it has none.

    On the CPU, in evaluation mode. Raises KeyError for a name that is not in ``RUNS``,
    CheckpointError for a checkpoint that is damaged or was made by another run or data, and
    FetchError for one that a sparse clone lacks and cannot get.
    """
    run = find_run(name)
    path = fetched(checkpoint_path(name))
    if settings().smoke or not path.exists():
        train(name)
    return load(path, run, data.load("train", run.dataset).digest)


def train(name: str, progress: bool | Callable[[float], None] = True) -> Path:
    """Train that run, or go on where an interrupted call stopped; return its checkpoint.

    progress: see ``fit``. Does nothing where the checkpoint exists already. One process at a time
    trains a run; another one waits for it.
    """
    run, path, now = find_run(name), checkpoint_path(name), settings()
    state = now.work / "training" / f"{'retrained-' if now.retrain else ''}{name}.safetensors"
    with alone(state.with_suffix(".lock")):
        if path.exists() and not (now.smoke and _outdated(path, run)):
            return path
        device = torch.device(now.device) if now.device else best_device()
        precision = best_precision(device)
        images, validation = training_images(run)
        test = test_images(run)
        watch = ({"validation": validation} if validation else {}) | {"test": test}
        model = build(run).to(device)
        history, snapshots = fit(
            model,
            images,
            **recipe(run),
            watch=watch,
            snapshot=_snapshots(run, test, math.ceil(len(images) / run.batch_size)),
            state=state,
            precision=precision,
            progress=False if now.smoke else progress,
        )
        if run.kind == "classifier":
            calibrate(model, watch["validation"])
        save_tensors(
            path,
            {f"model.{key}": _halved(value) for key, value in model.state_dict().items()}
            | {f"snapshot.{key}": value for key, value in snapshots.items()},
            {
                "run": settled(run),
                "data": data.load("train", run.dataset).digest,
                "history": history.rows,
                "made": {
                    "seconds": round(history.seconds, 1),
                    "hardware": hardware(str(device)),
                    "precision": str(precision or torch.float32).removeprefix("torch."),
                    "command": f"{TRAINED_BY} {name}",
                    "versions": versions(),
                },
            },
        )
        state.unlink()
    return path


def _halved(weights: Tensor) -> Tensor:
    # Half the bytes, for less than a hundredth of a nat: see test_half_precision_costs_nothing.
    return weights.half() if weights.is_floating_point() else weights


def _outdated(path: Path, run: Run) -> bool:
    # A smoke run's model is worth nothing: where code or garments changed, it is trained again.
    try:
        load(path, run, data.load("train", run.dataset).digest)
    except CheckpointError:
        return True
    return False


def load(path: Path, run: Run, data_digest: str) -> Trained:
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
    if header["data"] != data_digest:
        raise CheckpointError(f"{path}: trained on other images than those found here; {remedy}")
    model = build(run)
    try:
        model.load_state_dict(under("model.", tensors))
    except RuntimeError as error:
        raise CheckpointError(f"{path}: does not fit the run's model; {remedy}") from error
    return Trained(
        run=run,
        model=model.eval().to(memory_format=torch.channels_last),  # as ``fit`` has it, and why
        history=History(header["history"], header["made"]["seconds"]),
        snapshots=under("snapshot.", tensors),
        digest=digest_json([settled(run), data_digest, header["weights"]]),
        made=header["made"],
    )


def training_images(run: Run) -> tuple[data.ImageDataset, data.ImageDataset | None]:
    """The images that run learns from, and those that it holds out, if any."""
    images = _of_classes(run, data.load("train", run.dataset))
    if run.labelled and run.kind != "semi-supervised":
        images = images.balanced(run.labelled, run.seed)
    return images.split(run.train_share, run.seed) if run.train_share < 1 else (images, None)


def test_images(run: Run) -> data.ImageDataset:
    """The test images of the run's dataset and classes."""
    return _of_classes(run, data.load("test", run.dataset))


def _of_classes(run: Run, images: data.ImageDataset) -> data.ImageDataset:
    return images.only(run.classes) if run.classes else images


def build(run: Run) -> nn.Module:
    """The run's model before training."""
    if run.kind == "classifier":
        return build_classifier(run.latent, run.seed)
    classes = data.class_count(run.dataset)
    if run.kind in ("semi-supervised", "supervised"):
        return build_m2(run.body, run.latent, classes, run.seed)
    classes = classes if run.conditional else 0
    return build_vae(run.body, run.latent, run.seed, run.kind == "vae", classes)


def recipe(run: Run) -> dict:
    """How ``fit`` is to train the run's model: its loss, β, rate, order and length."""
    loss = LOSSES[run.kind]
    if run.kind == "vae":
        loss = partial(loss, likelihood=run.likelihood, free_bits=run.free_bits)
    if run.kind == "semi-supervised":
        known = data.load("train", run.dataset).balanced(run.labelled, run.seed)
        loss = partial(loss, labelled=known, weight=run.label_weight)
    return {
        "loss": loss,
        "beta": ANNEALING[run.annealing](run.beta),
        "epochs": run.epochs,
        "batch_size": run.batch_size,
        "lr": run.lr,
        "schedule": run.schedule,
        "seed": run.seed,
    }


def work(run: Run) -> int:
    """Floating-point operations that training the run takes: what to expect of its length."""
    from torch.utils.flop_counter import FlopCounterMode  # brings a compiler along

    images, _ = training_images(run)
    with FlopCounterMode(display=False) as counted:
        terms = recipe(run)["loss"](build(run), *images[:2])
        terms["total"].mean().backward()
    return counted.get_total_flops() // 2 * len(images) * run.epochs


DEFAULTS = json.loads(
    json.dumps({one.name: one.default for one in fields(Run) if one.default is not MISSING})
)


def settled(run: Run) -> dict:
    """What decides the run's result, as JSON; fields at their defaults are left out."""
    # So a new field changes no old run's digest.
    values = json.loads(json.dumps(asdict(run)))
    return {key: value for key, value in values.items() if DEFAULTS.get(key, ...) != value}


def find_run(name: str) -> Run:
    """The run of that name, in the smoke profile shortened to one epoch."""
    if name not in RUNS:
        raise KeyError(f"no run {name!r}; choose one of {', '.join(RUNS)}")
    return shortened(RUNS[name])


def shortened(run: Run) -> Run:
    """The run itself, or in the smoke profile one epoch of it, of a hundred labels at most."""
    return replace(run, epochs=1, labelled=min(run.labelled, 100)) if settings().smoke else run


def checkpoint_path(name: str) -> Path:
    """Where the run's checkpoint lies, whether it exists or not."""
    return settings().assets / "checkpoints" / f"{name}.safetensors"


@dataclass(frozen=True)
class Film:
    """Frames of a training: where the latent space lay, and what it made of eight images.

    steps ``(F,)``: batches trained on by then, and epochs the same in epochs.
    positions ``(F, N, 2)``: μ of the images of ``film_images``. losses ``(F, 3)``: their mean
    total, reconstruction and KL in nats. reconstructions ``(F, 8, 1, 28, 28)``, bytes.
    """

    steps: Tensor
    epochs: Tensor
    positions: Tensor
    losses: Tensor
    reconstructions: Tensor


def film(one: Trained) -> Film:
    """The frames of a filmed run, in order. Raises ValueError for a run that was not filmed."""
    frames = under("film.", one.snapshots)
    if not frames:
        raise ValueError(f"the run {one.run.name!r} was not filmed; give it filmed=True and train")
    steps = sorted({name.split(".")[0] for name in frames})
    stacked = {
        part: torch.stack([frames[f"{step}.{part}"] for step in steps]).float()
        for part in ("positions", "losses")
    }
    counted = torch.tensor([int(step) for step in steps])
    return Film(
        steps=counted,
        epochs=counted / counted[-1] * one.run.epochs,
        reconstructions=torch.stack([frames[f"{step}.reconstructions"] for step in steps]),
        **stacked,
    )


def film_images(test: data.ImageDataset, classes: tuple[str, ...]) -> data.ImageDataset:
    """The test images a film follows: the first of each class, in turn."""
    which = [(test.labels == test.classes.index(name)).nonzero()[:, 0] for name in classes]
    count = min(FILM_PER_CLASS, *map(len, which))
    return test.subset(torch.stack([index[:count] for index in which], dim=1).flatten())


def _snapshots(
    run: Run, test: data.ImageDataset, steps: int
) -> Callable[[nn.Module, int], dict[str, Tensor]] | None:
    if run.kind == "classifier":
        return None
    if run.filmed:
        # Denser early, when most happens.
        when = torch.logspace(0, math.log10(run.epochs * steps), FILM_FRAMES).round().int()
        frames = frozenset(when.tolist())
        return partial(_frame, film_images(test, run.classes), frames, run.beta)
    return partial(_epoch_pictures, test.subset(slice(SNAPSHOT_IMAGES)), steps)


@torch.inference_mode()
def _frame(images: data.ImageDataset, frames, beta: float, model: VAE, step: int):
    if step not in frames:
        return {}
    device = next(model.parameters()).device
    losses = evaluate(model, images, beta=beta)
    model.eval()
    mu, _ = model.encode(images[:][0].to(device))
    made = {
        "positions": mu.half().cpu(),
        "losses": torch.stack([value.mean() for value in losses.values()]),
        "reconstructions": _bytes(model.generate(mu[:SNAPSHOT_IMAGES])),
    }
    return {f"film.{step:05d}.{name}": value for name, value in made.items()}


@torch.inference_mode()
def _epoch_pictures(
    some: data.ImageDataset, steps: int, model: VAE, step: int
) -> dict[str, Tensor]:
    epoch = step // steps
    if step % steps or epoch not in SNAPSHOT_EPOCHS:
        return {}
    device = next(model.parameters()).device
    latents = noise((SNAPSHOT_IMAGES, model.latent), device, torch.Generator().manual_seed(0))
    images, labels = some.to(device)[:]
    codes, _ = model.eval().encode(images, labels)
    return {
        f"{epoch:03d}.reconstructions": _bytes(model.generate(codes, labels)),
        f"{epoch:03d}.samples": _bytes(model.generate(latents, labels)),
    }


def _bytes(pictures: Tensor) -> Tensor:
    return (255 * pictures).round().byte().cpu()
