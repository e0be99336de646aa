"""Grids of pictures ``(N, C, H, W)``, grey or RGB: bytes, or numbers in [0, 1]."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from vae_helpers.figures.style import WIDTH, panel, panels, styled


def pixels(pictures: Tensor | np.ndarray) -> np.ndarray:
    """Pictures ``(N, C, H, W)`` in [0, 1] with their channels last, ``(N, H, W, 3)``, or none.

    Raises ValueError for other than one or three channels, and for values that are no pixels.
    """
    found = torch.as_tensor(pictures).detach().cpu()
    if found.ndim != 4 or found.shape[1] not in (1, 3):
        raise ValueError(
            f"pictures of shape {tuple(found.shape)}; give (N, C, H, W) with C = 1, grey, or 3, RGB"
        )
    if found.dtype == torch.uint8:
        found = found / 255
    if not found.is_floating_point() or not ((found >= 0) & (found <= 1)).all():
        raise ValueError(
            f"pixels of type {found.dtype} from {found.min():g} to {found.max():g}; "
            "give bytes, or floating-point numbers in [0, 1]"
        )
    return np.asarray(found.double()[:, 0] if found.shape[1] == 1 else found.double().movedim(1, 3))


def mosaic(images: np.ndarray, columns: int, gap: int = 1) -> np.ndarray:
    """Pictures as ``pixels`` gives them, as one with white lines between them."""
    rows, (height, width) = -(-len(images) // columns), images.shape[1:3]
    down, across = height + gap, width + gap
    whole = np.ones((rows * down - gap, columns * across - gap, *images.shape[3:]))
    for i, image in enumerate(images):
        y, x = down * (i // columns), across * (i % columns)
        whole[y : y + height, x : x + width] = image
    return whole


def show_picture(ax: Axes, picture: np.ndarray, **options) -> None:
    """Draw one picture, ``(H, W)`` or ``(H, W, 3)``, without a frame."""
    ax.imshow(picture, **({"vmin": 0, "vmax": 1, "interpolation": "nearest"} | options))
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _ratio(pictures: Tensor | np.ndarray) -> float:
    """How many times as high as wide pictures are."""
    return pictures.shape[-2] / pictures.shape[-1]


@styled
def image_grid(
    images: Tensor | Mapping[str, Tensor],
    names: Sequence[str],
    columns: int = 5,
    heat: Sequence[str] = (),
) -> Figure:
    """Pictures in rows of ``columns``, their names below; or, by name, several kinds of pictures.

    heat: kinds that are no pictures but numbers from 0 on, drawn as heat maps of their means over
    channels, on one scale. What is NaN is left white.
    """
    kinds = images if isinstance(images, Mapping) else {"": images}
    groups, ratio = -(-len(names) // columns), _ratio(next(iter(kinds.values())))
    height = 0.3 + groups * (0.2 + 1.4 * len(kinds) * ratio)
    figure, axes = panels(groups * len(kinds), columns, height)
    for ax in axes.flat:
        ax.set_visible(False)
    for k, (kind, values) in enumerate(kinds.items()):
        shown, options = np.asarray(values), {}
        if kind in heat:
            shown = shown.mean(1)
            options = {"vmax": np.nanmax(shown), "cmap": "magma"}
        else:
            shown = pixels(np.nan_to_num(shown, nan=1))
        for i, (image, name) in enumerate(zip(shown, names, strict=True)):
            ax = axes[i // columns * len(kinds) + k, i % columns]
            ax.set_visible(True)
            show_picture(ax, image, **options)
            ax.set_xlabel(name if k == len(kinds) - 1 else "")
            ax.set_ylabel("" if i % columns or len(kinds) == 1 else kind)
    if len(kinds) == len(heat):  # nothing else says what a colour means
        figure.colorbar(axes[0, 0].images[0], ax=axes, label=heat[0], shrink=0.8)
    return figure


@styled
def picture_grid(
    pictures: Tensor | Mapping[str, Tensor], columns: int = 16, across: int = 1
) -> Figure:
    """Many pictures, left to right and top down; or blocks of them, each with its name above it.

    across: so many blocks stand beside each other.
    """
    blocks = pictures if isinstance(pictures, Mapping) else {"": pictures}
    first = next(iter(blocks.values()))
    width = (WIDTH - 0.2 - 0.4 * (across - 1)) / across
    height = -(-len(first) // columns) * width / columns * _ratio(first) + 0.3 * (len(blocks) > 1)
    down = -(-len(blocks) // across)
    figure, axes = panels(down, across, height=0.3 + down * height)
    for ax, (name, images) in zip(axes.flat, blocks.items(), strict=True):
        show_picture(ax, mosaic(pixels(images), columns))
        ax.set_title(name, loc="left", size="medium", pad=3)
    return figure


@styled
def picture_rows(rows: Mapping[str, Tensor], columns: Sequence[str] = ()) -> Figure:
    """Rows of N pictures, each with its name, under the names of N columns, or of equal parts."""
    images = [pixels(row) for row in rows.values()]
    if len({row.shape for row in images}) > 1:
        raise ValueError(f"rows of pictures of shapes {[tuple(r.shape) for r in rows.values()]}")
    (height, width), parts = images[0].shape[1:3], len(columns) or 1
    each = len(images[0]) // parts
    gap, look = 1, {"size": 8, "rotation": 30, "ha": "left"}
    if each > 1:
        gap, look = width // 2, {"size": "medium"}
    split = zip(*(np.split(row, parts) for row in images), strict=True)
    blocks = [mosaic(np.concatenate(block), each) for block in split]
    white = np.ones_like(blocks[0][:, :1]).repeat(gap, axis=1)
    whole = np.concatenate([piece for block in blocks for piece in (white, block)], axis=1)
    room = 6.0 * len(rows) / len(images[0]) * height / width
    figure, ax = panel(0.3 + 0.6 * bool(columns) + room)
    show_picture(ax, whole[:, gap:])
    ax.xaxis.tick_top()
    span = each * (width + 1) - 1
    ax.set_xticks((span + gap) * np.arange(len(columns)) + (span - 1) / 2, columns, **look)
    ax.set_yticks((height + 1) * (np.arange(len(rows)) + 0.5) - 1, rows, size=9 if columns else 11)
    ax.tick_params(length=0)
    return figure


@styled
def manifold(images: Tensor) -> Figure:
    """The decoded grid of ``latent.manifold``, ``(columns², C, H, W)``."""
    columns, (height, width) = round(len(images) ** 0.5), images.shape[-2:]
    figure, ax = panel(7.0 * _ratio(images))
    show_picture(ax, mosaic(pixels(images), columns, gap=0))
    at = np.array([0.5, columns / 2, columns - 0.5])
    shares = [f"{100 * share / columns:.0f} %" for share in at]
    ax.set(xticks=width * at, xticklabels=shares, yticks=height * at, yticklabels=shares[::-1])
    ax.set(xlabel="first latent dimension, quantile of the prior")
    ax.set(ylabel="second latent dimension, quantile of the prior")
    return figure
