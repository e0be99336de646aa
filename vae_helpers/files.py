"""Files written whole or not at all, and tensors in files whose header and digests are checked."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import safetensors
import torch
from filelock import FileLock
from safetensors.torch import load_file, save
from torch import Tensor

from vae_helpers.errors import CheckpointError, WriteError

FORMAT = "vae-book-1"


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``path`` whole or not at all, whatever happens meanwhile. Raises WriteError."""
    with _named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)  # mkstemp keeps it to its owner, which a shared site is not
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file ``path`` against other processes, waiting for whoever has it.

    The system lets go of it even after a SIGKILL. Raises WriteError where there can be no such
    file.
    """
    with _named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Say of what the system refuses which file it was, and what to do."""
    try:
        yield
    except OSError as error:
        raise WriteError(
            f"{path} cannot be written ({error.strerror or error}); what was there is as it was: "
            "make room or give permission, and call again"
        ) from error


# --- tensors ------------------------------------------------------------------------------------


def save_tensors(path: Path, tensors: dict[str, Tensor], header: dict) -> None:
    """Write tensors and a JSON header as one safetensors file, atomically. Raises WriteError."""
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
        raise CheckpointError(f"{path}: not written by save_tensors; delete it and train again")
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
        tensor = tensors[name].cpu().contiguous()
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.view(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()[:16]


def digest_json(value) -> str:
    """Sixteen hex digits of a JSON value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
