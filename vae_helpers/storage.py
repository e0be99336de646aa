"""Tensors in files, with a header that is checked; and what numbers depend on besides code."""

import hashlib
import json
import platform
from importlib.metadata import version
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from vae_helpers.files import write_atomically

FORMAT = "vae-book-1"


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be used; the message names the file and what to do."""


def save_tensors(path: Path, tensors: dict[str, Tensor], header: dict) -> None:
    """Write tensors and a JSON header as one safetensors file, atomically."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = {**header, "format": FORMAT, "weights": digest_tensors(tensors)}
    header = json.loads(json.dumps(header))  # as it is read back: keys are strings
    header["digest"] = digest_json(header)
    text = json.dumps(header, ensure_ascii=False, sort_keys=True)
    write_atomically(path, save(tensors, metadata={"header": text}))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict]:
    """Read what ``save_tensors`` wrote. Raises CheckpointError for any other or damaged file."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("header", "{}"))
        tensors = load_file(path)
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise CheckpointError(
            f"{path}: not a readable checkpoint ({error}); delete it and train again"
        ) from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not one of this book's checkpoints; delete it")
    if header.pop("digest", None) != digest_json(header):
        raise CheckpointError(f"{path}: its header is damaged; delete it and train again")
    if header.get("weights") != digest_tensors(tensors):
        raise CheckpointError(f"{path}: its tensors are damaged; delete it and train again")
    return tensors, header


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, named without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def digest_tensors(tensors: dict[str, Tensor]) -> str:
    """Sixteen hex digits of names, shapes, types and bytes."""
    sha = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.view(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()[:16]


def digest_json(value) -> str:
    """Sixteen hex digits of a JSON value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def hardware(device: str = "cpu") -> str:
    """What computes here, in words: for reports of speed and stored numbers."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].split(":", 1)[1].strip() if names else cpu
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{cpu}, {torch.get_num_threads()} threads, {capability}"


def versions() -> dict[str, str]:
    """The versions that numbers depend on."""
    return {"python": platform.python_version(), "torch": version("torch")}
