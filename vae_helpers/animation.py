"""Films of a latent space while its model learns, as GIFs that a phone can show.

Axes and captions are drawn once; each frame then stamps its points and pictures into a copy, which
is far faster than a figure per frame.
"""

import io
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from PIL import Image, ImageDraw, ImageFont

from vae_helpers import data, runs
from vae_helpers.figures import COLORS, drawable
from vae_helpers.files import fetched, write_atomically
from vae_helpers.settings import settings
from vae_helpers.storage import digest_json

DPI = 100
FRAME = 90  # milliseconds
LAST_FRAME = 3_500
SHAPES = ("circle", "square", "triangle")  # beside colour, so that colour is never the only code
MARK = 9  # pixels across a point


def filmed(*names: str) -> Path:
    """The GIF of that run's training, or of several in step; drawn where it is not up to date.

    Beside ``….gif`` lies ``….png``, its last frame, for readers who prefer no motion. The file
    carries a digest of runs, data and this module in its comment. Raises KeyError for a name that
    is not in ``runs.RUNS`` and ValueError for a run that was not filmed.
    """
    made = [runs.trained(name) for name in names]
    betas = [f"beta_{one.run.beta:.1f}" for one in made]
    stem = f"vae_{betas[0]}_evolution" if len(made) == 1 else "vae_beta_side_by_side"
    path = fetched(settings().assets / "gifs" / f"{stem}.gif")
    digest = digest_of(made)
    if not path.exists() or read_digest(path) != digest:
        write(path, frames(made, data.load("test")), digest)
    return path


def digest_of(made: Sequence[runs.Trained]) -> str:
    """Changes with the runs, their data, the author, and how a film is drawn."""
    how = [settings().author, settings().smoke, Path(__file__).read_text(encoding="utf-8")]
    return digest_json([*how, *(one.digest for one in made), data.load("test").digest])


def read_digest(path: Path) -> str:
    """What ``filmed`` wrote into the comment of a GIF; an empty string where there is none."""
    with Image.open(path) as film:
        return film.info.get("comment", b"").decode()


def frames(made: Sequence[runs.Trained], test: data.ImageDataset) -> list[np.ndarray]:
    """Every frame ``(H, W, 3)`` of one run's film, or of several side by side on common axes.

    The axes hold every code from the end of the first epoch on; earlier ones that lie beyond them
    are drawn at their edge.
    """
    films = [runs.film(one) for one in made]
    # Within the first epoch codes stray far out; the axes are made for what comes after it.
    reach = 1.1 * max(float(film.positions[film.epochs >= 1].abs().max()) for film in films)
    width, pictures = (480, 8) if len(made) == 1 else (240, 4)
    panels = [_panel(one, test, reach, width, pictures) for one in made]
    return [
        np.concatenate([panel(i) for panel in panels], axis=1) for i in range(len(films[0].steps))
    ]


def write(path: Path, pictures: Sequence[np.ndarray], digest: str) -> None:
    """Write a GIF that loops and holds its last frame, and that frame as PNG; both atomically."""
    palette = _palette()
    drawn = [
        Image.fromarray(picture).quantize(palette=palette, dither=Image.Dither.NONE)
        for picture in pictures
    ]
    film, still = io.BytesIO(), io.BytesIO()
    drawn[0].save(
        film,
        "GIF",
        save_all=True,
        append_images=drawn[1:],
        duration=[FRAME] * (len(drawn) - 1) + [LAST_FRAME],
        loop=0,
        comment=digest.encode(),
        optimize=True,
    )
    drawn[-1].save(still, "PNG", optimize=True)
    write_atomically(path, film.getvalue())
    write_atomically(path.with_suffix(".png"), still.getvalue())


@cache
def _palette() -> Image.Image:
    # One for all films, so that colours do not flicker and regions that stay cost nothing: greys,
    # and each class's colour from faint to full.
    greys = np.array([*np.linspace(0, 235, 44), 255])[:, None].repeat(3, axis=1)
    strengths = np.linspace(0.12, 1, 12)[:, None]
    tones = [255 + strengths * (255 * np.array(color) - 255) for color in COLORS[: len(SHAPES)]]
    values = np.concatenate([greys, *tones, [(220, 20, 60)]]).round().astype(np.uint8)
    palette = Image.new("P", (1, 1))
    palette.putpalette(values.tobytes())
    return palette


