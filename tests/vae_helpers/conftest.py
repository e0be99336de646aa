"""What tests of the library share. None of them imports anything of the press."""

import os
from pathlib import Path

import pytest

from vae_helpers.data import find

ROOT = Path(__file__).resolve().parents[2]
CALLERS_DATA = os.environ.get("VAE_DATA_DIR")


@pytest.fixture(scope="session")
def real_folder() -> Path:
    """The folder with Fashion-MNIST and MNIST; skips the test where there is none."""
    places = [Path(CALLERS_DATA)] if CALLERS_DATA else []
    places += [ROOT / "data", ROOT.parent / "shared" / "data"]
    for folder in places:
        if all(find(name, [folder]) for name in ("FashionMNIST", "MNIST")):
            return folder
    pytest.skip(
        f"needs FashionMNIST/raw/*.gz and MNIST/raw/*.gz in {' or '.join(map(str, places))}"
    )


@pytest.fixture
def mutated():
    """A function that flips, removes, repeats or puts in a few of some bytes."""
    return _mutated


def _mutated(content, random):
    content = bytearray(content)
    for _ in range(random.integers(1, 4)):
        place, size = random.integers(len(content)), random.integers(1, 20)
        kind = random.integers(5)
        if kind == 0:
            content[place] ^= 1 << random.integers(8)
        elif kind == 1:
            del content[place : place + size]
        elif kind == 2:
            content[place:place] = content[place : place + size]
        elif kind == 3:
            content[place : place + size] = random.bytes(size)
        else:
            del content[max(place, 1) :]
    return bytes(content)
