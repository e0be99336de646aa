"""Images and labels, resident in memory as bytes, from files that are checked before use.

Fashion-MNIST and MNIST come as the IDX files that torchvision publishes (same folder layout,
same MD5 checksums); ``from_csv`` reads Kaggle's form; ``garments`` draws its own.
"""

import contextlib
import gzip
import hashlib
import http.client
import os
import shutil
import socket
import struct
import tempfile
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from numbers import Integral
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vae_helpers import garments as drawing
from vae_helpers.settings import ROOT, settings

FASHION_CLASSES = drawing.CLASSES
DIGIT_CLASSES = tuple("0123456789")
CLASSES = {"FashionMNIST": FASHION_CLASSES, "MNIST": DIGIT_CLASSES}
PARTS = {"train": "train", "test": "t10k"}
SMOKE_IMAGES = {"train": 1_000, "test": 500}
GARMENTS = {"train": 20_000, "test": 2_000}
CSV_COLUMNS = ["label", *(f"pixel{i}" for i in range(1, 785))]
DOWNLOAD_TIMEOUT = 20  # seconds without an answer before a mirror counts as unreachable


class DataError(ValueError):
    """Data that cannot be used; the message names the file or value, and the remedy."""


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Labelled grey images, whole in memory.

    images: uint8 ``(N, 1, 28, 28)``; labels: int64 ``(N,)``, indices into ``classes``;
    factors: what the images were drawn from, float64 ``(N, F)``, where that is known.

    Indexing gives pixels scaled to [0, 1], the range of the Bernoulli likelihood's mean:
    ``dataset[7]`` is ``(image (1, 28, 28), label)``, so a PyTorch ``DataLoader`` can read it;
    ``dataset[index_tensor]`` is a batch ``(images (B, 1, 28, 28), labels (B,))``.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    name: str
    factors: Tensor | None = None

    def __post_init__(self):
        if self.images.dtype != torch.uint8 or self.images.shape[1:] != (1, 28, 28):
            raise DataError(
                f"{self.name}: images are {self.images.dtype} {tuple(self.images.shape)}; "
                "give uint8 of shape (N, 1, 28, 28), one grey channel"
            )
        if len(self.images) != len(self.labels):
            raise DataError(
                f"{self.name}: {len(self.images)} images but {len(self.labels)} labels; "
                "both files must come from the same split"
            )
        if len(self.labels) and not (
            self.labels.min() >= 0 and self.labels.max() < len(self.classes)
        ):
            wrong = self.labels[(self.labels < 0) | (self.labels >= len(self.classes))][0]
            raise DataError(
                f"{self.name}: label {int(wrong)} is outside 0–{len(self.classes) - 1}; "
                "remove or correct that row"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index) -> tuple[Tensor, Tensor | int]:
        # [0, 1] because pixels are read as probabilities of a Bernoulli (chapter 3).
        images = self.images[index].float().div_(255)
        labels = self.labels[index]
        return images, int(labels) if labels.ndim == 0 else labels

    @property
    def device(self) -> torch.device:
        return self.images.device

    @cached_property
    def digest(self) -> str:
        """Sixteen hex digits that change when any pixel or label does."""
        sha = hashlib.sha256(",".join(self.classes).encode())
        sha.update(self.images.cpu().numpy().tobytes())
        sha.update(self.labels.cpu().numpy().tobytes())
        return sha.hexdigest()[:16]

    def subset(self, index: Tensor | Sequence[int] | slice, name: str | None = None):
        """The images at ``index`` (positions, a slice or a mask), in that order."""
        if not isinstance(index, slice):
            index = torch.as_tensor(index, device=self.device)
            index = index if len(index) else index.long()  # an empty list has no type of its own
        return replace(
            self,
            images=self.images[index],
            labels=self.labels[index],
            factors=None if self.factors is None else self.factors[index],
            name=name or self.name,
        )

    def only(self, classes: Sequence[str | int]):
        """The images of these classes (names or indices), in their old order and labels.

        Raises DataError for a class that does not exist or a choice that keeps nothing.
        """
        wanted = []
        for one in classes:
            if one in self.classes:
                wanted.append(self.classes.index(one))
            elif isinstance(one, Integral) and 0 <= one < len(self.classes):
                wanted.append(one)
            else:
                raise DataError(f"{self.name}: no class {one!r}; choose from {self.classes}")
        keep = torch.isin(self.labels, torch.tensor(wanted, dtype=torch.int64, device=self.device))
        if not keep.any():
            raise DataError(
                f"{self.name}: no image is left for the classes {list(classes)}; name at least "
                f"one of {self.classes} that occurs here"
            )
        return self.subset(keep, f"{self.name}, {len(wanted)} classes")

    def balanced(self, count: int, seed: int):
        """``count`` random images, as many of each class.

        Raises DataError where count is no multiple of the classes, or a class has too few.
        """
        each, rest = divmod(count, len(self.classes))
        scarcest = int(torch.bincount(self.labels, minlength=len(self.classes)).min())
        if rest or not 0 < each <= scarcest:
            raise DataError(
                f"{self.name}: cannot take {count} images, as many of each of {len(self.classes)} "
                f"classes; give a multiple of {len(self.classes)} up to "
                f"{scarcest * len(self.classes)}"
            )
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        order = order.to(self.device)
        parts = [order[self.labels[order] == c][:each] for c in range(len(self.classes))]
        return self.subset(torch.cat(parts), f"{self.name}, {count} labels")

    def split(self, fraction: float, seed: int = 42):
        """Two disjoint random parts, ``fraction`` of the images first and the rest second.

        Raises DataError when ``fraction`` is not strictly between 0 and 1 or a part is empty.
        """
        count = round(fraction * len(self)) if 0 < fraction < 1 else 0
        if not 0 < count < len(self):
            raise DataError(
                f"{self.name}: cannot split {len(self)} images at {fraction}; "
                "the fraction must lie in (0, 1) and leave images on both sides"
            )
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        order = order.to(self.device)
        share = f"{self.name}, {100 * fraction:g} %"
        return (
            self.subset(order[:count], share),
            self.subset(order[count:], f"{self.name}, other {100 * (1 - fraction):g} %"),
        )

    def batches(self, size: int, order: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Successive batches of at most ``size`` images; ``order`` is a permutation to follow.

        Raises DataError for a size below 1, or without images.
        """
        if size < 1:
            raise DataError(f"batch size {size}; give at least 1")
        if len(self) == 0:
            raise DataError(f"{self.name}: no images to train on or to judge")
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield self[part if order is None else order[part]]

    def to(self, device: torch.device | str):
        """The same data on another device."""
        return replace(
            self,
            images=self.images.to(device),
            labels=self.labels.to(device),
            factors=None if self.factors is None else self.factors.to(device),
        )


def load(split: str, name: str = "fashion-mnist") -> ImageDataset:
    """The book's images, ``train`` or ``test``; in the smoke profile, drawn garments.

    name: ``fashion-mnist``, ``mnist`` or ``garments``. Raises KeyError for another one.
    """
    if name not in DATASETS:
        raise KeyError(f"no dataset {name!r}; choose one of {', '.join(DATASETS)}")
    if settings().smoke:
        # Other seeds for another dataset: it shall not be the same one by another name.
        return _drawn(
            SMOKE_IMAGES[split], list(PARTS).index(split) + 2 * list(DATASETS).index(name)
        )
    return DATASETS[name](split)


@lru_cache(maxsize=6)
def _drawn(count: int, seed: int) -> ImageDataset:
    return garments(count, seed)


def fashion_mnist(split: str) -> ImageDataset:
    """Fashion-MNIST (Xiao et al. 2017): 60,000 ``train`` or 10,000 ``test`` images.

    Found locally or downloaded from torchvision's mirrors. Raises DataError, see ``find``.
    """
    return _read("FashionMNIST", split)


def mnist(split: str) -> ImageDataset:
    """MNIST (LeCun et al. 1998): 60,000 ``train`` or 10,000 ``test`` digits, found likewise."""
    return _read("MNIST", split)


DATASETS = {
    "fashion-mnist": fashion_mnist,
    "mnist": mnist,
    "garments": lambda split: _drawn(GARMENTS[split], list(PARTS).index(split)),
}


def class_count(name: str) -> int:
    """How many classes the dataset that ``load`` calls so has, without reading it."""
    return len(DIGIT_CLASSES if name == "mnist" else FASHION_CLASSES)


def garments(n: int, seed: int = 0) -> ImageDataset:
    """``n`` drawn garments with the factors they were drawn from (``garments.FACTORS``)."""
    factors = drawing.sample_factors(n, seed)
    return ImageDataset(
        images=torch.from_numpy(drawing.draw(factors)).unsqueeze(1),
        labels=torch.from_numpy(factors[:, 0].astype(np.int64)),
        classes=FASHION_CLASSES,
        name=f"garments ({n}, seed {seed})",
        factors=torch.from_numpy(factors),
    )


# --- CSV ---------------------------------------------------------------------------------------


def from_csv(path: Path | str, classes: tuple[str, ...] = FASHION_CLASSES) -> ImageDataset:
    """Read Kaggle's form: a header, then ``label, pixel1 … pixel784`` a row; plain or zipped.

    Raises DataError, naming file, row and column, for anything else.
    """
    import pandas as pd  # heavy, and only this reader wants it

    path = Path(path)
    try:
        with warnings.catch_warnings():
            # Of rows longer than the header pandas would drop a value, with no more than this.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(path, index_col=False)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the path") from None
    except Exception as error:  # the parser and each kind of archive raise errors of their own
        raise DataError(f"{path}: not a readable CSV ({error}); fetch the file again") from error
    if list(table.columns) != CSV_COLUMNS:
        raise DataError(
            f"{path}: {table.shape[1]} columns beginning with {str(table.columns[0])!r}; "
            "expected 785 in this order: label, pixel1 … pixel784"
        )
    if table.empty:
        raise DataError(f"{path}: no rows below the header; fetch the file again")
    for column in table.columns:
        values, top = table[column], len(classes) - 1 if column == "label" else 255
        numbers = values.to_numpy()
        if numbers.dtype.kind not in "iuf":  # text, and the True and False that are no numbers
            numbers = pd.to_numeric(values.astype(str), errors="coerce").to_numpy(float)
        wrong = ~((numbers >= 0) & (numbers <= top) & (numbers == np.floor(numbers)))
        if wrong.any():
            row = int(wrong.argmax())
            raise DataError(
                f"{path}: row {row + 1}, column {column!r} holds {str(values.iloc[row])!r}; "
                f"expected a whole number from 0 to {top}: correct or remove that row"
            )
    values = table.to_numpy(dtype=np.int64)
    return ImageDataset(
        images=torch.from_numpy(values[:, 1:].astype(np.uint8)).view(-1, 1, 28, 28),
        labels=torch.from_numpy(values[:, 0].copy()),
        classes=classes,
        name=path.name,
    )


def to_csv(dataset: ImageDataset, path: Path | str) -> None:
    """Write Kaggle's form, which ``from_csv`` reads back; zipped when the path ends in .zip."""
    import pandas as pd

    pixels = dataset.images.flatten(1).cpu().numpy()
    table = pd.DataFrame(pixels, columns=CSV_COLUMNS[1:])
    table.insert(0, "label", dataset.labels.cpu().numpy())
    table.to_csv(path, index=False)


# --- IDX files: where they are, how they get here, what they must look like ---------------------


def find(name: str) -> Path | None:
    """The folder that holds all four files of ``name`` in torchvision's layout, or None.

    Looks in ``$VAE_DATA_DIR`` alone where that is set, else in ``data/`` and in a ``shared/data``
    beside the checkout. Downloads nothing.
    """
    for folder in _places():
        raw = folder / name / "raw"
        if all(os.path.isfile(raw / file) for file in _checksums(name)):  # False if forbidden
            return raw
    return None


def obtain(name: str) -> Path:
    """``find``, or download from torchvision's mirrors into ``data/`` (``$VAE_DATA_DIR``).

    A download lands whole and checked or not at all, so an interrupted one is simply run again.
    Raises DataError that lists what was looked for, and where, when no source can be reached.
    """
    raw = find(name)
    if raw is not None:
        return raw
    import torchvision.datasets as published
    from torchvision.datasets.utils import download_url

    dataset = getattr(published, name)
    raw = (settings().data_dir or ROOT / "data") / name / "raw"
    failures = []
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        raw.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=raw) as scratch:
            for file, md5 in dataset.resources:
                if (raw / file).is_file():
                    continue
                for mirror in dataset.mirrors:
                    try:
                        download_url(mirror + file, scratch, file, md5)
                        os.replace(Path(scratch, file), raw / file)
                        break
                    except (OSError, RuntimeError, http.client.HTTPException) as error:
                        failures.append(f"{mirror} ({str(error).strip()})")
                else:
                    break
    except OSError as error:
        failures.append(f"{raw} cannot be written ({error})")
    finally:
        socket.setdefaulttimeout(before)
    if find(name) is None:
        places = ", ".join(str(folder / name / "raw") for folder in _places())
        raise DataError(
            f"{name} was not found. Looked for {', '.join(_checksums(name))} in {places}; tried "
            f"to download: {'; '.join(failures)}. Put the four files into one of these folders, "
            "name their folder in VAE_DATA_DIR, or run with PROFILE=smoke, which draws its data."
        )
    return raw