def _panel(
    one: runs.Trained, test: data.ImageDataset, reach: float, width: int, pictures: int
) -> Callable[[int], np.ndarray]:
    """A function from a frame's number to its picture of this run, ``width`` pixels wide."""
    film, run = runs.film(one), one.run
    followed = runs.film_images(test, run.classes)
    size = width // pictures
    header = 72  # two lines of text above the axes
    strip = header + width + 22  # where originals begin; reconstructions stand under them
    height = strip + 2 * size + 16
    background, to_pixels = _background(run, reach, width, height, header, strip)
    originals = _strip(followed.images[:pictures].numpy(), size)
    background[strip : strip + size, : size * pictures] = originals
    places = [to_pixels(frame.clip(-reach, reach)) for frame in film.positions.numpy()]
    classes = [run.classes.index(followed.classes[label]) for label in followed.labels]

    def draw(i: int) -> np.ndarray:
        canvas = background.copy()
        for (x, y), which in zip(places[i], classes, strict=True):
            _stamp(canvas, x, y, which)
        below = slice(strip + size, strip + 2 * size)
        canvas[below, : size * pictures] = _strip(film.reconstructions[i, :pictures].numpy(), size)
        total, reconstruction, kl = film.losses[i].tolist()
        wide = width > 300
        lines = (
            f"β = {run.beta:g} · epoch {film.epochs[i]:.1f}"
            + (f" of {run.epochs}" if wide else ""),
            f"total {total:.1f} = {reconstruction:.1f} + {run.beta:g} × {kl:.1f} nats"
            if wide
            else f"total {total:.0f} · KL {kl:.1f}",
        )
        return _write_text(canvas, lines, 24 if wide else 20, smoke=settings().smoke)

    return draw


def _background(run, reach: float, width: int, height: int, header: int, strip: int):
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    margin = 26
    box = (margin, height - header - width + margin, width - margin - 4, width - margin - 4)
    axes = figure.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height))
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
    axes.tick_params(labelsize=9, pad=1, length=2)
    step = next(step for step in (1, 2, 5, 10, 20, 50) if reach < 2.5 * step)
    axes.set(xticks=(-step, 0, step), yticks=(-step, 0, step))
    axes.add_patch(Circle((0, 0), 2, fill=False, ls="--", color="0.55", lw=1))
    author = drawable(settings().author)
    figure.text(0.998, 2 / height, author, ha="right", size=7, color="0.55", parse_math=False)
    label = 9 if width > 300 else 8
    figure.text(
        4 / width,
        (height - strip + 5) / height,
        "test images, and their reconstructions below" if width > 300 else "test, reconstruction",
        size=label,
        color="0.3",
    )
    canvas = _pixels(figure)
    # The legend: one stamp and one name per class, within the axes.
    picture = Image.fromarray(canvas)
    pen, font = ImageDraw.Draw(picture), _font(15 if width > 300 else 13)
    for i, name in enumerate(run.classes):
        pen.text((margin + 22, header + 6 + 19 * i), name, fill=(40, 40, 40), font=font)
    canvas = np.array(picture)
    for i in range(len(run.classes)):
        _stamp(canvas, margin + 12, header + 15 + 19 * i, i)

    def to_pixels(positions: np.ndarray) -> np.ndarray:
        across = axes.transData.transform(positions)
        return np.stack([across[:, 0], height - across[:, 1]], axis=1)

    return canvas, to_pixels


def _pixels(figure: Figure) -> np.ndarray:
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI)
    return np.array(Image.open(drawn).convert("RGB"))


def _strip(pictures: np.ndarray, size: int) -> np.ndarray:
    """Bytes ``(N, 1, 28, 28)`` as a row of squares, ``(size, N·size, 3)``."""
    row = np.concatenate(list(pictures[:, 0]), axis=1)
    large = Image.fromarray(row).resize((size * len(pictures), size), Image.Resampling.NEAREST)
    return np.repeat(np.array(large)[:, :, None], 3, axis=2)


def _stamp(canvas: np.ndarray, x: float, y: float, which: int) -> None:
    left, top = round(x) - MARK // 2, round(y) - MARK // 2
    color, mask = _mark(which)
    patch = canvas[top : top + MARK, left : left + MARK]
    patch[:] = (1 - mask) * patch + mask * color


@cache
def _mark(which: int) -> tuple[np.ndarray, np.ndarray]:
    """Colour and soft mask ``(MARK, MARK, 1)`` of a class's point."""
    scale = 8
    side = MARK * scale
    picture = Image.new("L", (side, side))
    pen = ImageDraw.Draw(picture)
    shape = SHAPES[which % len(SHAPES)]
    if shape == "circle":
        pen.ellipse((scale, scale, side - scale, side - scale), fill=255)
    elif shape == "square":
        pen.rectangle((1.5 * scale, 1.5 * scale, side - 1.5 * scale, side - 1.5 * scale), fill=255)
    else:
        pen.polygon(
            [(side / 2, scale / 2), (side - scale / 2, side - scale), (scale / 2, side - scale)],
            fill=255,
        )
    soft = np.array(picture.resize((MARK, MARK), Image.Resampling.BOX)) / 255
    return 255 * np.array(COLORS[which]), 0.7 * soft[:, :, None]


def _write_text(canvas: np.ndarray, lines: Sequence[str], size: int, smoke: bool) -> np.ndarray:
    picture = Image.fromarray(canvas)
    pen = ImageDraw.Draw(picture)
    for i, line in enumerate(lines):
        pen.text((8, 6 + 32 * i), line, fill=(20, 20, 20), font=_font(size if i == 0 else size - 4))
    if smoke:
        middle = (picture.width / 2, picture.height / 2)
        pen.text(middle, "smoke run", fill=(220, 20, 60), font=_font(40), anchor="mm")
    return np.array(picture)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font_manager.findfont("DejaVu Sans"), size)
