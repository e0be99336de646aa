"""What coders of pictures take and keep: VAEs, principal components, JPEG and PNG."""

import math
from functools import lru_cache

from torch import Tensor

from press.checkpoints import Experiment
from press.experiments import compression
from press.experiments.common import MEASURE, principal
from press.runs import RUNS
from press.stored import Table
from vae_helpers import latent
from vae_helpers.data import ImageDataset

LINEAR = "64 components"
COMPONENTS = 64
CODERS = {  # with rounding steps, or qualities
    **dict.fromkeys(("dense2", "conv16-one-cycle", "residual32"), (0.25, 0.5, 1.0, 2.0, 4.0)),
    LINEAR: (0.1, 0.25, 0.5, 1.0, 1.5, 2.0),
    "JPEG": (1, 10, 20, 40, 60),
    "PNG": (0,),
}
CODED_IMAGES = 2_000
KNOWN = 10_000  # training images whose codes sender and receiver have seen


def coding(book, coder: str, setting: float) -> dict[str, float]:
    """What a coder takes and keeps on 2,000 test images, see ``coded``.

    ``bits`` per pixel with their standard error ``error``, and ``decibels`` of signal to noise; of
    JPEG also ``files``, bits per pixel with its headers. PNG keeps everything.
    """
    images = book.images("test").subset(slice(CODED_IMAGES))
    pixels = images.images[0].numel()
    made, bits = coded(book, coder, setting)
    row = {
        "bits": float(bits.double().mean()) / pixels,
        "error": float(bits.double().std()) / pixels / math.sqrt(len(images)),
    }
    if coder == "JPEG":
        _, files, _ = compression.jpeg(images.images, int(setting))
        row["files"] = float(files.double().mean()) / pixels
    if coder != "PNG":
        row["decibels"] = compression.psnr(float((made - images[:][0]).square().mean()))
    return row


def coded(book, coder: str, setting: float) -> tuple[Tensor, Tensor]:
    """The first 2,000 test images as they arrive ``(N, C, H, W)``, and the bits of each ``(N,)``.

    coder: a VAE of the book or ``64 components``, linear ones, with ``setting`` as its rounding
    step; ``JPEG`` without its headers, with its quality; or ``PNG``, which has no setting.
    """
    images, pool = book.images("test").subset(slice(CODED_IMAGES)), book.images("train")
    if coder == "PNG":
        return images[:][0], compression.png_bits(images.images)
    if coder == "JPEG":
        made, _, scans = compression.jpeg(images.images, int(setting))
        return made, scans
    if coder == LINEAR:
        codes, bits = _linear_coder(pool).quantize(_components(images, pool), setting)
        mean, directions = principal(pool, COMPONENTS)
        return (codes @ directions.T + mean).clamp(0, 1).view(images[:][0].shape), bits
    one = book.experiment(coder)
    codes, bits = _coder(one, pool).quantize(latent.encode(one.model, images)[0], setting)
    return latent.decode(one.model, codes), bits


@lru_cache(maxsize=4)
def _coder(one: Experiment, pool: ImageDataset) -> compression.Coder:
    return compression.coder(*latent.encode(one.model, pool.subset(slice(KNOWN))))


@lru_cache(maxsize=1)
def _linear_coder(pool: ImageDataset) -> compression.Coder:
    return compression.coder(_components(pool.subset(slice(KNOWN)), pool))


def _components(images: ImageDataset, pool: ImageDataset) -> Tensor:
    mean, directions = principal(pool, COMPONENTS)
    return (images[:][0].flatten(1) - mean) @ directions


TABLES = (
    Table(
        *("compression", MEASURE, coding),
        lambda book: [{"coder": one, "setting": step} for one in CODERS for step in CODERS[one]],
        runs=lambda configuration: tuple({configuration["coder"]} & RUNS.keys()),
    ),
)
