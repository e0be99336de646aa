"""A trained model and all that is known of it, read from its checkpoint."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from press.images import data_digest
from press.runs import DEFAULTS, Run, build, images_of, settled, training_images
from press.settings import Settings
from vae_helpers.classifier import FashionResNet18
from vae_helpers.data import ImageDataset
from vae_helpers.errors import CheckpointError
from vae_helpers.files import digest_json, load_tensors, under
from vae_helpers.models import VAE
from vae_helpers.training import History


@dataclass(frozen=True, eq=False)
class Experiment:
    """A trained model, how it came about, and its images, which are read when first asked for."""

    run: Run
    settings: Settings
    model: VAE | FashionResNet18  # on the CPU, in evaluation mode
    history: History
    snapshots: dict[str, Tensor]  # ``005.reconstructions`` are those after epoch 5
    digest: str  # of the run, its data and its weights; stored numbers carry it
    made: dict  # seconds, hardware, precision and versions of its training

    @cached_property
    def images(self) -> ImageDataset:
        """The images that the run learned from."""
        return training_images(self.run, self.settings)[0]

    @cached_property
    def held_out(self) -> ImageDataset | None:
        """The training images that it did not learn from, if any."""
        return training_images(self.run, self.settings)[1]

    @cached_property
    def test(self) -> ImageDataset:
        """The test images of its dataset and classes."""
        return images_of(self.run, "test", self.settings)


def checkpoint_path(name: str, settings: Settings) -> Path:
    """Where the run's checkpoint lies, whether it exists or not."""
    return settings.assets / "checkpoints" / f"{name}.safetensors"


def load(path: Path, run: Run, settings: Settings) -> Experiment:
    """Read one checkpoint. Raises CheckpointError where it does not belong to run and data."""
    tensors, header = load_tensors(path)
    anew = f"or move it away, and `python -m press train {run.name}` trains anew"
    # A checkpoint older than a field was made as that field's default says.
    stored = DEFAULTS | header.get("run", {})
    for key, value in (DEFAULTS | settled(run)).items():
        if stored.get(key) != value:
            raise CheckpointError(
                f"{path}: trained with {key}={stored.get(key)!r}, but the run {run.name!r} has "
                f"{key}={value!r}; give the run that value back or a new name, {anew}"
            )
    if header["data"] != data_digest("train", run.dataset, settings):
        raise CheckpointError(f"{path}: trained on other images; find those, {anew}")
    model = build(run)
    try:
        model.load_state_dict(under("model.", tensors))
    except RuntimeError as error:
        raise CheckpointError(f"{path}: does not fit the model; find its code, {anew}") from error
    model = model.eval().to(memory_format=torch.channels_last)  # as ``fit`` has it, and why
    history = History(header["history"], header["made"]["seconds"])
    digest = digest_json([settled(run), header["data"], header["weights"]])
    snapshots = under("snapshot.", tensors)
    return Experiment(run, settings, model, history, snapshots, digest, header["made"])
