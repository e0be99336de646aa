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

LAYERS = {"0.weight", "0.bias", "2.weight", "2.bias"}  # of a dense decoder


def scripts(settings: Settings) -> dict[str, bytes]:
    """One script for each run, by file name: it hands the decoder and the run's codes to the page.

    Raises CheckpointError where a checkpoint or the codes are missing or damaged, the codes belong
    to other models, or a decoder is not dense.
    """
    path = codes.codes_path(settings)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; run `{codes.COMMAND}`")
    stored, head = load_tensors(path)
    if head["of"] != codes.models_digest(settings):
        raise CheckpointError(f"{path}: the codes belong to other models; run `{codes.COMMAND}`")
    made = {}
    for run in codes.RUNS:
        tensors, header = load_tensors(checkpoint_path(run, settings))
        facts = {"run": run, "latent": header["run"]["latent"], "classes": head["classes"]}
        made[f"{run}.js"] = script(facts, decoder(run, tensors) | under(f"{run}.", stored))
    return made


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
