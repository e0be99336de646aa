"""Images as bits: by PNG, by JPEG, and by a quantized latent code."""

import io
import math
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

PNG_FRAME = 57  # bytes: signature 8, header 25, frame of the one chunk of data 12, end 12


def png_bits(images: Tensor) -> Tensor:
    """Bits ``(N,)`` of each image ``(N, 1, 28, 28)``, bytes, as PNG's compressed data alone.

    Lossless. Signature, header and checksums, the same for all images, are not counted.
    """
    files = [_file(image, "PNG", optimize=True) for image in images]
    return torch.tensor([8.0 * (len(file) - PNG_FRAME) for file in files])


def jpeg(images: Tensor, quality: int) -> tuple[Tensor, Tensor, Tensor]:
    """What JPEG makes of images ``(N, 1, 28, 28)``, bytes: decoded in [0, 1], and bits ``(N,)``
    of whole files and of their compressed pixels alone.

    The tables are the standard's own: the same for every image, and known without the file.
    """
    files = [_file(image, "JPEG", quality=quality) for image in images]
    decoded = [torch.frombuffer(bytearray(_pixels(file)), dtype=torch.uint8) for file in files]
    # Compressed pixels follow the last header, that of the scan; two bytes end the file.
    starts = [file.rindex(b"\xff\xda") for file in files]
    scans = [
        len(file) - 2 - (at + 2 + int.from_bytes(file[at + 2 : at + 4], "big"))
        for file, at in zip(files, starts, strict=True)
    ]
    return (
        torch.stack(decoded).view(images.shape).float() / 255,
        8.0 * torch.tensor([len(file) for file in files]),
        8.0 * torch.tensor(scans),
    )


def _file(image: Tensor, form: str, **options) -> bytes:
    packed = io.BytesIO()
    Image.fromarray(image.squeeze().numpy()).save(packed, form, **options)
    return packed.getvalue()


def _pixels(file: bytes) -> bytes:
    return Image.open(io.BytesIO(file)).tobytes()


@dataclass(frozen=True)
class Coder:
    """What sender and receiver of latent codes agree on beforehand, per dimension ``(d,)``.

    A code is rounded to a multiple of ``step`` × ``width`` and costs what N(mean, deviation²)
    says; both are learned from codes of training images.
    """

    mean: Tensor
    deviation: Tensor
    width: Tensor

    def quantize(self, codes: Tensor, step: float) -> tuple[Tensor, Tensor]:
        """Codes ``(N, d)`` as they arrive, and their bits ``(N,)``.

        The bits are −log₂ of the probability of each rounding interval, summed over dimensions:
        what an arithmetic coder needs for a long stream, to within two bits. Raises ValueError
        unless step > 0.
        """
        if step <= 0:
            raise ValueError(f"a step of {step}; give one above 0")
        size = (step * self.width).double()
        centred = codes.double() - self.mean
        whole = (centred / size).round()
        # In the lower tail, where differences of probabilities keep their digits.
        near = -whole.abs() * size
        low, high = (near - size / 2) / self.deviation, (near + size / 2) / self.deviation
        probability = torch.special.ndtr(high) - torch.special.ndtr(low)
        bits = -torch.log2(probability.clamp(min=2.0**-60))
        return (whole * size + self.mean).float(), bits.sum(1)


def coder(mu: Tensor, log_var: Tensor | None = None) -> Coder:
    """The coder for codes like μ ``(N, d)``, of training images.

    A dimension is rounded in units of its posterior's width, √(mean σ²) from log σ² ``(N, d)``: as
    finely as its decoder can tell apart. Without a posterior all dimensions have the same unit.
    """
    width = torch.ones(mu.shape[1]) if log_var is None else log_var.exp().mean(0).sqrt()
    return Coder(mu.double().mean(0), mu.double().std(0).clamp(min=1e-6), width.double())


def psnr(error: float) -> float:
    """Peak signal-to-noise ratio in decibels of a mean squared error on a scale of 0 to 1.

    Infinite where there is no error.
    """
    return -10 * math.log10(error) if error else math.inf
