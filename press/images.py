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
CLASSES = 10  # of each of them
# Files that are published never change, nor do drawn garments unless their code does (a test
# compares): what is stored can be held against its images without reading or drawing them.
DIGESTS = {  # of training and test images
    ("full", "fashion-mnist"): ("b5dd9b9bd5ae6417", "4f3b24bc1e9eecb5"),
    ("full", "mnist"): ("d5e17303832bbea0", "6ff4b900d6d79e15"),
    ("full", "garments"): ("fd4a6f4512903d19", "d0c9f60fd831c624"),
    ("smoke", "fashion-mnist"): ("253c5a56ccfaa68d", "5e15cf103e7e10bd"),
    ("smoke", "mnist"): ("47249d34611f5455", "350edf7ba9bcd8f3"),
    ("smoke", "garments"): ("1d0e0c21fd061d74", "b614e01926b28ebb"),
}


def images(split: str, dataset: str, settings: Settings) -> ImageDataset:
    """The book's images, ``train`` or ``test``; in the smoke profile, drawn garments.

    Raises KeyError for another split or dataset, DataError for files that cannot be had.
    """
    if split not in PARTS or dataset not in DATASETS:
        raise KeyError(f"no {split!r} of {dataset!r}; choose {PARTS} of {', '.join(DATASETS)}")
    if settings.smoke or dataset == "garments":
        return _drawn(*drawing(split, dataset, settings))
    return _read(split, dataset, obtain(dataset, settings).parents[1])


def drawing(split: str, dataset: str, settings: Settings) -> tuple[int, int]:
    """How many garments are drawn, and their seed: what ``garments.sample_factors`` takes."""
    if settings.smoke:
        # Other seeds for another dataset: it shall not be the same one by another name.
        return SMOKE_IMAGES[split], PARTS.index(split) + 2 * DATASETS.index(dataset)
    return GARMENTS[split], PARTS.index(split)


@lru_cache(maxsize=6)
def _drawn(count: int, seed: int) -> ImageDataset:
    return data.garments(count, seed)


@lru_cache(maxsize=4)
def _read(split: str, dataset: str, folder: Path) -> ImageDataset:
    return (data.mnist if dataset == "mnist" else data.fashion_mnist)(split, folder)


def data_digest(split: str, dataset: str, settings: Settings) -> str:
    """The digest of these images, which are not read for it."""
    return DIGESTS[settings.profile, dataset][PARTS.index(split)]


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
