"""Films of a latent space, as GIFs that a phone can show: while it is learned, and along it.

A film is one matplotlib figure. It is laid out once; then, frame by frame, its points, pictures
and words are changed in place, and its canvas is photographed.
"""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from PIL import Image
from torch import Tensor

from vae_helpers import latent
from vae_helpers.data import ImageDataset, checked_labels
from vae_helpers.figures.pictures import mosaic, pixels, show_picture
from vae_helpers.figures.style import COLORS, MARKERS, panels, style
from vae_helpers.files import write_atomically
from vae_helpers.models import VAE

FRAME, LAST_FRAME = 90, 3_500  # milliseconds
PALETTE = 224  # colours of a film: enough for greys beside the colours of classes
REACH = 3.0  # standard deviations of the aggregate posterior that a walk goes, either way
WALK = 40  # frames, there and back
COLUMNS = 5  # pictures of a walk beside each other


@dataclass(frozen=True)
class TrainingFilm:
    """A training, frame by frame: where two latent dimensions lay, and what became of images.

    epochs ``(F,)``: how far it was by then. positions ``(F, N, 2)``: codes of the same N images.
    labels ``(N,)``: their classes, as indices of ``classes``.
    losses ``(F, 3)``: their mean total, reconstruction and KL in nats.
    originals ``(K, C, H, W)`` and reconstructions ``(F, K, C, H, W)``: pictures as in ``figures``.
    """

    epochs: Tensor
    positions: Tensor
    labels: Tensor
    classes: Sequence[str]
    losses: Tensor
    originals: Tensor
    reconstructions: Tensor
    beta: float = 1.0


@style()
def training_film(
    films: Sequence[TrainingFilm], signature: str = "", mark: str = ""
) -> list[np.ndarray]:
    """Every frame ``(H, W, 3)`` of one training, or of several side by side on common axes.

    The axes hold every code from the end of the first epoch on; earlier ones that lie beyond them
    are drawn at their edge. signature: small, at the bottom. mark: in large letters across.
    """
    # Within the first epoch codes stray far out; the axes are made for what comes after it.
    reach = 1.1 * max(float(film.positions[film.epochs >= 1].abs().max()) for film in films)
    inches, columns = (4.8, 8) if len(films) == 1 else (2.4, 4)
    count, height, width = pixels(films[0].originals).shape[:3]
    columns = min(columns, count)
    share = 2 * height / (columns * width)  # of two rows of pictures: height over width
    figure, axes = panels(2, len(films), inches * (1 + share) + 1.2, height_ratios=(1, share))
    figure.set(figwidth=inches * len(films))
    for film, (plane, strip) in zip(films, axes.T, strict=True):
        checked_labels(film.labels, film.positions.shape[1], len(film.classes))
        for which, name in enumerate(film.classes):
            look = {"color": COLORS[which % 10], "marker": MARKERS[which % 10], "alpha": 0.7}
            plane.scatter([], [], s=18, linewidths=0, clip_on=False, label=name, **look)
        plane.add_patch(Circle((0, 0), 2, fill=False, ls="--", color="0.55"))
        plane.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        plane.locator_params(nbins=4)
        plane.tick_params(labelleft=plane is axes[0, 0])
        strip.set_title("test images, reconstructions", loc="left", size=9, pad=3)
    names = axes[0, 0].get_legend_handles_labels()
    figure.legend(*names, loc="outside upper center", ncols=3, handletextpad=0)

    def show(i: int) -> None:
        for film, (plane, strip) in zip(films, axes.T, strict=True):
            codes = film.positions[i].clip(-reach, reach)
            for which, points in enumerate(plane.collections):
                points.set_offsets(codes[film.labels == which])
            total, reconstruction, kl = film.losses[i].tolist()
            sums = f"total {total:.1f} nats\n= {reconstruction:.1f} + {film.beta:g} × {kl:.1f}"
            plane.set_title(f"β = {film.beta:g} · epoch {film.epochs[i]:.1f}\n{sums}", loc="left")
            both = [pixels(one[:columns]) for one in (film.originals, film.reconstructions[i])]
            show_picture(strip, mosaic(np.concatenate(both), columns))

    return _photographs(figure, show, len(films[0].epochs), signature, mark)


