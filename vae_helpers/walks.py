"""Films that walk along every latent dimension at once, one picture per dimension."""

import math
from functools import cache
from pathlib import Path

import numpy as np
import torch
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from vae_helpers import data, latent, runs
from vae_helpers.animation import read_digest, write
from vae_helpers.figures import drawable
from vae_helpers.files import fetched
from vae_helpers.losses import kl_per_dimension
from vae_helpers.settings import settings
from vae_helpers.storage import digest_json

REACH = 3.0  # standard deviations of the aggregate posterior, either way
FRAMES = 40  # there and back
TILE = 84  # pixels across a picture
HEADER = 30
CAPTION = 18
GAP = 6
COLUMNS = 5


def walked(name: str) -> Path:
    """The GIF of walks through that run's latent space; drawn where it is not up to date.

    Its picture beside it, ``….png``, shows all dimensions at the far end. Raises KeyError for a
    name that is not in ``runs.RUNS``.
    """
    one = runs.trained(name)
    path = fetched(settings().assets / "gifs" / f"traversal_{name}.gif")
    test = data.load("test", one.run.dataset)
    how = [settings().author, settings().smoke, Path(__file__).read_text(encoding="utf-8")]
    digest = digest_json([*how, one.digest, test.digest])
    if not path.exists() or read_digest(path) != digest:
        write(path, frames(one, test), digest)
    return path


def ordered(one: runs.Trained, images: data.ImageDataset) -> tuple[Tensor, Tensor]:
    """Dimensions by mean KL over ``images``, largest first, and these means in nats ``(d,)``."""
    kl = kl_per_dimension(*latent.encode(one.model, images)).mean(0)
    return kl.sort(descending=True).indices, kl.sort(descending=True).values


def frames(one: runs.Trained, test: data.ImageDataset) -> list[np.ndarray]:
    """Every frame ``(H, W, 3)``: from the middle to one end, to the other, and to the end again."""
    dimensions, kl = ordered(one, test)
    codes = latent.aggregate(one.model, test)
    turns = torch.linspace(0, 2 * math.pi * (1 + 1 / 4), FRAMES)  # ends at the far end, +REACH
    mean, deviation = codes.mean(0), codes.std(0)
    made = []
    for at in (REACH * torch.sin(turns)).tolist():
        latents = mean.repeat(len(dimensions), 1)
        for row, dimension in enumerate(dimensions):
            latents[row, dimension] += at * deviation[dimension]
        pictures = latent.decode(one.model, latents)
        made.append(_frame(pictures, dimensions, kl, f"β = {one.run.beta:g}    {at:+.1f} σ"))
    return made


def _frame(pictures: Tensor, dimensions: Tensor, kl: Tensor, title: str) -> np.ndarray:
    rows = -(-len(pictures) // COLUMNS)
    width = COLUMNS * (TILE + GAP) + GAP
    canvas = Image.new("L", (width, HEADER + rows * (TILE + CAPTION) + 12), 255)
    pen = ImageDraw.Draw(canvas)
    pen.text((GAP, 5), title, fill=20, font=_font(17))
    for i, picture in enumerate((255 * pictures[:, 0]).round().byte().numpy()):
        x = GAP + (TILE + GAP) * (i % COLUMNS)
        y = HEADER + (TILE + CAPTION) * (i // COLUMNS)
        pen.text((x, y), f"z{int(dimensions[i])}: {kl[i]:.2f} nats", fill=60, font=_font(11))
        tile = Image.fromarray(picture).resize((TILE, TILE), Image.Resampling.NEAREST)
        canvas.paste(tile, (x, y + CAPTION - 2))
    now = settings()
    corner = (width - 2, canvas.height - 1)
    pen.text(corner, drawable(now.author), fill=140, font=_font(9), anchor="rd")
    frame = canvas.convert("RGB")
    if now.smoke:
        middle = (frame.width / 2, frame.height / 2)
        ImageDraw.Draw(frame).text(
            middle, "smoke run", fill=(220, 20, 60), font=_font(40), anchor="mm"
        )
    return np.array(frame)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font_manager.findfont("DejaVu Sans"), size)
