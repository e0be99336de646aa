import ast
import hashlib
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from vae_helpers.errors import CheckpointError, WriteError
from vae_helpers.files import (
    digest_json,
    digest_tensors,
    load_tensors,
    locked,
    save_tensors,
    under,
    write_atomically,
)
from vae_helpers.films import write_gif

ROOT = Path(__file__).resolve().parents[2]

HEADER = {
    "name": "conv16",
    "note": "β = 1, μ und log σ² – größer",
    "rows": [{"epoch": 1, "kl": 0.1}],
}


def tensors():
    generator = torch.Generator().manual_seed(0)
    return {
        "model.weight": torch.randn(4, 3, 2, 2, generator=generator),
        "model.steps": torch.tensor(12_345_678_901),
        "snapshot": torch.arange(256, dtype=torch.uint8).view(2, 128),
        "half": torch.randn(5, generator=generator).bfloat16(),
        "mask": torch.tensor([True, False]),
        "nothing": torch.zeros(0, 3),
    }


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "run.safetensors"
    save_tensors(path, tensors(), HEADER)
    return path


# --- atomic writing ----------------------------------------------------------------------------


@pytest.fixture
def umask():
    """A function that sets the umask for one test."""
    before = os.umask(0)
    os.umask(before)
    yield os.umask
    os.umask(before)


def mode(path):
    return path.stat().st_mode & 0o777


def test_written_file_holds_the_content_and_is_readable_by_all(tmp_path, umask):
    path = tmp_path / "new" / "folder" / "file.json"
    umask(0o022)
    write_atomically(path, b"first")
    write_atomically(path, b"second")
    assert path.read_bytes() == b"second"
    assert mode(path) == 0o644
    assert os.listdir(path.parent) == ["file.json"]


@pytest.mark.fault(
    "the umask keeps files from others (077) or shares them with a group (002)",
    "new files, checkpoints and films too, have just the rights that it leaves; a file that is "
    "written again keeps its own",
)
@pytest.mark.parametrize(("mask", "expected"), [(0o077, 0o600), (0o002, 0o664), (0o027, 0o640)])
def test_files_have_the_rights_that_the_umask_leaves(tmp_path, umask, mask, expected):
    frames = [np.full((4, 6, 3), shade, np.uint8) for shade in (0, 200)]

    def write():
        write_atomically(tmp_path / "text", b"content")
        save_tensors(tmp_path / "run.safetensors", tensors(), HEADER)
        write_gif(tmp_path / "film.gif", frames)
        return {path.name: mode(path) for path in tmp_path.iterdir()}

    umask(mask)
    made = write()
    assert made == dict.fromkeys(("text", "run.safetensors", "film.gif", "film.png"), expected)
    for path in tmp_path.iterdir():
        path.chmod(0o644)
    umask(0o022)
    assert write() == dict.fromkeys(made, 0o644)


@pytest.mark.parametrize("own", [0o600, 0o640, 0o664])
def test_a_file_that_is_written_again_keeps_rights_that_the_umask_would_not_leave(
    tmp_path, umask, own
):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(own)
    umask(0o022)
    write_atomically(path, b"new")
    assert (path.read_bytes(), mode(path)) == (b"new", own)


