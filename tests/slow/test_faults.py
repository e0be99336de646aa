"""Many bad files, and the same training in many processes: what takes too long for every change."""

import gzip
import hashlib
import os
import struct
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

from vae_helpers import data
from vae_helpers.data import from_csv, read_idx
from vae_helpers.errors import DataError

IDX_INPUTS, CSV_INPUTS = 100_000, 4_000


def idx(array: np.ndarray) -> bytes:
    header = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def damaged(content: bytes, random: np.random.Generator) -> bytes:
    """``content`` with up to three bytes flipped, or pieces removed, doubled or replaced."""
    content = bytearray(content)
    for _ in range(random.integers(1, 4)):
        if not content:
            break
        place, size = random.integers(len(content)), random.integers(1, 20)
        match random.integers(5):
            case 0:
                content[place] ^= 1 << random.integers(8)
            case 1:
                del content[place : place + size]
            case 2:
                content[place:place] = content[place : place + size]
            case 3:
                content[place : place + size] = random.bytes(size)
            case _:
                del content[max(place, 1) :]
    return bytes(content)


def outcomes(read, path, inputs) -> dict[str, int]:
    """How many of the files are read and how many refused; anything else is raised."""
    counted = {"read": 0, "refused": 0}
    for content in inputs:
        path.write_bytes(content)
        try:
            read(path)
        except DataError as error:
            assert str(error).startswith(str(path))  # noqa: PT017
            counted["refused"] += 1
        else:
            counted["read"] += 1
    return counted


@pytest.mark.fault(
    "100,000 IDX files and 4,000 CSV files, damaged at random",
    "each is read or refused by name; there is no other error",
)
@pytest.mark.parametrize("kind", ["IDX", "CSV", "CSV below its header"])
def test_no_damage_makes_a_reader_crash(tmp_path, write_csv, kind):
    random, some = np.random.default_rng(0), data.garments(3)
    packed = gzip.compress(idx(some.images[:, 0, :4, :4].numpy()), mtime=0)
    write_csv(some, tmp_path / "whole.csv")
    table = (tmp_path / "whole.csv").read_bytes()
    header, rows = table[: table.index(b"\n") + 1], table[table.index(b"\n") + 1 :]
    published = partial(read_idx, md5=hashlib.md5(packed).hexdigest())
    # Half of a table's damage is mostly to the header, which is longer than the rows.
    name, read, count, damage = {
        "IDX": ("a.gz", published, IDX_INPUTS, lambda: damaged(packed, random)),
        "CSV": ("a.csv", from_csv, CSV_INPUTS // 2, lambda: damaged(table, random)),
        "CSV below its header": (
            "a.csv",
            from_csv,
            CSV_INPUTS // 2,
            lambda: header + damaged(rows, random),
        ),
    }[kind]
    found = outcomes(read, tmp_path / name, (damage() for _ in range(count)))
    assert sum(found.values()) == count
    assert found["refused"] > count / 2


TRAINING = """
import sys

import torch

from vae_helpers.data import garments
from vae_helpers.models import build_vae
from vae_helpers.files import digest_tensors
from vae_helpers.training import evaluate, fit

torch.set_num_threads(int(sys.argv[1]))
data, digests = garments(500), []
for body in ("dense", "conv"):
    model = build_vae(body, 4)
    fit(model, data, epochs=3, schedule="one-cycle", lr=4e-3, progress=False)
    total = float(evaluate(model, data)["total"].double().mean())
    print(digest_tensors(model.state_dict()), total)
"""


def trained(threads: int) -> list[tuple[str, float]]:
    """Digest and loss of two trainings in a process of their own."""
    done = subprocess.run(
        [sys.executable, "-c", TRAINING, str(threads)],
        env=os.environ | {"VAE_PROFILE": "smoke"},
        capture_output=True,
        text=True,
        check=True,
    )
    rows = (line.split() for line in done.stdout.splitlines())
    return [(digest, float(total)) for digest, total in rows]


@pytest.mark.fault(
    "the same seed in other processes, and with another number of threads",
    "the same bits in every process with as many threads; with another number of threads sums are "
    "added in another order, which training amplifies: the loss moves by less than one percent",
)
def test_a_seed_decides_every_bit_but_for_the_number_of_threads():
    one, again, two = trained(1), trained(1), trained(2)
    assert one == again
    assert two == trained(2)
    for (_, few), (_, more) in zip(one, two, strict=True):
        assert few == pytest.approx(more, rel=0.01)
