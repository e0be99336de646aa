import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

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


def test_written_file_holds_the_content_and_is_readable_by_all(tmp_path):
    path = tmp_path / "new" / "folder" / "file.json"
    write_atomically(path, b"first")
    write_atomically(path, b"second")
    assert path.read_bytes() == b"second"
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(path.parent) == ["file.json"]


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
        with pytest.raises(WriteError, match=f"^{path} cannot be written .*call again$"):
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
    path, touched = tmp_path / "new" / "run.lock", tmp_path / "touched"
    command = [sys.executable, "-c", HOLDING, path, touched]
    with locked(path):
        other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert other.stdout.readline() == "waiting\n"
        time.sleep(0.5)
        assert not touched.exists()
    assert other.stdout.readline() == "locked\n"
    other.send_signal(signal.SIGKILL)
    other.wait()
    with locked(path):
        assert path.exists()


def test_an_error_inside_lets_go_of_the_lock(tmp_path):
    for _ in range(2):
        with pytest.raises(KeyError), locked(tmp_path / "run.lock"):
            raise KeyError


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
    assert "delete it" in str(caught.value)
    return str(caught.value)


def test_missing_checkpoint_is_refused(tmp_path):
    refused(tmp_path / "none.safetensors")


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