def torchvision_dataset(split: str):
    """Fashion-MNIST as torchvision's own class with ``ToTensor``: the conventional way.

    torchvision unpacks beside the files it finds, so it works on a copy under ``_build``.
    """
    from torchvision import datasets, transforms

    root = ROOT / "_build" / "torchvision"
    if not root.exists():
        files = list(obtain("FashionMNIST").glob("*.gz"))
        root.parent.mkdir(exist_ok=True)
        # Elsewhere first: torchvision trusts what an interrupted call has left half unpacked.
        with tempfile.TemporaryDirectory(prefix=".torchvision-", dir=root.parent) as scratch:
            raw = Path(scratch, "whole", "FashionMNIST", "raw")
            raw.mkdir(parents=True)
            for file in files:
                shutil.copyfile(file, raw / file.name)
            datasets.FashionMNIST(Path(scratch, "whole"), download=True)
            with contextlib.suppress(OSError):  # another process was faster
                os.rename(Path(scratch, "whole"), root)
    return datasets.FashionMNIST(root, train=split == "train", transform=transforms.ToTensor())


def read_idx(path: Path, md5: str | None = None) -> np.ndarray:
    """Read one gzipped IDX file of bytes as uint8, ``(N,)`` or ``(N, rows, columns)``.

    Raises DataError for a missing, unreadable, damaged, truncated or foreign file.
    """
    remedy = "delete it and fetch it again"
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check it exists") from error
    if md5 is not None and hashlib.md5(packed, usedforsecurity=False).hexdigest() != md5:
        raise DataError(f"{path}: MD5 differs from the published {md5}; {remedy}")
    try:
        raw = gzip.decompress(packed)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a whole gzip file ({error}); {remedy}") from error
    if len(raw) < 4 or raw[:3] != b"\0\0\x08" or raw[3] not in (1, 3):
        raise DataError(f"{path}: magic number {raw[:4].hex()} is not IDX bytes; {remedy}")
    header = 4 + 4 * raw[3]
    if len(raw) < header:
        raise DataError(f"{path}: ends inside its header; {remedy}")
    shape = struct.unpack(f">{raw[3]}I", raw[4:header])
    if len(raw) - header != int(np.prod(shape, dtype=object)):
        raise DataError(
            f"{path}: {len(raw) - header} bytes of data, but its header says {shape}; {remedy}"
        )
    return np.frombuffer(raw, dtype=np.uint8, offset=header).reshape(shape)


@lru_cache(maxsize=4)
def _read(name: str, split: str) -> ImageDataset:
    if split not in PARTS:
        raise DataError(f"split {split!r}; choose 'train' or 'test'")
    raw, sums = obtain(name), _checksums(name)
    images, labels = (
        read_idx(raw / file, sums[file])
        for file in (f"{PARTS[split]}-images-idx3-ubyte.gz", f"{PARTS[split]}-labels-idx1-ubyte.gz")
    )
    return ImageDataset(
        images=torch.from_numpy(images.copy()).unsqueeze(1),
        labels=torch.from_numpy(labels.astype(np.int64)),
        classes=CLASSES[name],
        name=f"{name} {split}",
    )


def _places() -> list[Path]:
    only = settings().data_dir
    return [only] if only else [ROOT / "data", ROOT.parent / "shared" / "data"]


# torchvision's checksums (torchvision.datasets.FashionMNIST.resources); held here as well because
# importing torchvision takes longer than reading the data. A test compares the two.
_MD5 = {
    "FashionMNIST": {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    },
    "MNIST": {
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    },
}


def _checksums(name: str) -> dict[str, str]:
    return _MD5[name]
