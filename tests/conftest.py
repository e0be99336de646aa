"""What all tests share: an environment of their own, and the book under settings of their own."""

import importlib.util
import os
import shutil
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
from dask.system import cpu_count
from hypothesis import settings as hypothesis_settings

hypothesis_settings.register_profile("book", deadline=None)  # a busy machine is no failure
hypothesis_settings.load_profile("book")
ROOT = Path(__file__).resolve().parents[1]
CALLERS_DATA = os.environ.get("VAE_DATA_DIR")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    # Several workers share the cores; each imports PyTorch and NumPy only after this. They inherit
    # what their controller sets, so it has to count them, too.
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 0)) or (
        getattr(config.option, "numprocesses", None) or 1
    )
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cpu_count() // workers)))
    # What a test starts is of this checkout, too, whatever other one is installed.
    ours = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    os.environ["PYTHONPATH"] = ours


@pytest.fixture(autouse=True)
def own_environment():
    """No test sees the caller's switches, and none leaves its own behind."""
    with mock.patch.dict(os.environ):
        for name in list(os.environ):
            if name.startswith("VAE_") or name == "GITHUB_REPOSITORY":
                del os.environ[name]
        yield


@pytest.fixture
def another_checkout(tmp_path):
    """The folder of a copy of both packages whose KL is twice as large, and whose page says so."""
    copy = tmp_path / "another checkout"
    for name in ("vae_helpers", "press"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(ROOT / name, copy)
    losses = copy / "vae_helpers" / "losses.py"
    text = losses.read_text(encoding="utf-8").replace("0.5 * (", "1.0 * (", 1)
    text = text.replace("The terms of the ELBO", "Another checkout's terms", 1)
    assert text.count("1.0 * (") == text.count("Another checkout") == 1
    losses.write_text(text, encoding="utf-8")
    return copy


@pytest.fixture
def write_csv():
    """A function that writes images and labels in Kaggle's form, packed as the path's end says."""
    return _write_csv


def _write_csv(dataset, path):
    import pandas as pd
    import torch

    values = torch.cat([dataset.labels[:, None], dataset.images.flatten(1)], dim=1).numpy()
    columns = ["label", *(f"pixel{i}" for i in range(1, values.shape[1]))]
    pd.DataFrame(values, columns=columns).to_csv(path, index=False)


@pytest.fixture
def settings(tmp_path):
    """The book's settings, but for a folder of this test's own for all that is made."""
    from press.settings import read

    return read({"VAE_DATA_DIR": CALLERS_DATA or ""}, build=tmp_path)


@pytest.fixture
def real(settings):
    """The book's settings; skips the test where the real images are not at hand."""
    from press.images import FILES
    from vae_helpers import data

    if absent := [name for name in FILES.values() if data.find(name, settings.places) is None]:
        pytest.skip(
            f"{' and '.join(absent)} not found under {', '.join(map(str, settings.places))}"
        )
    return settings


@pytest.fixture
def smoke(settings):
    """The settings of a smoke run."""
    return replace(settings, profile="smoke")


@pytest.fixture
def book(smoke):
    """The book in the smoke profile."""
    from press.book import Book

    return Book(smoke)


@pytest.fixture
def real_book(real):
    """The book itself; skips the test where the real images are not at hand."""
    from press.book import Book

    return Book(real)


@pytest.fixture
def elsewhere(monkeypatch):
    """Another device than the CPU, see ``elsewhere.py``, to move tensors, data and models to."""
    import torch

    at = Path(__file__).with_name("elsewhere.py")
    made = importlib.util.spec_from_file_location("elsewhere", at)
    module = importlib.util.module_from_spec(made)
    made.loader.exec_module(module)
    monkeypatch.setattr(torch.__future__, "_swap_module_params_on_conversion", True)
    with module.Elsewhere():
        yield module.Elsewhere.DEVICE
