"""Films of a latent space, as GIFs that a phone can show: while it is learned, and along it.

Axes and captions are drawn once; each frame then stamps its points and pictures into a copy, which
is far faster than a figure per frame.
"""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from vae_helpers import latent
from vae_helpers.data import ImageDataset
from vae_helpers.figures.pictures import mosaic, pixels
from vae_helpers.figures.style import COLORS, drawable, style
from vae_helpers.files import write_atomically
from vae_helpers.models import VAE

FRAME, LAST_FRAME = 90, 3_500  # milliseconds
DPI = 100
HEADER = 72  # pixels above the axes, for two lines of text
MARGIN = 26  # pixels beside and below them, for ticks
SHAPES = ("circle", "square", "triangle")  # beside colour, so that colour is never the only code
POINT = 9  # pixels across a point
REACH = 3.0  # standard deviations of the aggregate posterior that a walk goes, either way
WALK = 40  # frames, there and back
TILE, GAP, COLUMNS = 84, 6, 5  # pixels across a picture of a walk and between two; pictures a row


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


def training_film(
    films: Sequence[TrainingFilm], signature: str = "", mark: str = ""
) -> list[np.ndarray]:
    """Every frame ``(H, W, 3)`` of one training, or of several side by side on common axes.

    The axes hold every code from the end of the first epoch on; earlier ones that lie beyond them
    are drawn at their edge. signature: small, at the bottom. mark: in large letters across.
    """
    # Within the first epoch codes stray far out; the axes are made for what comes after it.
    reach = 1.1 * max(float(film.positions[film.epochs >= 1].abs().max()) for film in films)
    width = 480 if len(films) == 1 else 240
    panels = [_panel(film, reach, width, signature, mark) for film in films]
    count = len(films[0].epochs)
    return [np.concatenate([panel(i) for panel in panels], axis=1) for i in range(count)]


def walk_film(
    model: VAE, images: ImageDataset, title: str = "", signature: str = "", mark: str = ""
) -> list[np.ndarray]:
    """Frames ``(H, W, 3)`` of walks along every latent dimension at once, a picture for each.

    From the mean of the aggregate posterior of ``images`` to one end, to the other, and to the
    first again. Dimensions stand in the order of their mean KL, with it. Rest: ``training_film``.
    """
    dimensions, kl = latent.by_kl(model, images)
    names = [f"z{int(i)}: {nats:.2f} nats" for i, nats in zip(dimensions, kl, strict=True)]
    codes = latent.aggregate(model, images)
    turns = torch.linspace(0, 2 * math.pi * (1 + 1 / 4), WALK)  # ends at the far end, +REACH
    frames = []
    for at in (REACH * torch.sin(turns)).tolist():
        latents = codes.mean(0) + at * torch.diag(codes.std(0))[dimensions]
        canvas = _tiles(latent.decode(model, latents), names, f"{title}    {at:+.1f} σ")
        corner = (canvas.width - 2, canvas.height - 1)
        _write(canvas, corner, drawable(signature), 9, 140, anchor="rd")
        frames.append(_marked(canvas, mark))
    return frames


