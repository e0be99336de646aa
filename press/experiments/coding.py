"""What codes of pictures keep, and in how many bits."""

import io
import math
from functools import lru_cache

import torch
from PIL import Image
from torch import Tensor

from press.experiments.common import principal, projected
from press.runs import RUNS
from press.stored import Table
from vae_helpers import latent

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
PNG_FRAME = 57  # bytes: signature 8, header 25, frame of the one chunk of data 12, end 12


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
        _, files, _ = jpeg(images.images, int(setting))
        row["files"] = float(files.double().mean()) / pixels
    if coder != "PNG":
        row["decibels"] = -10 * math.log10(float((made - images[:][0]).square().mean()))
    return row


def coded(book, coder: str, setting: float) -> tuple[Tensor, Tensor]:
    """The first 2,000 test images as they arrive ``(N, C, H, W)``, and the bits of each ``(N,)``.

    coder: a VAE of the book or ``64 components``, linear ones, with ``setting`` as its rounding
    step; ``JPEG`` without its headers, with its quality; or ``PNG``, which has no setting.
    """
    images = book.images("test").subset(slice(CODED_IMAGES))
    if coder == "PNG":
        return images[:][0], png_bits(images.images)
    if coder == "JPEG":
        made, _, scans = jpeg(images.images, int(setting))
        return made, scans
    codes, _ = _codes(book, coder, "test", CODED_IMAGES)
    codes, bits = quantized(codes, setting, *_codes(book, coder, "train", KNOWN))
    if coder == LINEAR:
        mean, directions = principal(book.images("train"), COMPONENTS)
        return (codes @ directions.T + mean).clamp(0, 1).view(images[:][0].shape), bits
    return latent.decode(book.experiment(coder).model, codes), bits


@lru_cache(maxsize=8)  # for rows that differ in their rounding step
def _codes(book, coder: str, split: str, count: int) -> tuple[Tensor, Tensor | None]:
    """The first images' codes ``(N, d)``, and log σ² of the posterior where the coder has one."""
    images = book.images(split).subset(slice(count))
    if coder == LINEAR:
        return projected(images, book.images("train"), COMPONENTS), None
    return latent.encode(book.experiment(coder).model, images)


def quantized(
    codes: Tensor, step: float, known: Tensor, log_var: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Codes ``(N, d)`` as they arrive, and their bits ``(N,)``.

    What sender and receiver agree on beforehand is learned from ``known`` codes ``(M, d)``. Each
    dimension is rounded to multiples of ``step``, in units of its posterior's width √(mean σ²) if
    there is a log σ² ``(M, d)``: as finely as its decoder can tell apart. The bits are −log₂ of
    what N(mean, deviation²) gives to a rounding interval, summed over dimensions: what an
    arithmetic coder needs for a long stream, to within two bits. Raises ValueError unless step > 0.
    """
    if step <= 0:
        raise ValueError(f"a step of {step}; give one above 0")
    mean, deviation = known.double().mean(0), known.double().std(0).clamp(min=1e-6)
    width = torch.ones(len(mean)) if log_var is None else log_var.exp().mean(0).sqrt()
    size = step * width.double()
    whole = ((codes.double() - mean) / size).round()
    # In the lower tail, where differences of probabilities keep their digits.
    near = -whole.abs() * size
    low, high = (near - size / 2) / deviation, (near + size / 2) / deviation
    probability = torch.special.ndtr(high) - torch.special.ndtr(low)
    bits = -torch.log2(probability.clamp(min=2.0**-60))
    return (whole * size + mean).float(), bits.sum(1)


def png_bits(images: Tensor) -> Tensor:
    """Bits ``(N,)`` of each image ``(N, 1, 28, 28)``, bytes, as PNG's compressed data alone.

    Lossless. Signature, header and checksums, the same for all images, are not counted.
    """
    files = [_file(image, "PNG", optimize=True) for image in images]
    return torch.tensor([8.0 * (len(file) - PNG_FRAME) for file in files])


def jpeg(images: Tensor, quality: int) -> tuple[Tensor, Tensor, Tensor]:
    """What JPEG makes of images ``(N, 1, 28, 28)``, bytes: decoded in [0, 1], and bits ``(N,)``
    of whole files and of their compressed pixels alone, whose tables are the standard's own.
    """
    files = [_file(image, "JPEG", quality=quality) for image in images]
    decoded = [bytearray(Image.open(io.BytesIO(file)).tobytes()) for file in files]
    pixels = torch.stack([torch.frombuffer(one, dtype=torch.uint8) for one in decoded])
    # Compressed pixels follow the last header, that of the scan; two bytes end the file.
    last = [file[file.rindex(b"\xff\xda") + 2 :] for file in files]
    scans = [len(one) - 2 - int.from_bytes(one[:2], "big") for one in last]
    sizes = [len(file) for file in files]
    return pixels.view(images.shape) / 255, 8.0 * torch.tensor(sizes), 8.0 * torch.tensor(scans)


def _file(image: Tensor, form: str, **options) -> bytes:
    packed = io.BytesIO()
    Image.fromarray(image.squeeze().numpy()).save(packed, form, **options)
    return packed.getvalue()


def _coded(book) -> list[dict]:
    return [{"coder": coder, "setting": step} for coder in CODERS for step in CODERS[coder]]


TABLES = (
    Table("compression", coding, _coded, lambda coder, **_: (coder,) if coder in RUNS else ()),
)
