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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
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

    images: uint8 ``(N, C, H, W)``; labels: int64 ``(N,)``, indices into ``classes``, or None.

    Indexing gives pixels scaled to [0, 1], the range of the Bernoulli likelihood's mean:
    ``dataset[7]`` is ``(image (C, H, W), label)``, so a PyTorch ``DataLoader`` can read it;
    ``dataset[index_tensor]`` is a batch ``(images (B, C, H, W), labels (B,))``. Without labels,
    None stands in their place. Raises DataError for tensors that do not fit together.
    """

    images: Tensor
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    name: str = "images"

    def __post_init__(self):
        images, kind, shape = self.images, *_kind(self.images)
        if kind != torch.uint8 or len(shape) != 4 or 0 in shape[1:]:
            raise DataError(
                f"{self.name}: images are {kind} {shape}; give a tensor of uint8 (N, C, H, W), or "
                "an array to from_array"
            )
        if self.labels is not None:
            checked_labels(self.labels, len(images), len(self.classes), f"{self.name}: ")

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
            index = index.to(self.images.device)
        labels = None if self.labels is None else self.labels[index]
        return replace(self, images=self.images[index], labels=labels, name=name or self.name)

    def only(self, classes: Sequence[str]):
        """The images of these classes, in their old order and with their old labels.

        Raises DataError for a class that does not exist or a choice that keeps nothing.
        """
        for one in classes:
            if one not in self.classes:
                raise DataError(f"{self.name}: no class {one!r}; choose from {self.classes}")
        wanted = torch.tensor([self.classes.index(one) for one in classes], dtype=torch.int64)
        keep = torch.isin(self.known_labels().cpu(), wanted)
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
        """The same images and labels on another device."""
        labels = None if self.labels is None else self.labels.to(device)
        return replace(self, images=self.images.to(device), labels=labels)

    def known_labels(self) -> Tensor:
        """The labels. Raises DataError where there are none."""
        if self.labels is None:
            raise DataError(f"{self.name}: these images have no labels; give them with the images")
        return self.labels

    def _shuffled(self, seed: int) -> Tensor:
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        return order.to(self.images.device)


def checked_images(images: Tensor | np.ndarray, shape: Sequence[int] = ()) -> Tensor:
    """Images as floating-point numbers in [0, 1], where they lie; bytes are scaled.

    Raises DataError for values that are no pixels, and for others than ``shape`` or, without one,
    ``(N, C, H, W)``. All that takes images asks.
    """
    pixels = torch.as_tensor(images)
    if pixels.shape != shape if shape else pixels.ndim != 4 or not len(pixels):
        wanted = tuple(shape) or "(N, C, H, W) with N > 0"
        raise DataError(f"images of shape {tuple(pixels.shape)}; give {wanted}")
    if pixels.dtype == torch.uint8:
        return pixels / 255
    if not pixels.is_floating_point() or not _within(pixels, 1):
        raise DataError(
            f"pixels of type {pixels.dtype} from {pixels.min():g} to {pixels.max():g}; "
            "give bytes, or floating-point numbers in [0, 1]"
        )
    return pixels


def checked_labels(labels: Tensor, count: int, classes: int = 2**31, name: str = "") -> Tensor:
    """The labels of ``count`` images, from 0 to classes − 1. Raises DataError for any others."""
    kind, shape = _kind(labels)
    if kind != torch.int64 or shape != (count,):
        found = f"{name}labels are {kind} {shape} for {count} images"
        raise DataError(f"{found}; give a tensor of one int64 number an image, (N,)")
    if not _within(labels, classes - 1):
        found = f"{name}label {int(labels[(labels < 0) | (labels >= classes)][0])}"
        raise DataError(f"{found} is outside 0–{classes - 1}; correct it, or name all classes")
    return labels


def checked_data(data: ImageDataset) -> ImageDataset:
    """The dataset. Raises DataError for anything else, as a tensor."""
    if not isinstance(data, ImageDataset):
        raise DataError(f"data are of {type(data)}; give an ImageDataset, as from_array makes one")
    return data


def _kind(values) -> tuple:
    """The type and shape of a tensor, or of what else was given in its place."""
    return getattr(values, "dtype", type(values)), tuple(getattr(values, "shape", ()))


def _within(values: Tensor, most: int) -> bool:
    """Whether all lie from 0 to ``most``. A GPU that trains is not asked: each step would wait."""
    trains = values.device.type != "cpu" and torch.is_grad_enabled()
    return values.is_meta or trains or bool(((values >= 0) & (values <= most)).all())


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
    if pixels.dtype != np.uint8:
        pixels = (255 * checked_images(pixels, pixels.shape).float()).round().byte().numpy()
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
    """``n`` garments, drawn from the factors that ``garments.sample_factors(n, seed)`` gives."""
    factors = drawing.sample_factors(n, seed)
    labels, name = factors[:, 0].astype(np.int64), f"garments ({n}, seed {seed})"
    return from_array(drawing.draw(factors), labels, FASHION_CLASSES, name)


def fashion_mnist(split: str, folder: Path | str) -> ImageDataset:
    """Fashion-MNIST (Xiao et al. 2017): 60,000 ``train`` or 10,000 ``test`` images.

    folder: holds ``FashionMNIST/raw/*.gz``, as torchvision has it, and as ``obtain`` fetches them.
    Raises DataError for files that are missing or damaged.
    """
    return _read("FashionMNIST", FASHION_CLASSES, split, folder)


def mnist(split: str, folder: Path | str) -> ImageDataset:
    """MNIST (LeCun et al. 1998): 60,000 ``train`` or 10,000 ``test`` digits, found likewise."""
    return _read("MNIST", DIGIT_CLASSES, split, folder)


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

    columns = ["label", *(f"pixel{i}" for i in range(1, math.prod(shape) + 1))]
    try:
        # Of rows longer than the header pandas would drop a value, with no more than a warning.
        with warnings.catch_warnings(action="error", category=pd.errors.ParserWarning):
            table = pd.read_csv(path, index_col=False)
    except Exception as error:  # the parser and each kind of archive raise errors of their own
        raise DataError(
            f"{path}: not a readable CSV ({error!s:.200}); name one file, in UTF-8, unpacked where "
            "an archive has several, or fetch it again"
        ) from error
    names = list(map(str, table.columns))
    if names != columns or table.empty:
        pairs = enumerate(zip_longest(names, columns, fillvalue="nothing"), 1)
        odd = [f"column {i} is {a!r:.30}, not {b!r}" for i, (a, b) in pairs if a != b]
        odd = [f"{mark!r} stands between them" for mark in ";\t|" if mark in names[0]] + odd
        raise DataError(
            f"{path}: {len(table)} rows of {len(names)} columns; expected {len(columns)}, label, "
            f"pixel1 … {columns[-1]}, with commas between them: {[*odd, 'there are no rows'][0]}"
        )
    text = table.select_dtypes(exclude="number").astype(str)  # True is no number, either
    numbers = table.assign(**text.apply(pd.to_numeric, errors="coerce")).to_numpy(float)
    top = np.array([len(classes) - 1] + [255] * math.prod(shape))
    wrong = np.argwhere(numbers != np.rint(numbers).clip(0, top))  # NaN is, too
    if len(wrong):
        row, column = wrong[0]
        raise DataError(
            f"{path}: row {row + 1}, column {columns[column]!r} holds "
            f"'{table.iat[row, column]!s:.40}'; expected a whole number from 0 to {top[column]}: "
            "correct it or leave that row out"
        )
    labels, pixels = numbers[:, 0].astype(np.int64), numbers[:, 1:].astype(np.uint8)
    if pixels.max() <= 1:
        warnings.warn(f"{path}: nearly black; multiply pixels of 0 and 1 by 255", stacklevel=2)
    images = torch.from_numpy(pixels).view(-1, *shape)
    return ImageDataset(images, torch.from_numpy(labels), classes, Path(path).name)


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
            raise DataError(
                f"{name} is not here: looked for {', '.join(CHECKSUMS[name])} in {raw}; put the "
                "four files there, or name a folder that has them; tried to download: "
                f"{'; '.join(failures)}."
            )
    return raw


def read_idx(path: Path, md5: str) -> np.ndarray:
    """Read one gzipped IDX file of bytes as uint8, ``(N,)`` or ``(N, rows, columns)``.

    md5: the file's published checksum. Raises DataError for a file that is missing or another one.
    """
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); put it there, name the folder that has "
            "it, or let data.obtain fetch it"
        ) from error
    if hashlib.md5(packed, usedforsecurity=False).hexdigest() != md5:
        raise DataError(
            f"{path}: MD5 differs from the published {md5}; move it away and fetch it again"
        )
    raw = gzip.decompress(packed)
    # Its head: two zeros, 8 for bytes, the number of axes, and as many sizes of four bytes.
    axes = raw[3]
    shape = struct.unpack(f">{axes}I", raw[4 : 4 + 4 * axes])
    return np.frombuffer(raw, dtype=np.uint8, offset=4 + 4 * axes).reshape(shape)


def _read(name: str, classes: tuple[str, ...], split: str, folder: Path | str) -> ImageDataset:
    if split not in PARTS:
        raise DataError(f"split {split!r}; choose 'train' or 'test'")
    images, labels = (
        read_idx(Path(folder, name, "raw", file), md5)
        for file, md5 in CHECKSUMS[name].items()
        if file.startswith(PARTS[split])
    )
    return from_array(images, labels, classes, f"{name} {split}")
