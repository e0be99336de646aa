"""The library on its own: installed from its wheel, it does what README promises of it.

The environment has the library and the packages that its wheel declares, with all that these need
in turn, and nothing else. These are not installed once more, which would download gigabytes: each
of their files, as their own records list them, is a link to the one that is installed here. Pip
installs the wheel itself, and fetches what builds it, setuptools, if it has to.
"""

import os
import re
import shutil
import subprocess
import sys
import venv
from importlib.metadata import Distribution, distribution
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Path:
    """A fresh environment with the wheel and its dependencies; its Python."""
    folder = tmp_path_factory.mktemp("wheel")
    # From a copy: building leaves folders of its own beside the sources.
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (folder / "source").mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / "source")
    shutil.copytree(
        ROOT / "vae_helpers",
        folder / "source" / "vae_helpers",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    # The checkout is none of what pip shall find installed.
    alone = {"check": True, "env": {**os.environ, "PYTHONPATH": ""}}
    subprocess.run([*pip, "wheel", "--no-deps", "-w", folder, folder / "source"], **alone)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv" / "bin" / "python"
    install = [*pip, "--python", python, "install", "--no-deps", "--no-index", wheel]
    subprocess.run(install, **alone)
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    (installed,) = site.glob("vae_helpers-*.dist-info")
    for name in needed(Distribution.at(installed).requires):
        link(distribution(name), site)
    return python


def needed(requirements: list[str]) -> set[str]:
    """The names of those packages and of all that they need here in turn, extras included."""
    found, todo = set(), [(one, "") for one in requirements]
    while todo:
        text, extra = todo.pop()
        one = Requirement(text)
        if one.marker is None or one.marker.evaluate({"extra": extra}):
            asked = {(one.name, wanted) for wanted in ("", *one.extras)} - found
            found |= asked
            for name, wanted in asked:
                todo += [(text, wanted) for text in distribution(name).requires or []]
    return {name for name, _ in found}


def link(one: Distribution, site: Path) -> None:
    """Put the files of that package into ``site``, too; its scripts stay away."""
    for file in one.files:
        if file.parts[0] == ".." or "__pycache__" in file.parts:
            continue
        (site / file).parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file.locate(), site / file)
        except OSError:  # another disk
            (site / file).symlink_to(file.locate())


def run(python: Path, folder: Path, code: str, *options: str) -> str:
    """What that code prints in ``folder`` on the CPU, with nothing of this checkout in sight."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("VAE_", "PY"))}
    done = subprocess.run(
        [python, *options, "-c", code],
        cwd=folder,
        env=clean | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def blobs(count: int) -> np.ndarray:
    """Pictures ``(count, 32, 32, 3)``: a coloured disc on a ground of another colour."""
    random = np.random.default_rng(0)
    down, across = np.mgrid[:32, :32]
    middle, size = random.uniform(8, 24, (2, count, 1, 1)), random.uniform(4, 9, (count, 1, 1))
    disc = (down - middle[0]) ** 2 + (across - middle[1]) ** 2 < size**2
    colours = random.integers(0, 256, (2, count, 1, 1, 3))
    return np.where(disc[..., None], colours[0], colours[1]).astype(np.uint8)


def test_nothing_but_the_library_and_what_it_declares_is_there(environment, tmp_path):
    place = run(environment, tmp_path, "import vae_helpers; print(vae_helpers.__file__)")
    assert Path(place.strip()).is_relative_to(environment.parents[1])
    for name in ("press", "yaml", "IPython", "pytest", "pip", "torchvision"):
        found = f"import importlib.util as u; print(u.find_spec({name!r}))"
        assert run(environment, tmp_path, found) == "None\n", name


def test_every_module_can_be_imported_without_a_warning(environment, tmp_path):
    every = (
        "import pkgutil, vae_helpers\n"
        "for one in pkgutil.walk_packages(vae_helpers.__path__, 'vae_helpers.'):\n"
        "    __import__(one.name)\n"
        "    print(one.name)\n"
        "for name in dir(vae_helpers):\n"
        "    getattr(vae_helpers, name)\n"
    )
    modules = run(environment, tmp_path, every, "-W", "error").split()
    sources = (ROOT / "vae_helpers").rglob("*.py")
    assert len(modules) == len(list(sources)) - 1  # the package itself


def test_data_that_is_not_there_is_named(environment, tmp_path):
    code = (
        "from vae_helpers import DataError, data\n"
        "print(data.find('FashionMNIST', ['data']))\n"
        "try:\n"
        "    data.fashion_mnist('test', 'data')\n"
        "except DataError as error:\n"
        "    print(error)\n"
    )
    found, error = run(environment, tmp_path, code).splitlines()
    assert found == "None"
    assert re.search(r"data/FashionMNIST/raw/t10k-images.*: cannot be read .* data.obtain", error)


def test_readme_s_own_images(environment, tmp_path):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split("## Your own images\n")[1].split("\n## ")[0]
    (code,) = re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert len(code.splitlines()) <= 25
    assert max(map(len, code.splitlines())) <= 79
    np.save(tmp_path / "pictures.npy", blobs(3_000))

    printed = run(environment, tmp_path, code)

    value, error = map(
        float, re.fullmatch(r"−ELBO: ([0-9.]+) ± ([0-9.]+) nats per image\n", printed).groups()
    )
    # Every pixel ½: 3,072 × ln 2 = 2,129 nats. Every pixel known: 3,072 × ½, as for any channel
    # uniform in [0, 1]. A model that has learned colours and places is nearer to the latter.
    assert 1_536 < value < 1_800
    assert 0 < error < 20
    made = {path.name for path in tmp_path.iterdir()} - {"pictures.npy"}
    assert made == {"pictures.png", "traversal.png"}
    for name in made:
        shown = np.asarray(Image.open(tmp_path / name).convert("RGB")).astype(int)
        assert np.ptp(shown, axis=2).max() > 50  # in colour
