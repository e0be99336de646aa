"""Whether samples of a conditional VAE help a classifier that has few images."""

from dataclasses import replace

import torch

from press.experiments.common import SWEEP, crossed, seeds
from press.experiments.few_labels import accuracy
from press.experiments.trained import train
from press.runs import ONE_CYCLE, Run, shortened
from press.stored import Table
from vae_helpers import latent
from vae_helpers.classifier import in_batches
from vae_helpers.data import ImageDataset

SHARES = {600: (300, 100), 6_000: (60, 10)}  # labels → epochs of their CVAE and classifier


def augmented(book, labels: int, samples: str, seed: int) -> dict[str, float]:
    """Test accuracy of a classifier of few labelled images, without or with a CVAE's samples.

    The CVAE has seen these images alone and adds as many samples, as many of each class; both
    classifiers are trained for about as many steps, and both see what they get mirrored and
    shifted.
    ``recognized``: the share of the samples that the book's classifier, which knows all labels,
    calls as meant.
    """
    run = _trained(labels, "without", seed)
    if samples == "without":
        return {"accuracy": accuracy(train(book, run))}
    cvae = train(book, _trained(labels, samples, seed))
    model, images = cvae.model, cvae.images
    meant = latent.labels_for(model, len(images))
    made = latent.decode(model, latent.frozen(len(images), model.latent, 1.0, seed), meant)
    called = in_batches(book.classifier, made, "probabilities").argmax(1)
    half = replace(run, epochs=max(1, run.epochs // 2))  # of twice as many: as many steps
    return {
        "accuracy": accuracy(train(book, half, _joined(images, made, meant))),
        "recognized": float((called == meant).double().mean()),
    }


def _joined(images: ImageDataset, made: torch.Tensor, meant: torch.Tensor) -> ImageDataset:
    return ImageDataset(
        torch.cat([images.images, (255 * made).round().byte()]),
        torch.cat([images.labels, meant]),
        images.classes,
        f"{images.name} and as many samples",
    )


def _trained(labels: int, samples: str, seed: int) -> Run:
    """The CVAE whose samples are added, or the classifier that does without."""
    of_cvae, of_classifier = SHARES[labels]
    few = {"labelled": labels, "seed": seed}
    if samples == "with":
        return Run("augmentation", "dense", 10, of_cvae, conditional=True, **ONE_CYCLE, **few)
    how = {"kind": "classifier", "lr": 2e-3, "schedule": "one-cycle", "batch_size": 64}
    return Run("augmentation", "resnet18", 64, of_classifier, **how, **few)


TABLES = (
    Table(
        *("augmentation", SWEEP, augmented),
        lambda book: crossed(labels=SHARES, samples=("without", "with"), seed=seeds(book, 5)),
        runs=lambda configuration: ("classifier",) * (configuration["samples"] == "with"),
        trains=lambda configuration, book: shortened(_trained(**configuration), book.settings),
    ),
)
