"""Files written whole or not at all, and tensors in files whose header and digests are checked."""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import safetensors
import torch
from filelock import FileLock, SoftFileLock
from safetensors.torch import load, save
from torch import Tensor

from vae_helpers.errors import CheckpointError, WriteError

FORMAT = "vae-book-1"


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``path`` whole or not at all, whatever happens meanwhile. Raises WriteError.

    A new file has the rights that the umask leaves; one that is replaced keeps its own.
    """
    with _named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if path.exists():
                shutil.copymode(path, temporary)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file ``path`` against other processes, waiting for whoever has it.

    The system lets go of it even after a SIGKILL. On a file system without locks, as some networks
    have, the lock is that ``path.soft`` exists. Raises WriteError where there can be no such file.
    """
    with _named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire()
        except OSError:
            lock = SoftFileLock(f"{path}.soft")
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
    again = "move it away, and train again"
    try:
        content = path.read_bytes()  # not every file system can map a file into memory
        tensors = load(content)
        size = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + size]).get("__metadata__") or {}
        header = json.loads(metadata.get("header", "{}"))
    except (OSError, MemoryError) as error:
        why = getattr(error, "strerror", None) or "too little memory"
        raise CheckpointError(
            f"{path}: cannot be read here ({why}), good or not; name the right file, or see to "
            "permission and memory"
        ) from error
    except (ValueError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path}: not a readable checkpoint ({error}); {again}") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not written by save_tensors; {again}")
    if header.pop("digest", None) != digest_json(header):
        raise CheckpointError(f"{path}: its header is damaged; {again}")
    if header.get("weights") != digest_tensors(tensors):
        raise CheckpointError(f"{path}: its tensors are damaged; {again}")
    return tensors, header


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, named without it."""
    there = [name for name in tensors if name.startswith(prefix)]
    return {name.removeprefix(prefix): tensors[name] for name in there}


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
