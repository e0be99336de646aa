"""Grids of pictures ``(N, C, H, W)``, grey or RGB: bytes, or numbers in [0, 1]."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from vae_helpers.data import checked_images
from vae_helpers.figures.style import WIDTH, panel, panels, styled


def pixels(pictures: Tensor | np.ndarray) -> np.ndarray:
    """Pictures ``(N, C, H, W)`` in [0, 1] with their channels last, ``(N, H, W, 3)``, or none.

    Raises ValueError for other than one or three channels, and for values that are no pixels.
    """
    found = checked_images(pictures).detach().cpu().double()
    if found.shape[1] not in (1, 3):
        raise ValueError(
            f"images of shape {tuple(found.shape)}; give (N, C, H, W) with C = 1, grey, or 3, RGB"
        )
    return np.asarray(found[:, 0] if found.shape[1] == 1 else found.movedim(1, 3))


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
    """Draw one picture, ``(H, W)`` or ``(H, W, 3)``, without a frame; or in another one's place."""
    if ax.images:
        ax.images[0].set_data(picture)
        return
    ax.imshow(picture, **({"vmin": 0, "vmax": 1, "interpolation": "nearest"} | options))
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)


@styled
def picture_grid(
    pictures: Tensor | Mapping[str, Tensor], columns: int = 16, across: int = 1
) -> Figure:
    """Many pictures, left to right and top down; or blocks of them, each with its name above it.

    across: so many blocks stand beside each other.
    """
    blocks = pictures if isinstance(pictures, Mapping) else {"": pictures}
    shown = [pixels(images) for images in blocks.values()]
    count, high, wide = shown[0].shape[:3]
    width = (WIDTH - 0.2 - 0.4 * (across - 1)) / across
    height = -(-count // columns) * width / columns * (high / wide) + 0.3 * (len(blocks) > 1)
    down = -(-len(blocks) // across)
    figure, axes = panels(down, across, height=0.3 + down * height)
    for ax, name, images in zip(axes.flat, blocks, shown, strict=True):
        show_picture(ax, mosaic(images, columns))
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
    """The decoded grid of ``latent.quantile_grid``, ``(columns², C, H, W)``."""
    images = pixels(images)
    columns, (height, width) = round(len(images) ** 0.5), images.shape[1:3]
    figure, ax = panel(7.0 * (height / width))
    show_picture(ax, mosaic(images, columns, gap=0))
    at = np.array([0.5, columns / 2, columns - 0.5])
    shares = [f"{100 * share / columns:.0f} %" for share in at]
    ax.set(xticks=width * at, xticklabels=shares, yticks=height * at, yticklabels=shares[::-1])
    ax.set(xlabel="first latent dimension, quantile of the prior")
    ax.set(ylabel="second latent dimension, quantile of the prior")
    return figure
