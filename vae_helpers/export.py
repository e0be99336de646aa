"""The explorer's decoders: from checkpoints to scripts that its page loads on demand.

Scripts, because a page opened from a disk may load those, and no data. Half precision stays half
precision; of a checkpoint in full precision 24 bits are kept, since halves would move pixels by
more than a thousandth. ``extra/explorer/explorer.js`` computes with them.
"""

import base64
import json
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from vae_helpers.storage import CheckpointError, digest_json, load_tensors, under

MAP = "dense2"
TEN = ("dense10-beta-0.5", "dense10", "dense10-beta-4")
CONDITIONAL = "conditional2"
RUNS = (MAP, *TEN, CONDITIONAL)
CODES = "codes"  # the table of what the page must know of the encoders: where garments lie
REMEDY = f"run `python -m vae_helpers measure {CODES}`"
LAYERS = {"0.weight", "0.bias", "2.weight", "2.bias"}  # of a dense decoder


def scripts(assets: Path) -> dict[str, bytes]:
    """One script for each run, by file name: it hands the decoder and the run's codes to the page.

    Raises CheckpointError where a checkpoint or the codes are missing or damaged, the codes belong
    to other models, or a decoder is not dense.
    """
    path = codes_path(assets)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; {REMEDY}")
    codes, head = load_tensors(path)
    checkpoints = {run: _checkpoint(assets, run) for run in RUNS}
    if head["of"] != _digest(header for _, header in checkpoints.values()):
        raise CheckpointError(f"{path}: the codes belong to other models; {REMEDY}")
    return {
        f"{run}.js": script(
            {"run": run, "latent": header["run"]["latent"], "classes": head["classes"]},
            decoder(run, tensors) | under(f"{run}.", codes),
        )
        for run, (tensors, header) in checkpoints.items()
    }


def decoder(run: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a dense decoder from a checkpoint's tensors, named as its layers are.

    ``0.weight`` ``(h, d)``, ``0.bias`` ``(h,)``, ``2.weight`` ``(784, h)``, ``2.bias`` ``(784,)``;
    a conditional decoder's d counts its classes, too. Raises CheckpointError for any other decoder.
    """
    found = under("model.decoder.", tensors)
    if found.keys() != LAYERS or found["2.weight"].shape[0] != 784:
        raise CheckpointError(
            f"the decoder of {run!r} has {', '.join(sorted(found))}, but the explorer knows dense "
            f"decoders alone; choose a run with body='dense'"
        )
    return found


def script(facts: dict, tensors: dict[str, Tensor]) -> bytes:
    """``explorer.receive({…facts, tensors})``, each tensor as its shape and base64 of its bytes.

    Two bytes a number, or three where the tensor is float32: its last byte is rounded away.
    """
    packed = {
        name: {"shape": list(tensor.shape), "bytes": base64.b64encode(_bytes(tensor)).decode()}
        for name, tensor in tensors.items()
    }
    return f"explorer.receive({json.dumps(facts | {'tensors': packed})});\n".encode()


def _bytes(tensor: Tensor) -> bytes:
    if tensor.dtype != torch.float32:
        return tensor.half().numpy().astype("<f2").tobytes()
    bits = tensor.contiguous().numpy().astype("<f4").view("<u4") + 0x80
    return bits.view("u1").reshape(-1, 4)[:, 1:].tobytes()


def codes_path(assets: Path) -> Path:
    """Where the table of codes lies."""
    return assets / "results" / "tables" / f"{CODES}.safetensors"


def models_digest(assets: Path) -> str:
    """A digest of the explorer's models, which their codes carry. Raises CheckpointError."""
    return _digest(_checkpoint(assets, run)[1] for run in RUNS)


def _checkpoint(assets: Path, run: str) -> tuple[dict[str, Tensor], dict]:
    return load_tensors(assets / "checkpoints" / f"{run}.safetensors")


def _digest(headers: Iterable[dict]) -> str:
    return digest_json([header["weights"] for header in headers])
