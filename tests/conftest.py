"""What all tests share: an environment of their own, and the book under settings of their own."""

import importlib.util
import os
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import settings as hypothesis_settings

hypothesis_settings.register_profile("book", deadline=None)  # a busy machine is no failure
hypothesis_settings.load_profile("book")
CALLERS_DATA = os.environ.get("VAE_DATA_DIR")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    # Several workers share the cores; each imports PyTorch and NumPy only after this. They inherit
    # what their controller sets, so it has to count them, too.
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 0)) or (
        getattr(config.option, "numprocesses", None) or 1
    )
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))


@pytest.fixture(autouse=True)
def own_environment():
    """No test sees the caller's switches, and none leaves its own behind."""
    with mock.patch.dict(os.environ):
        for name in list(os.environ):
            if name.startswith("VAE_") or name == "GITHUB_REPOSITORY":
                del os.environ[name]
        yield


@pytest.fixture
def settings(tmp_path):
    """The book's settings, but for a folder of this test's own for all that is made."""
    from press.settings import read

    return read({"VAE_DATA_DIR": CALLERS_DATA or ""}, build=tmp_path)


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
def real_book(settings):
    """The book itself; skips the test where the real images are not at hand."""
    from press.book import Book
    from press.images import missing

    if why := missing(settings):
        pytest.skip(why)
    return Book(settings)


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
