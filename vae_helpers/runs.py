"""Every trained model of the book, by name: what it is, and where its weights come from."""

import fcntl
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from vae_helpers import data
from vae_helpers.models import VAE, build_vae, noise
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
from vae_helpers.training import History, best_device, best_precision, fit, vae_loss

SNAPSHOT_EPOCHS = (1, 2, 5, 10, 25)
SNAPSHOT_IMAGES = 8
TRAINED_BY = "python -m vae_helpers train"


@dataclass(frozen=True)
class Run:
    """One training, as a value: everything that decides its result but the data's bytes.

    train_share: below 1, that share of the training images is trained on and the rest validates.
    """

    name: str
    body: str
    latent: int
    epochs: int
    lr: float = 1e-3
    schedule: str = "constant"
    beta: float = 1.0
    batch_size: int = 128
    train_share: float = 1.0
    seed: int = 42


RUNS = {
    run.name: run
    for run in (
        Run("conv16", body="conv", latent=16, epochs=25),
        Run("conv16-one-cycle", body="conv", latent=16, epochs=25, lr=4e-3, schedule="one-cycle"),
        Run("dense20-validated", body="dense", latent=20, epochs=30, train_share=0.9),
    )
}


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained model with all that is known of how it came about.

    snapshots: named tensors along the way, ``005.reconstructions`` for those after epoch 5.
    digest: changes with the run, its data or its weights; stored numbers carry it.
    """

    run: Run
    model: VAE
    history: History
    snapshots: dict[str, Tensor]
    digest: str
    made: dict


def trained(name: str) -> Trained:
    """The model of that run, loaded from its checkpoint, or trained first where it has none.

    On the CPU, in evaluation mode. Raises KeyError for a name that is not in ``RUNS`` and
    CheckpointError for a checkpoint that is damaged or was made by another run or data.
    """
    run = find_run(name)
    path = checkpoint_path(name)
    if settings().smoke or not path.exists():
        train(name)
    return load(path, run, data.load("train").digest)


def train(name: str) -> Path:
    """Train that run, or go on where an interrupted call stopped; return its checkpoint.

    Does nothing where the checkpoint exists already. One process at a time trains a run; another
    one waits for it.
    """
    run, path, now = find_run(name), checkpoint_path(name), settings()
    state = now.work / "training" / f"{'retrained-' if now.retrain else ''}{name}.safetensors"
    with _alone(state.with_suffix(".lock")):
        if path.exists() and not (now.smoke and _outdated(path, run)):
            return path
        device = torch.device(now.device) if now.device else best_device()
        precision = best_precision(device)
        everything, test = data.load("train"), data.load("test")
        images, watch = everything, {"test": test}
        if run.train_share < 1:
            images, validation = everything.split(run.train_share, run.seed)
            watch = {"validation": validation} | watch
        model = build_vae(run.body, run.latent, run.seed).to(device)
        history, snapshots = fit(
            model,
            images,
            epochs=run.epochs,
            loss=vae_loss,
            beta=run.beta,
            batch_size=run.batch_size,
            lr=run.lr,
            schedule=run.schedule,
            seed=run.seed,
            watch=watch,
            snapshot=_snapshots(test),
            state=state,
            precision=precision,
            progress=not now.smoke,
        )
        save_tensors(
            path,
            {f"model.{key}": value for key, value in model.state_dict().items()}
            | {f"snapshot.{key}": value for key, value in snapshots.items()},
            {
                "run": asdict(run),
                "data": everything.digest,
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


def _outdated(path: Path, run: Run) -> bool:
    # A smoke run's model is worth nothing: where code or garments changed, it is trained again.
    try:
        load(path, run, data.load("train").digest)
    except CheckpointError:
        return True
    return False


def load(path: Path, run: Run, data_digest: str) -> Trained:
    """Read one checkpoint. Raises CheckpointError where it does not belong to run and data."""
    tensors, header = load_tensors(path)
    remedy = f"delete it, then `{TRAINED_BY} {run.name}` makes it again"
    stored = header.get("run", {})
    for key, value in asdict(run).items():
        if stored.get(key) != value:
            raise CheckpointError(
                f"{path}: trained with {key}={stored.get(key)!r}, but the run {run.name!r} has "
                f"{key}={value!r}; {remedy}"
            )
    if header["data"] != data_digest:
        raise CheckpointError(f"{path}: trained on other images than those found here; {remedy}")
    model = build_vae(run.body, run.latent)
    try:
        model.load_state_dict(under("model.", tensors))
    except RuntimeError as error:
        raise CheckpointError(f"{path}: does not fit the run's model; {remedy}") from error
    return Trained(
        run=run,
        model=model.eval(),
        history=History(header["history"], header["made"]["seconds"]),
        snapshots=under("snapshot.", tensors),
        digest=digest_json([asdict(run), data_digest, header["weights"]]),
        made=header["made"],
    )


def find_run(name: str) -> Run:
    """The run of that name, in the smoke profile shortened to one epoch."""
    if name not in RUNS:
        raise KeyError(f"no run {name!r}; choose one of {', '.join(RUNS)}")
    return replace(RUNS[name], epochs=1) if settings().smoke else RUNS[name]


def checkpoint_path(name: str) -> Path:
    """Where the run's checkpoint lies, whether it exists or not."""
    return settings().assets / "checkpoints" / f"{name}.safetensors"


def _snapshots(test: data.ImageDataset):
    images = test.subset(slice(SNAPSHOT_IMAGES))[:][0]

    @torch.inference_mode()
    def take(model: VAE, epoch: int) -> dict[str, Tensor]:
        if epoch not in SNAPSHOT_EPOCHS:
            return {}
        device = next(model.parameters()).device
        generator = torch.Generator().manual_seed(0)
        latents = noise((SNAPSHOT_IMAGES, model.latent), device, generator)
        model.eval()
        pictures = {
            "reconstructions": model.generate(model.encode(images.to(device))[0]),
            "samples": model.generate(latents),
        }
        return {key: (255 * value).round().byte().cpu() for key, value in pictures.items()}

    return take


@contextmanager
def _alone(lock: Path):
    """Hold ``lock`` against other processes; the system lets go of it even after a SIGKILL."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
