"""The explorer's decoders: from checkpoints to scripts that its page loads on demand.

Scripts, because a page opened from a disk may load those, and no data. Half precision stays half
precision; of a checkpoint in full precision 24 bits are kept, since halves would move pixels by
more than a thousandth. ``assets/explorer/explorer.js`` computes with them.
"""

import base64
import json

import torch
from torch import Tensor

from press.checkpoints import checkpoint_path
from press.experiments import codes
from press.settings import Settings
from vae_helpers.errors import CheckpointError
from vae_helpers.files import load_tensors, under


def scripts(settings: Settings) -> dict[str, bytes]:
    """One script for each run, by file name: it hands the decoder and the run's codes to the page.

    Decoders are dense. Raises CheckpointError where a checkpoint or the codes are missing or
    damaged, or the codes belong to other models.
    """
    path = codes.codes_path(settings)
    stored, head = load_tensors(path) if path.is_file() else ({}, {"of": None})
    if head["of"] != codes.codes_digest(settings):
        raise CheckpointError(f"{path}: not the codes of these models; run `{codes.COMMAND}`")
    made = {}
    for run in codes.RUNS:
        tensors, header = load_tensors(checkpoint_path(run, settings))
        tensors = under("model.decoder.", tensors) | under(f"{run}.", stored)
        facts = {"run": run, "latent": header["run"]["latent"], "classes": head["classes"]}
        facts["tensors"] = {
            name: {"shape": list(one.shape), "bytes": base64.b64encode(_bytes(one)).decode()}
            for name, one in tensors.items()
        }
        made[f"{run}.js"] = f"explorer.receive({json.dumps(facts)});\n".encode()
    return made


def _bytes(tensor: Tensor) -> bytes:
    """Two bytes a number, or three where it is float32: its last byte is rounded away."""
    if tensor.dtype != torch.float32:
        return tensor.half().numpy().astype("<f2").tobytes()
    bits = tensor.contiguous().numpy().astype("<f4").view("<u4") + 0x80
    return bits.view("u1").reshape(-1, 4)[:, 1:].tobytes()
