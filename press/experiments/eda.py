"""Exact statistics of a resident image set: everything follows from counts of bytes."""

from dataclasses import dataclass

import numpy as np
import torch

from vae_helpers.data import ImageDataset
from vae_helpers.losses import entropy_floor


@dataclass(frozen=True)
class Statistics:
    """One split in numbers; pixels on the [0, 1] scale, the floor in nats per image."""

    shape: tuple[int, ...]
    dtype: str
    minimum: float
    maximum: float
    mean: float
    std: float
    rarest_class: int
    commonest_class: int
    entropy_floor: float


def statistics(data: ImageDataset) -> Statistics:
    """Shape, type, range, moments, class balance and entropy floor of a split."""
    counts = intensity_counts(data).sum(0)
    levels = np.arange(256) / 255
    mean = float(levels @ counts / counts.sum())
    present = np.flatnonzero(counts)
    classes = class_counts(data)
    # The floor of a picture is a sum over its pixels, so the mean floor needs only their counts.
    per_level = entropy_floor(torch.from_numpy(levels)[:, None]).numpy()
    return Statistics(
        shape=tuple(data.images.shape),
        dtype=str(data.images.dtype).removeprefix("torch."),
        minimum=present[0] / 255,
        maximum=present[-1] / 255,
        mean=mean,
        std=float(np.sqrt((levels - mean) ** 2 @ counts / counts.sum())),
        rarest_class=int(classes.min()),
        commonest_class=int(classes.max()),
        entropy_floor=float(per_level @ counts / len(data)),
    )


def class_counts(data: ImageDataset) -> np.ndarray:
    """How many images each class has, ``(classes,)``."""
    return np.bincount(data.labels.numpy(), minlength=len(data.classes))


def intensity_counts(data: ImageDataset) -> np.ndarray:
    """How often each class has a pixel of each byte, ``(classes, 256)``."""
    pixels, labels = data.images.flatten(1).numpy(), data.labels.numpy()
    return np.stack(
        [
            np.bincount(pixels[labels == label].ravel(), minlength=256)
            for label in range(len(data.classes))
        ]
    )


def class_images(data: ImageDataset) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance image of each class, ``(classes, 28, 28)`` each, of [0, 1] pixels.

    A class without images is NaN.
    """
    pixels, labels = data.images[:, 0].numpy(), data.labels.numpy()
    nothing = np.full((28, 28), np.nan)
    groups = [pixels[labels == label] / 255 for label in range(len(data.classes))]
    return (
        np.stack([group.mean(0) if len(group) else nothing for group in groups]),
        np.stack([group.var(0) if len(group) else nothing for group in groups]),
    )


def class_distances(data: ImageDataset) -> np.ndarray:
    """Euclidean distance between the classes' mean images, ``(classes, classes)``."""
    means = class_images(data)[0].reshape(len(data.classes), -1)
    return np.linalg.norm(means[:, None] - means[None], axis=2)


def look_alikes(data: ImageDataset) -> list[tuple[str, str, float]]:
    """Each class that occurs, the one whose mean image is nearest, and their distance."""
    distances = np.nan_to_num(class_distances(data), nan=np.inf)
    np.fill_diagonal(distances, np.inf)
    nearest = distances.argmin(1)
    return [
        (name, data.classes[other], float(distances[i, other]))
        for i, (name, other) in enumerate(zip(data.classes, nearest, strict=True))
        if np.isfinite(distances[i, other])
    ]