@style()
def walk_film(
    model: VAE, images: ImageDataset, title: str = "", signature: str = "", mark: str = ""
) -> list[np.ndarray]:
    """Frames ``(H, W, 3)`` of walks along every latent dimension at once, a picture for each.

    From the mean of the aggregate posterior of ``images`` to one end, to the other, and to the
    first again. Dimensions stand in the order of their mean KL, with it. Rest: ``training_film``.
    """
    dimensions, kl = latent.by_kl(model, images)
    codes = latent.aggregate(model, images)
    middle, steps = codes.mean(0), torch.diag(codes.std(0))[dimensions]
    turns = torch.linspace(0, 2 * math.pi * (1 + 1 / 4), WALK)  # ends at the far end, +REACH
    (height, width), rows = images.images.shape[2:], -(-len(kl) // COLUMNS)
    figure, axes = panels(rows, COLUMNS, 0.5 + rows * (0.2 + height / width))
    figure.set(figwidth=COLUMNS)
    for ax in axes.flat[len(kl) :]:
        ax.set_visible(False)
    for ax, dimension, nats in zip(axes.flat, dimensions, kl, strict=False):
        ax.set_title(f"z{dimension}: {nats:.2f} nats", size=8, pad=3)
    words = figure.suptitle(title, x=0.01, ha="left", size=13)

    def show(i: int) -> None:
        sigmas = REACH * float(turns[i].sin())
        words.set_text(f"{title}    {sigmas:+.1f} σ")
        pictures = latent.decode(model, middle + sigmas * steps)
        for picture, ax in zip(pixels(pictures), axes.flat, strict=False):
            show_picture(ax, picture)

    return _photographs(figure, show, WALK, signature, mark)


def _photographs(
    figure: Figure, show: Callable[[int], None], count: int, signature: str, mark: str
) -> list[np.ndarray]:
    """The figure as bytes ``(H, W, 3)`` after each of ``show(0)``, …, ``show(count - 1)``."""
    small = {"size": 7, "color": "0.45", "parse_math": False}
    figure.text(0.995, 0.005, signature, ha="right", va="bottom", **small)
    figure.text(0.5, 0.5, mark, ha="center", va="center", size=30, color="crimson")
    canvas, frames = FigureCanvasAgg(figure), []
    for i in range(count):
        show(i)
        if i == 0:
            figure.draw_without_rendering()
            figure.set_layout_engine("none")  # what has found its place keeps it
        canvas.draw()
        frames.append(np.array(canvas.buffer_rgba())[:, :, :3])
    return frames


def write_gif(path: Path, frames: Sequence[np.ndarray], comment: str = "") -> None:
    """Write a GIF that loops and holds its last frame, and that frame as PNG; both atomically."""
    # As one tall picture all frames get the same palette: without it, colours would flicker.
    (height, width), tall = frames[0].shape[:2], Image.fromarray(np.concatenate(frames))
    tall = tall.quantize(PALETTE, Image.Quantize.MAXCOVERAGE)
    first, *rest = [tall.crop((0, y, width, y + height)) for y in range(0, tall.height, height)]
    durations = [FRAME] * len(rest) + [LAST_FRAME]
    options = {"duration": durations, "loop": 0, "comment": comment.encode(), "optimize": True}
    film, still = io.BytesIO(), io.BytesIO()
    first.save(film, "GIF", save_all=True, append_images=rest, **options)
    (rest or [first])[-1].save(still, "PNG", optimize=True)
    write_atomically(path, film.getvalue())
    write_atomically(path.with_suffix(".png"), still.getvalue())


def read_comment(path: Path) -> str:
    """What ``write_gif`` wrote as the comment of a GIF; an empty string where there is none."""
    with Image.open(path) as film:
        return film.info.get("comment", b"").decode()
