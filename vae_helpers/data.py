"""Images and labels, resident in memory as bytes, from files that are checked before use.

Fashion-MNIST and MNIST come as the IDX files that torchvision publishes (same folder layout,
same MD5 checksums); ``from_array`` takes images of any size, ``from_csv`` reads Kaggle's form, and
``garments`` draws its own.
"""

import gzip
import hashlib
import http.client
import math
import os
import struct
import urllib.request
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vae_helpers import garments as drawing
from vae_helpers.errors import DataError
from vae_helpers.files import write_atomically

FASHION_CLASSES = drawing.CLASSES
DIGIT_CLASSES = tuple("0123456789")
PARTS = {"train": "train", "test": "t10k"}
FASHION_SHAPE = (1, 28, 28)


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Images of one size, whole in memory, with or without labels.

    images: uint8 ``(N, C, H, W)``; labels: int64 ``(N,)``, indices into ``classes``, or None;
    factors: what the images were drawn from, float64 ``(N, F)``, where that is known.

    Indexing gives pixels scaled to [0, 1], the range of the Bernoulli likelihood's mean:
    ``dataset[7]`` is ``(image (C, H, W), label)``, so a PyTorch ``DataLoader`` can read it;
    ``dataset[index_tensor]`` is a batch ``(images (B, C, H, W), labels (B,))``. Without labels,
    None stands in their place. Raises DataError for tensors that do not fit together.
    """

    images: Tensor
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    name: str = "images"
    factors: Tensor | None = None

    def __post_init__(self):
        shape, labels = tuple(self.images.shape), self.labels
        if self.images.dtype != torch.uint8 or len(shape) != 4 or 0 in shape[1:]:
            raise DataError(
                f"{self.name}: images are {self.images.dtype} {shape}; give uint8 of shape "
                "(N, C, H, W), or an array to from_array"
            )
        if labels is None or labels.is_meta:  # on "meta" there is nothing but shapes
            return
        if labels.dtype != torch.int64 or labels.shape != shape[:1]:
            raise DataError(
                f"{self.name}: labels are {labels.dtype} {tuple(labels.shape)} for {shape[0]} "
                "images; give one int64 number an image"
            )
        wrong = labels[(labels < 0) | (labels >= len(self.classes))]
        if len(wrong):
            raise DataError(
                f"{self.name}: label {int(wrong[0])} is outside 0–{len(self.classes) - 1}; "
                "correct it, or name all classes"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index) -> tuple[Tensor, Tensor | int | None]:
        # [0, 1] because pixels are read as probabilities of a Bernoulli.
        images = self.images[index].float().div_(255)
        labels = None if self.labels is None else self.labels[index]
        return images, int(labels) if labels is not None and labels.ndim == 0 else labels

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        return tuple(self.images.shape[1:])

    @property
    def device(self) -> torch.device:
        return self.images.device

    @cached_property
    def digest(self) -> str:
        """Sixteen hex digits that change when any pixel, label or class name does, or the size."""
        sha = hashlib.sha256(",".join(self.classes).encode())
        if self.shape != FASHION_SHAPE:  # whose digests, in old checkpoints, do not say the size
            sha.update(repr(self.shape).encode())
        sha.update(self.images.cpu().numpy().tobytes())
        sha.update(b"none" if self.labels is None else self.labels.cpu().numpy().tobytes())
        return sha.hexdigest()[:16]

    def subset(self, index: Tensor | Sequence[int] | slice | int, name: str | None = None):
        """The images at ``index`` (positions, a slice or a mask), in that order."""
        if not isinstance(index, slice):
            index = torch.atleast_1d(torch.as_tensor(index))
            index = index if len(index) else index.long()  # an empty list has no type of its own
        return replace(
            self,
            images=_at(index, self.images),
            labels=_at(index, self.labels),
            factors=_at(index, self.factors),
            name=name or self.name,
        )

    def only(self, classes: Sequence[str | int]):
        """The images of these classes (names or indices), in their old order and labels.

        Raises DataError for a class that does not exist or a choice that keeps nothing.
        """
        labels, wanted = self.known_labels(), []
        for one in classes:
            if one in self.classes:
                wanted.append(self.classes.index(one))
            elif isinstance(one, Integral) and 0 <= one < len(self.classes):
                wanted.append(one)
            else:
                raise DataError(f"{self.name}: no class {one!r}; choose from {self.classes}")
        keep = torch.isin(labels, torch.tensor(wanted, dtype=torch.int64, device=self.device))
        if not keep.any():
            raise DataError(
                f"{self.name}: no image is left for the classes {list(classes)}; name at least "
                f"one of {self.classes} that occurs here"
            )
        return self.subset(keep, f"{self.name}, {len(wanted)} classes")

    def balanced(self, count: int, seed: int):
        """``count`` random images, as many of each class that occurs here.

        Raises DataError where count is no multiple of these classes, or one of them has too few.
        """
        labels = self.known_labels()
        present, sizes = labels.unique(return_counts=True)
        each, rest = divmod(count, max(1, len(present)))
        most = int(sizes.min()) if len(present) else 0
        if rest or not 0 < each <= most:
            raise DataError(
                f"{self.name}: cannot take {count} images, as many of each of the {len(present)} "
                f"classes here; give a multiple of {len(present)} up to {most * len(present)}"
            )
        order = self._shuffled(seed)
        parts = [order[labels[order] == label][:each] for label in present]
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
        order = self._shuffled(seed)
        return (
            self.subset(order[:count], f"{self.name}, {100 * fraction:g} %"),
            self.subset(order[count:], f"{self.name}, other {100 * (1 - fraction):g} %"),
        )

    def batches(
        self, size: int, order: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
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
        """The same images and labels on another device.

        Factors stay on the CPU: no training needs them, and MPS has no float64.
        """
        labels = None if self.labels is None else self.labels.to(device)
        return replace(self, images=self.images.to(device), labels=labels)

    def known_labels(self) -> Tensor:
        """The labels. Raises DataError where there are none."""
        if self.labels is None:
            raise DataError(f"{self.name}: these images have no labels; give them with the images")
        return self.labels

    def _shuffled(self, seed: int) -> Tensor:
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        return order.to(self.device)


def _at(index: Tensor | slice, values: Tensor | None) -> Tensor | None:
    if values is None:
        return None
    return values[index if isinstance(index, slice) else index.to(values.device)]


def from_array(
    pixels: np.ndarray,
    labels: Sequence[int] | None = None,
    classes: Sequence[str] | None = None,
    name: str = "images",
) -> ImageDataset:
    """Images from an array ``(N, H, W)``, grey, or ``(N, H, W, C)``; uint8, or floats in [0, 1].

    labels: ``(N,)`` whole numbers from 0. classes: their names, by default the numbers themselves.
    Raises DataError for another shape or type, or pixels out of range.
    """
    pixels = np.asarray(pixels)
    pixels = pixels[..., None] if pixels.ndim == 3 else pixels
    if pixels.ndim != 4 or (pixels.shape[1] in (1, 3) and pixels.shape[3] not in (1, 3)):
        raise DataError(
            f"{name}: an array of shape {pixels.shape}; give (N, H, W), or (N, H, W, C) with the "
            "channels last, by pixels.transpose(0, 2, 3, 1)"
        )
    if pixels.dtype.kind == "f":
        if not ((pixels >= 0) & (pixels <= 1)).all():  # false for NaN, too
            raise DataError(f"{name}: pixels from {pixels.min()} to {pixels.max()}; give [0, 1]")
        pixels = np.rint(255 * pixels.astype(np.float32)).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise DataError(f"{name}: pixels are {pixels.dtype}; give uint8, or floats in [0, 1]")
    if labels is not None:
        labels = np.asarray(labels)
        if labels.dtype.kind not in "iu":
            raise DataError(f"{name}: labels are {labels.dtype}; give whole numbers from 0")
        if classes is None:
            classes = map(str, range(int(labels.max(initial=-1)) + 1))
        labels = torch.from_numpy(labels.astype(np.int64))
    # A copy: who changes their array later does not change the dataset.
    images = torch.from_numpy(np.array(pixels.transpose(0, 3, 1, 2), order="C"))
    return ImageDataset(images, labels, tuple(classes or ()), name)


def garments(n: int, seed: int = 0) -> ImageDataset:
    """``n`` drawn garments with the factors they were drawn from (``garments.FACTORS``)."""
    factors = drawing.sample_factors(n, seed)
    drawn = from_array(
        drawing.draw(factors),
        labels=factors[:, 0].astype(np.int64),
        classes=FASHION_CLASSES,
        name=f"garments ({n}, seed {seed})",
    )
    return replace(drawn, factors=torch.from_numpy(factors))


def fashion_mnist(split: str, folder: Path | str, download: bool = False) -> ImageDataset:
    """Fashion-MNIST (Xiao et al. 2017): 60,000 ``train`` or 10,000 ``test`` images.

    folder: holds ``FashionMNIST/raw/*.gz``, as torchvision has it; download: fetch them into it,
    where they are missing. Raises DataError for files that are missing or damaged.
    """
    return _read("FashionMNIST", FASHION_CLASSES, split, folder, download)


def mnist(split: str, folder: Path | str, download: bool = False) -> ImageDataset:
    """MNIST (LeCun et al. 1998): 60,000 ``train`` or 10,000 ``test`` digits, found likewise."""
    return _read("MNIST", DIGIT_CLASSES, split, folder, download)


# --- CSV ---------------------------------------------------------------------------------------


def from_csv(
    path: Path | str,
    classes: tuple[str, ...] = FASHION_CLASSES,
    shape: tuple[int, int, int] = FASHION_SHAPE,
) -> ImageDataset:
    """Read Kaggle's form: a header, then ``label, pixel1 … pixel784`` a row; plain or zipped.

    shape: channels, height and width of the pixels in a row. Raises DataError, naming file, row
    and column, for anything else.
    """
    import pandas as pd  # heavy, and only this reader wants it

    path, columns = Path(path), _columns(shape)
    try:
        with warnings.catch_warnings():
            # Of rows longer than the header pandas would drop a value, with no more than this.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(path, index_col=False)
    except Exception as error:  # the parser and each kind of archive raise errors of their own
        raise DataError(f"{path}: not a readable CSV ({error}); fetch the file again") from error
    if list(table.columns) != columns or table.empty:
        raise DataError(
            f"{path}: {len(table)} rows of {table.shape[1]} columns beginning with "
            f"{str(table.columns[0])!r}; expected {len(columns)}: label, pixel1 … {columns[-1]}"
        )
    text = table.select_dtypes(exclude="number").astype(str)  # True is no number, either
    numbers = table.assign(**text.apply(pd.to_numeric, errors="coerce")).to_numpy(float)
    top = np.array([len(classes) - 1] + [255] * math.prod(shape))
    wrong = np.argwhere(~((numbers >= 0) & (numbers <= top) & (numbers == np.floor(numbers))))
    if len(wrong):
        row, column = wrong[0]
        raise DataError(
            f"{path}: row {row + 1}, column {columns[column]!r} holds "
            f"{str(table.iloc[row, column])!r}; expected a whole number from 0 to {top[column]}: "
            "correct or remove that row"
        )
    images = torch.from_numpy(numbers[:, 1:].astype(np.uint8)).view(-1, *shape)
    labels = torch.from_numpy(numbers[:, 0].astype(np.int64))
    return ImageDataset(images, labels, classes, path.name)


def to_csv(dataset: ImageDataset, path: Path | str) -> None:
    """Write Kaggle's form, which ``from_csv`` reads back; zipped when the path ends in .zip."""
    import pandas as pd

    values = torch.cat([dataset.known_labels()[:, None], dataset.images.flatten(1)], dim=1)
    table = pd.DataFrame(values.cpu().numpy(), columns=_columns(dataset.shape))
    table.to_csv(path, index=False)


def _columns(shape: tuple[int, ...]) -> list[str]:
    return ["label", *(f"pixel{i}" for i in range(1, math.prod(shape) + 1))]


# --- IDX files: where they are, how they get here, what they must look like ---------------------

# As torchvision has them; held here, too, because importing it takes longer than reading the data.
# A test compares the two.
MIRRORS = {
    "FashionMNIST": ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    "MNIST": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "http://yann.lecun.com/exdb/mnist/",
    ),
}
CHECKSUMS = {
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


def find(name: str, folders: Iterable[Path | str]) -> Path | None:
    """The first ``folder/name/raw`` that holds all four files, or None. Downloads nothing.

    name: ``FashionMNIST`` or ``MNIST``, as torchvision has it.
    """
    for raw in (Path(folder, name, "raw") for folder in folders):
        if all(os.path.isfile(raw / file) for file in CHECKSUMS[name]):  # False if forbidden
            return raw
    return None


def obtain(name: str, folder: Path | str, timeout: float = 20) -> Path:
    """``folder/name/raw`` with the four files, downloaded from torchvision's mirrors if need be.

    A download lands whole and checked or not at all, so an interrupted one is simply run again.
    timeout: seconds without an answer before a mirror counts as unreachable. Raises DataError that
    lists what was looked for, and where, when no source can be reached.
    """
    raw, failures = Path(folder, name, "raw"), []
    for file, md5 in CHECKSUMS[name].items():
        if os.path.isfile(raw / file):
            continue
        for mirror in MIRRORS[name]:
            try:
                with urllib.request.urlopen(mirror + file, timeout=timeout) as answer:
                    content = answer.read()
                if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
                    raise OSError("sent another file than the published one")
                write_atomically(raw / file, content)
                break
            except (OSError, http.client.HTTPException) as error:
                failures.append(f"{mirror}{file} ({str(error).strip()})")
        else:
            raise DataError(f"{_absent(name, raw)} tried to download: {'; '.join(failures)}.")
    return raw


def _absent(name: str, raw: Path) -> str:
    return (
        f"{name} is not here: looked for {', '.join(CHECKSUMS[name])} in {raw}; put the four files "
        "there, or name a folder that has them;"
    )


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
    # Its head: two zeros, 8 for bytes, the number of axes, and as many sizes of four bytes.
    axes = raw[3] if raw[:3] == b"\0\0\x08" and len(raw) > 3 else 0
    if axes not in (1, 3) or len(raw) < 4 + 4 * axes:
        raise DataError(f"{path}: begins with {raw[:4].hex()}, not as IDX bytes do; {remedy}")
    shape, content = struct.unpack(f">{axes}I", raw[4 : 4 + 4 * axes]), raw[4 + 4 * axes :]
    if len(content) != math.prod(shape):
        raise DataError(
            f"{path}: {len(content)} bytes of data, but its header says {shape}; {remedy}"
        )
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def _read(
    name: str, classes: tuple[str, ...], split: str, folder: Path | str, download: bool
) -> ImageDataset:
    if split not in PARTS:
        raise DataError(f"split {split!r}; choose 'train' or 'test'")
    raw = obtain(name, folder) if download else find(name, [folder])
    if raw is None:
        raise DataError(f"{_absent(name, Path(folder, name, 'raw'))} or give download=True.")
    images, labels = (
        read_idx(raw / file, md5)
        for file, md5 in CHECKSUMS[name].items()
        if file.startswith(PARTS[split])
    )
    return from_array(images, labels, classes, f"{name} {split}")