def test_the_reason_is_the_system_s_where_no_file_could_even_be_opened(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(WriteError, match=r"cannot be written \(No space left on device\)"):
        write_atomically(tmp_path / "file", b"new")


@pytest.mark.fault(
    "writing fails at any of its steps",
    "the old file is as it was, and no other is left behind",
)
@pytest.mark.parametrize("step", ["fsync", "chmod", "replace"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_failed_write_keeps_the_old_file_and_leaves_no_other(tmp_path, monkeypatch, step, error):
    path = tmp_path / "file.json"
    path.write_bytes(b"old")

    def fail(*_):
        raise error

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(type(error)):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file.json"]


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("no folder")
    path = tmp_path / "file" / "inside"
    for use in (lambda: write_atomically(path, b"x"), lambda: locked(path).__enter__()):
        with pytest.raises(
            WriteError, match=f"^{re.escape(str(path))} cannot be written .*call again$"
        ):
            use()


# --- locks -------------------------------------------------------------------------------------

HOLDING = """
import sys, time
from pathlib import Path
from vae_helpers.files import locked

print("waiting", flush=True)
with locked(Path(sys.argv[1])):
    Path(sys.argv[2]).touch()
    print("locked", flush=True)
    time.sleep(60)
"""


def test_one_process_at_a_time_holds_a_lock_and_a_killed_one_lets_go(tmp_path):
    path, touched = tmp_path / "new" / "folder" / "run.lock", tmp_path / "touched"
    command = [sys.executable, "-c", HOLDING, path, touched]
    with locked(path):
        other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert other.stdout.readline() == "waiting\n"
        time.sleep(0.5)
        assert not touched.exists()
    assert other.stdout.readline() == "locked\n"
    other.kill()
    other.wait()
    with locked(path):
        assert path.exists()


def test_an_error_inside_lets_go_of_the_lock(tmp_path):
    for _ in range(2):
        with pytest.raises(KeyError), locked(tmp_path / "run.lock"):
            raise KeyError


@pytest.mark.fault(
    "the file system has no locks, as some networks have",
    "a lock file beside it serves; one process at a time holds it all the same",
)
@pytest.mark.parametrize("refusal", ["ENOLCK", "EOPNOTSUPP", "ENOSYS"])
def test_a_file_system_without_locks_has_lock_files(tmp_path, refusal):
    code = f"""
import errno, fcntl

def refuse(*_):
    raise OSError(errno.{refusal}, "refused")

fcntl.flock = refuse
"""
    path, touched = tmp_path / "run.lock", tmp_path / "touched"
    command = [sys.executable, "-W", "ignore", "-c", code + HOLDING, path, touched]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert [first.stdout.readline() for _ in range(2)] == ["waiting\n", "locked\n"]
    touched.unlink()
    second = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert second.stdout.readline() == "waiting\n"
    time.sleep(0.5)
    assert not touched.exists()
    first.send_signal(signal.SIGINT)
    first.wait()
    assert second.stdout.readline() == "locked\n"
    second.kill()
    second.wait()


# --- what is saved is what is loaded -----------------------------------------------------------


def test_tensors_come_back_with_their_names_types_shapes_and_values(checkpoint):
    loaded, _ = load_tensors(checkpoint)
    assert loaded.keys() == tensors().keys()
    for name, tensor in tensors().items():
        assert loaded[name].dtype == tensor.dtype
        torch.testing.assert_close(loaded[name], tensor, rtol=0, atol=0)


def test_header_comes_back_unicode_included(checkpoint):
    _, header = load_tensors(checkpoint)
    assert {key: header[key] for key in HEADER} == HEADER


def test_a_note_is_legible_in_the_file_itself(checkpoint):
    assert HEADER["note"].encode() in checkpoint.read_bytes()


def test_header_comes_back_as_json_has_it(tmp_path):
    save_tensors(tmp_path / "a", {}, {"by epoch": {2: (1, 2), 10: float("inf")}})
    _, header = load_tensors(tmp_path / "a")
    assert header["by epoch"] == {"2": [1, 2], "10": float("inf")}


@pytest.mark.parametrize(
    "layout",
    [
        lambda t: t.to(memory_format=torch.channels_last),
        lambda t: t.transpose(0, 1).contiguous().transpose(0, 1),
        lambda t: torch.stack([t, t], dim=-1)[..., 0],
        lambda t: t.clone().requires_grad_(),
    ],
    ids=["channels_last", "transposed", "strided", "requires_grad"],
)
def test_values_and_digest_do_not_depend_on_memory_layout(tmp_path, layout):
    plain = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    assert digest_tensors({"w": layout(plain).detach()}) == digest_tensors({"w": plain})
    save_tensors(tmp_path / "a", {"w": layout(plain)}, {})
    loaded, _ = load_tensors(tmp_path / "a")
    torch.testing.assert_close(loaded["w"], plain, rtol=0, atol=0)


def test_same_content_makes_the_same_bytes(tmp_path, checkpoint):
    again = tmp_path / "again"
    save_tensors(again, dict(reversed(tensors().items())), dict(reversed(HEADER.items())))
    assert again.read_bytes() == checkpoint.read_bytes()


def test_under_takes_one_group_and_strips_its_prefix_once():
    group = under("model.", {"model.model.w": torch.ones(1), "adam.model.w": torch.zeros(1)})
    assert list(group) == ["model.w"]


# --- what cannot be trusted is refused ---------------------------------------------------------


def refused(path):
    with pytest.raises(CheckpointError) as caught:
        load_tensors(path)
    assert str(path) in str(caught.value)
    assert "move it away" in str(caught.value)
    return str(caught.value)


@pytest.mark.fault(
    "a good checkpoint cannot be read here: another user's, not there, a folder in its place, no "
    "memory",
    "refused with the system's reason; no word of damage, of deleting or of moving",
)
@pytest.mark.parametrize("trouble", ["missing", "folder", "not a folder", "forbidden", "memory"])
def test_a_checkpoint_that_may_be_good_is_not_called_damaged(checkpoint, monkeypatch, trouble):
    path = checkpoint
    if trouble == "missing":
        path = path.with_name("none.safetensors")
    elif trouble == "folder":
        path = path.parent
    elif trouble == "not a folder":
        path = path / "run.safetensors"
    elif trouble == "forbidden" and os.geteuid():
        path.chmod(0)
    else:  # root may read everything, and no test takes all memory
        error = MemoryError() if trouble == "memory" else PermissionError(13, "Permission denied")

        def fail(self):
            raise error

        monkeypatch.setattr(Path, "read_bytes", fail)
    reason = {
        "missing": "No such file or directory",
        "folder": "Is a directory",
        "not a folder": "Not a directory",
        "forbidden": "Permission denied",
        "memory": "too little memory",
    }[trouble]
    reason = rf"cannot be read here \({reason}\), good or not; name the right file"
    with pytest.raises(CheckpointError, match=reason) as it:
        load_tensors(path)
    assert not re.search("damaged|delete|move|train", str(it.value).removeprefix(str(path)))


@pytest.mark.fault(
    "a checkpoint lies where files cannot be mapped into memory",
    "it is read all the same",
)
def test_a_checkpoint_is_read_without_mapping_it(checkpoint):
    pipe = checkpoint.with_name("pipe")  # which cannot be mapped, either
    os.mkfifo(pipe)
    with subprocess.Popen(f"cat '{checkpoint}' > '{pipe}'", shell=True):
        loaded, header = load_tensors(pipe)
    assert header == load_tensors(checkpoint)[1]
    assert loaded.keys() == tensors().keys()


def test_no_message_of_this_project_advises_to_delete():
    """What cost hours may be good: it is moved away, or the cause is undone."""
    sources = [path for wing in ("vae_helpers", "press") for path in (ROOT / wing).rglob("*.py")]
    assert len(sources) > 40
    for path in sources:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise):
                text = ast.unparse(node)
                assert not re.search(r"\b(delete|remove|rm) (it|that|the|them)\b", text), text


@pytest.mark.fault(
    "a checkpoint is cut off",
    "refused with its name and the remedy",
)
@pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_truncated_checkpoint_is_refused(checkpoint, share):
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[: int(share * len(content))])
    refused(checkpoint)


@pytest.mark.fault(
    "one bit of a checkpoint is flipped, at any byte",
    "refused, or nothing of its weights or header was changed",
)
def test_no_flipped_bit_goes_unnoticed(tmp_path):
    path = tmp_path / "run.safetensors"
    save_tensors(path, {"w": torch.tensor([1.5, -2.5])}, {"seed": 42, "note": "größer"})
    content, (weights, header) = path.read_bytes(), load_tensors(path)
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        try:
            loaded = load_tensors(path)
        except CheckpointError:
            continue
        # What loads has lost nothing: the flip was in padding, or in the digest's own name.
        assert torch.equal(loaded[0]["w"], weights["w"]), f"byte {place} of {content}"
        assert loaded[1] | header == loaded[1], f"byte {place} of {content}"


@pytest.mark.fault(
    "a safetensors file of another project's",
    "refused, whatever it holds",
)
@pytest.mark.parametrize("metadata", [None, {"header": "[]"}, {"header": "{}"}, {"header": "null"}])
def test_foreign_safetensors_file_is_refused(tmp_path, metadata):
    path = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file(tensors(), path, metadata=metadata)
    assert "not written by save_tensors" in refused(path)


def test_header_that_is_not_json_is_refused(tmp_path):
    path = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file(tensors(), path, metadata={"header": "{'a': 1}"})
    refused(path)


@pytest.mark.fault(
    "a checkpoint of torch.save's",
    "refused without being opened",
)
def test_pytorch_checkpoint_is_refused(tmp_path):
    path = tmp_path / "run.pt"
    torch.save(tensors(), path)
    refused(path)


class Payload:
    def __init__(self, touched):
        self.touched = touched

    def __reduce__(self):
        return Path.touch, (self.touched,)


@pytest.mark.fault(
    "a pickle with a payload in a checkpoint's place",
    "refused; the payload never runs",
)
def test_a_pickle_is_never_executed(tmp_path):
    touched, path = tmp_path / "touched", tmp_path / "run.safetensors"
    content = pickle.dumps(Payload(touched))
    pickle.loads(content)
    assert touched.exists()  # so the payload is live
    touched.unlink()
    path.write_bytes(content)
    refused(path)
    torch.save(Payload(touched), path)
    refused(path)
    assert not touched.exists()


# --- digests -----------------------------------------------------------------------------------


def test_digest_of_tensors_ignores_the_order_of_names():
    assert digest_tensors(tensors()) == digest_tensors(dict(reversed(tensors().items())))


@pytest.mark.parametrize(
    "change",
    [
        lambda t: {"renamed": t["w"]},
        lambda t: {"w": t["w"].view(3, 2)},
        lambda t: {"w": t["w"].view(torch.int32)},
        lambda t: {"w": t["w"] + torch.tensor([[0, 0, 0], [0, 0, 1e-7]])},
        lambda t: {**t, "more": torch.zeros(0)},
    ],
    ids=["name", "shape", "type", "one value", "one more"],
)
def test_digest_of_tensors_changes_with_what_they_hold(change):
    before = {"w": torch.zeros(2, 3)}
    assert digest_tensors(change(before)) != digest_tensors(before)


def test_digest_of_json_ignores_the_order_of_keys_only():
    value = {"a": [1, 2], "b": {"β": 1.0, "lr": 1e-3}}
    assert digest_json(value) == digest_json(json.loads('{"b":{"lr":0.001,"β":1.0},"a":[1,2]}'))
    assert digest_json(value) != digest_json({**value, "a": [2, 1]})
    assert digest_json(value) != digest_json({**value, "b": {"β": 1.5, "lr": 1e-3}})


@pytest.mark.parametrize("text", ['{"a": [1, 2], "β": 0.5}', '"größer"', "[]", "null"])
def test_digest_of_json_is_sixteen_digits_of_the_sha_256_of_its_utf_8(text):
    value = json.loads(text)
    assert digest_json(value) == hashlib.sha256(text.encode()).hexdigest()[:16]
    assert len(digest_json(value)) == 16
