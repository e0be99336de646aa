from pathlib import Path

import pytest

from vae_helpers import settings as module
from vae_helpers.settings import ROOT, settings

CONFIG = """
author: Ada Lovelace
repository:
  url: https://github.com/ada/engine
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ROOT", tmp_path)
    (tmp_path / "_config.yml").write_text(CONFIG, encoding="utf-8")
    return tmp_path / "_config.yml"


def test_a_plain_run_is_the_full_book_and_changes_nothing():
    now = settings()
    assert now.profile == "full"
    assert (now.smoke, now.retrain, now.record) == (False, False, False)
    assert (now.data_dir, now.device) == (None, None)


def test_smoke_profile_is_chosen_by_name(monkeypatch):
    monkeypatch.setenv("VAE_PROFILE", "smoke")
    assert settings().smoke


@pytest.mark.parametrize("profile", ["Full", "quick", " smoke"])
def test_unknown_profile_is_refused_naming_it_and_the_choices(monkeypatch, profile):
    monkeypatch.setenv("VAE_PROFILE", profile)
    with pytest.raises(ValueError, match=f"VAE_PROFILE is '{profile}'.*full, smoke"):
        settings()


def test_author_comes_from_the_config(config):
    assert settings().author == "Ada Lovelace"


def test_author_may_have_any_letters(config):
    config.write_text(CONFIG.replace("Ada Lovelace", "Žofie Ødegård"), encoding="utf-8")
    assert settings().author == "Žofie Ødegård"


@pytest.mark.parametrize(
    ("variable", "value", "field", "expected"),
    [
        ("VAE_AUTHOR", "Grace Hopper", "author", "Grace Hopper"),
        ("VAE_AUTHOR", "", "author", "Ada Lovelace"),
        ("VAE_DATA_DIR", "/some/data", "data_dir", Path("/some/data")),
        ("VAE_DATA_DIR", "", "data_dir", None),
        ("VAE_DEVICE", "cuda", "device", "cuda"),
        ("VAE_DEVICE", "", "device", None),
        ("VAE_RETRAIN", "1", "retrain", True),
        ("VAE_RETRAIN", "0", "retrain", False),
        ("VAE_RECORD", "1", "record", True),
        ("VAE_RECORD", "", "record", False),
    ],
)
def test_environment_precedes_the_config_unless_empty(
    config, monkeypatch, variable, value, field, expected
):
    monkeypatch.setenv(variable, value)
    assert getattr(settings(), field) == expected


def test_environment_is_read_anew_each_time(monkeypatch):
    assert settings().author != "Grace Hopper"
    monkeypatch.setenv("VAE_AUTHOR", "Grace Hopper")
    assert settings().author == "Grace Hopper"


@pytest.mark.parametrize(
    ("profile", "retrain", "assets", "work"),
    [
        ("full", "0", "assets", "_build/work"),
        ("full", "1", "_build/retrained", "_build/work"),
        ("smoke", "0", "_build/smoke/assets", "_build/smoke"),
        ("smoke", "1", "_build/smoke/assets", "_build/smoke"),
    ],
)
def test_only_the_books_own_run_reads_the_books_assets(monkeypatch, profile, retrain, assets, work):
    monkeypatch.setenv("VAE_PROFILE", profile)
    monkeypatch.setenv("VAE_RETRAIN", retrain)
    now = settings()
    assert now.assets == ROOT / assets
    assert now.work == ROOT / work
