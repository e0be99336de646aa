"""What all tests share: an environment of their own, and the real dataset where there is one."""

import os
from unittest import mock

import pytest
from hypothesis import settings

settings.register_profile("book", deadline=None)  # a busy machine is no failure
settings.load_profile("book")
CALLERS_DATA = os.environ.get("VAE_DATA_DIR")


@pytest.fixture(autouse=True)
def own_environment():
    """No test sees the caller's switches, and none leaves its own behind."""
    with mock.patch.dict(os.environ):
        for name in list(os.environ):
            if name.startswith("VAE_") or name == "GITHUB_REPOSITORY":
                del os.environ[name]
        yield


@pytest.fixture
def real_data(own_environment, monkeypatch):
    """``vae_helpers.data`` with Fashion-MNIST at hand; skips the test where it is not."""
    from vae_helpers import data

    if CALLERS_DATA:
        monkeypatch.setenv("VAE_DATA_DIR", CALLERS_DATA)
    if data.find("FashionMNIST") is None:
        places = ", ".join(map(str, data._places()))
        pytest.skip(f"needs Fashion-MNIST's four .gz files in FashionMNIST/raw under {places}")
    return data


@pytest.fixture
def smoke_in(monkeypatch):
    """A function that turns on the smoke profile, with all its files under the folder it gets."""

    def turn_on(folder):
        from vae_helpers.settings import Settings

        monkeypatch.setenv("VAE_PROFILE", "smoke")
        monkeypatch.setattr(Settings, "assets", folder / "assets")
        monkeypatch.setattr(Settings, "work", folder / "work")
        return folder

    return turn_on


@pytest.fixture
def smoke(smoke_in, tmp_path):
    """The smoke profile, with all its files in a folder of this test's own."""
    return smoke_in(tmp_path)
