"""The book's images: where they are looked for, and what stands in for them in smoke runs."""

from functools import lru_cache
from pathlib import Path

from press.settings import Settings
from vae_helpers import data
from vae_helpers.data import ImageDataset
from vae_helpers.errors import DataError

PARTS = ("train", "test")
SMOKE_IMAGES = {"train": 1_000, "test": 500}
GARMENTS = {"train": 20_000, "test": 2_000}
FILES = {"fashion-mnist": "FashionMNIST", "mnist": "MNIST"}
DATASETS = (*FILES, "garments")
# The published files never change, so what belongs to them is known without reading them.
DIGESTS = {
    ("train", "fashion-mnist"): "b5dd9b9bd5ae6417",
    ("test", "fashion-mnist"): "4f3b24bc1e9eecb5",
    ("train", "mnist"): "d5e17303832bbea0",
    ("test", "mnist"): "6ff4b900d6d79e15",
}


def images(split: str, dataset: str, settings: Settings) -> ImageDataset:
    """The book's images, ``train`` or ``test``; in the smoke profile, drawn garments.

    Raises KeyError for another split or dataset, DataError for files that cannot be had.
    """
    if split not in PARTS or dataset not in DATASETS:
        raise KeyError(f"no {split!r} of {dataset!r}; choose {PARTS} of {', '.join(DATASETS)}")
    if settings.smoke:
        # Other seeds for another dataset: it shall not be the same one by another name.
        return _drawn(SMOKE_IMAGES[split], PARTS.index(split) + 2 * DATASETS.index(dataset))
    if dataset == "garments":
        return _drawn(GARMENTS[split], PARTS.index(split))
    return _read(split, dataset, obtain(dataset, settings).parents[1])


@lru_cache(maxsize=6)
def _drawn(count: int, seed: int) -> ImageDataset:
    return data.garments(count, seed)


@lru_cache(maxsize=4)
def _read(split: str, dataset: str, folder: Path) -> ImageDataset:
    return (data.mnist if dataset == "mnist" else data.fashion_mnist)(split, folder)


def data_digest(split: str, dataset: str, settings: Settings) -> str:
    """The digest of these images, read only where it is not known."""
    if not settings.smoke and (split, dataset) in DIGESTS:
        return DIGESTS[split, dataset]
    return images(split, dataset, settings).digest


def class_count(dataset: str) -> int:
    """How many classes that dataset has, without reading it."""
    return len(data.DIGIT_CLASSES if dataset == "mnist" else data.FASHION_CLASSES)


def obtain(dataset: str, settings: Settings) -> Path:
    """The folder of the dataset's files; downloaded where they are in none of the places.

    Raises DataError that says what was looked for, where, and what to do.
    """
    name = FILES[dataset]
    if found := data.find(name, settings.places):
        return found
    try:
        return data.obtain(name, settings.places[0])
    except DataError as error:
        more = "".join(f" Nor is it in {place / name / 'raw'}." for place in settings.places[1:])
        raise DataError(
            f"{error}{more} Set VAE_DATA_DIR to name another folder, or run with PROFILE=smoke, "
            "which draws its data."
        ) from error


def missing(settings: Settings) -> str | None:
    """Which published files are in none of the places, in a sentence; None where all are here."""
    absent = [name for name in FILES.values() if data.find(name, settings.places) is None]
    if not absent:
        return None
    return (
        f"{' and '.join(absent)} not found: looked for the four .gz files of each in its folder "
        f"raw under {' and '.join(map(str, settings.places))}"
    )