def write_gif(path: Path, frames: Sequence[np.ndarray], comment: str = "", colors: int = 0) -> None:
    """Write a GIF that loops and holds its last frame, and that frame as PNG; both atomically.

    colors: 0 for a palette made of the frames, otherwise for one of greys and so many of
    ``figures.COLORS``, with which films of grey pictures take less.
    """
    some = Image.fromarray(np.concatenate(frames[:: -(len(frames) // 5 + 1)]))
    palette = _palette(colors) if colors else some.quantize(method=Image.Quantize.MAXCOVERAGE)
    made = [
        Image.fromarray(one).quantize(palette=palette, dither=Image.Dither.NONE) for one in frames
    ]
    durations = [FRAME] * (len(made) - 1) + [LAST_FRAME]
    options = {"duration": durations, "loop": 0, "comment": comment.encode(), "optimize": True}
    film, still = io.BytesIO(), io.BytesIO()
    made[0].save(film, "GIF", save_all=True, append_images=made[1:], **options)
    made[-1].save(still, "PNG", optimize=True)
    write_atomically(path, film.getvalue())
    write_atomically(path.with_suffix(".png"), still.getvalue())


def read_comment(path: Path) -> str:
    """What ``write_gif`` wrote as the comment of a GIF; an empty string where there is none."""
    with Image.open(path) as film:
        return film.info.get("comment", b"").decode()


def _palette(colors: int) -> Image.Image:
    # One for all films, so that colours do not flicker and regions that stay cost nothing: greys,
    # and each class's colour from faint to full.
    greys = np.array([*np.linspace(0, 235, 44), 255])[:, None].repeat(3, axis=1)
    strengths = np.linspace(0.12, 1, 12)[:, None]
    tones = [255 + strengths * (255 * np.array(color) - 255) for color in COLORS[:colors]]
    values = np.concatenate([greys, *tones, [(220, 20, 60)]]).round().astype(np.uint8)
    palette = Image.new("P", (1, 1))
    palette.putpalette(values.tobytes())
    return palette


# --- one training -------------------------------------------------------------------------------


def _panel(
    film: TrainingFilm, reach: float, width: int, signature: str, mark: str
) -> Callable[[int], np.ndarray]:
    """A function from a frame's number to its picture of this training, ``width`` pixels wide."""
    wide, shown = width > 300, min(8 if width > 300 else 4, len(film.originals))
    tall = round(width / shown * film.originals.shape[2] / film.originals.shape[3])
    strip = HEADER + width + 22  # where originals begin; reconstructions stand under them
    background = _background(film, reach, width, strip + 2 * tall + 16, strip, signature)
    background[strip : strip + tall] = _strip(film.originals[:shown], width, tall)
    # The axes' left and lowest pixel, and their length: up is less.
    inside = (film.positions.double().numpy().clip(-reach, reach) / reach + 1) / 2
    places = (MARGIN, strip - 22 - MARGIN) + inside * (width - MARGIN - 4) * (1, -1)

    def draw(i: int) -> np.ndarray:
        canvas = background.copy()
        for (x, y), label in zip(places[i], film.labels.tolist(), strict=True):
            _stamp(canvas, x, y, label)
        below = slice(strip + tall, strip + 2 * tall)
        canvas[below] = _strip(film.reconstructions[i, :shown], width, tall)
        picture, (total, reconstruction, kl) = Image.fromarray(canvas), film.losses[i].tolist()
        title = f"β = {film.beta:g} · epoch {film.epochs[i]:.1f}"
        terms = f"total {total:.0f} · KL {kl:.1f}"
        if wide:
            title += f" of {film.epochs[-1]:g}"
            terms = f"total {total:.1f} = {reconstruction:.1f} + {film.beta:g} × {kl:.1f} nats"
        _write(picture, (8, 6), title, 24 if wide else 20, 20)
        _write(picture, (8, 38), terms, 20 if wide else 16, 20)
        return _marked(picture, mark)

    return draw


def _background(
    film: TrainingFilm, reach: float, width: int, height: int, strip: int, signature: str
) -> np.ndarray:
    """What all frames share: axes, captions, and a legend within the axes."""
    wide, side = width > 300, width - MARGIN - 4
    with style():
        figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
        low = height - strip + 22 + MARGIN
        axes = figure.add_axes((MARGIN / width, low / height, side / width, side / height))
        step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500) if reach < 2.5 * step)
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
        axes.set(xticks=(-step, 0, step), yticks=(-step, 0, step))
        axes.tick_params(labelsize=9, pad=1, length=2)
        axes.add_patch(Circle((0, 0), 2, fill=False, ls="--", color="0.55", lw=1))
        grey = {"ha": "right", "size": 7, "color": "0.55", "parse_math": False}
        figure.text(0.998, 2 / height, drawable(signature), **grey)
        text = "test images, and their reconstructions below" if wide else "test, reconstruction"
        at = (4 / width, (height - strip + 5) / height)
        figure.text(*at, text, size=9 if wide else 8, color="0.3")
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", dpi=DPI)
    picture = Image.open(drawn).convert("RGB")
    for i, name in enumerate(film.classes):
        _write(picture, (MARGIN + 22, HEADER + 6 + 19 * i), name, 15 if wide else 13, 40)
    canvas = np.array(picture)
    for i in range(len(film.classes)):
        _stamp(canvas, MARGIN + 12, HEADER + 15 + 19 * i, i)
    return canvas


def _stamp(canvas: np.ndarray, x: float, y: float, which: int) -> None:
    left, top = round(x) - POINT // 2, round(y) - POINT // 2
    patch = canvas[top : top + POINT, left : left + POINT]
    mask = _mask(SHAPES[which % len(SHAPES)])[:, : patch.shape[1]]  # of a point at the right edge
    patch[:] = (1 - mask) * patch + mask * (255 * np.array(COLORS[which % len(COLORS)]))


@cache
def _mask(shape: str) -> np.ndarray:
    """How much of each pixel ``(POINT, POINT, 1)`` a class's point covers."""
    scale, side = 8, 8 * POINT
    picture = Image.new("L", (side, side))
    pen = ImageDraw.Draw(picture)
    if shape == "circle":
        pen.ellipse((scale, scale, side - scale, side - scale), fill=255)
    elif shape == "square":
        pen.rectangle((1.5 * scale, 1.5 * scale, side - 1.5 * scale, side - 1.5 * scale), fill=255)
    else:
        corners = (side / 2, scale / 2), (side - scale / 2, side - scale), (scale / 2, side - scale)
        pen.polygon(corners, fill=255)
    return 0.7 * (np.array(picture.resize((POINT, POINT), Image.Resampling.BOX)) / 255)[:, :, None]


# --- walks, and what both write -----------------------------------------------------------------


def _tiles(pictures: Tensor, names: Sequence[str], title: str) -> Image.Image:
    """Pictures with their names above them, in rows, below a title."""
    tall = round(TILE * pictures.shape[2] / pictures.shape[3])
    down, rows = tall + 18, -(-len(pictures) // COLUMNS)
    canvas = Image.new("RGB", (COLUMNS * (TILE + GAP) + GAP, 30 + rows * down + 12), "white")
    _write(canvas, (GAP, 5), title, 17, 20)
    for i, name in enumerate(names):
        x, y = GAP + (TILE + GAP) * (i % COLUMNS), 30 + down * (i // COLUMNS)
        _write(canvas, (x, y), name, 11, 60)
        canvas.paste(Image.fromarray(_strip(pictures[i : i + 1], TILE, tall)), (x, y + 16))
    return canvas


def _strip(pictures: Tensor, width: int, height: int) -> np.ndarray:
    """Pictures ``(N, C, H, W)`` beside each other, as bytes ``(height, width, 3)``."""
    row = (255 * mosaic(pixels(pictures), len(pictures), gap=0)).round().astype(np.uint8)
    row = Image.fromarray(row).resize((width, height), Image.Resampling.NEAREST)
    return np.array(row.convert("RGB"))


def _marked(canvas: Image.Image, mark: str) -> np.ndarray:
    """The frame, with large letters across where there is a mark."""
    middle = (canvas.width / 2, canvas.height / 2)
    _write(canvas, middle, mark, 40, (220, 20, 60), anchor="mm")
    return np.array(canvas)


def _write(canvas: Image.Image, at, text: str, size: int, color, **options) -> None:
    """Write on a picture, in a grey or an RGB colour."""
    fill = color if isinstance(color, tuple) else (color, color, color)
    ImageDraw.Draw(canvas).text(at, text, fill, _font(size), **options)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font_manager.findfont("DejaVu Sans"), size)
