"""Sessions of pytest: no comparison is skipped or loosened unseen, and workers share the cores."""

import os
import subprocess
import sys

import pytest

from press.settings import ROOT
from vae_helpers.data import find

CHAPTER = "chapters/02_model.ipynb"


def session(*options, **environment):
    """Exit status and output of a pytest of its own in the project's root."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)} | environment, capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def with_data(real_book):
    """The environment of a session that finds the data where this one does."""
    return real_book.settings.environment()


def test_a_filter_that_leaves_cells_out_fails(with_data):
    status, said = session("--nbval", CHAPTER, "-k", "nothing_here", **with_data)
    assert status == 1
    assert "notebook cells were not compared" in said


def test_a_lax_comparison_is_refused(with_data):
    status, said = session("--nbval-lax", CHAPTER, **with_data)
    assert status == pytest.ExitCode.USAGE_ERROR
    assert "--nbval-lax and --nbval-sanitize-with loosen the comparison" in said


def test_a_number_that_differs_fails(with_data, tmp_path):
    stored = (ROOT / CHAPTER).read_text(encoding="utf-8")
    changed = stored.replace("| conv | 119,392 |", "| conv | 119,393 |")
    assert changed != stored
    copy = tmp_path / "02_model.ipynb"
    copy.write_text(changed, encoding="utf-8")
    status, said = session("--nbval", str(copy), **with_data)
    assert status == 1
    assert "119,393" in said


def test_without_the_dataset_chapters_run_on_garments_and_the_session_says_so(tmp_path):
    status, said = session("--nbval", CHAPTER, VAE_DATA_DIR=str(tmp_path))
    assert status == 0, said
    assert "chapters ran on drawn garments" in said
    assert "FashionMNIST and MNIST not found" in said
    assert f"raw under {tmp_path}" in said


def test_one_missing_dataset_is_enough_to_run_on_garments(real_book, tmp_path):
    raw = find("FashionMNIST", real_book.settings.places)
    (tmp_path / "FashionMNIST").mkdir()
    (tmp_path / "FashionMNIST" / "raw").symlink_to(raw)
    status, said = session("--nbval", CHAPTER, VAE_DATA_DIR=str(tmp_path))
    assert status == 0, said
    assert "\nMNIST not found" in said


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_share_the_cores(tmp_path, monkeypatch, workers):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("PYTEST_XDIST_WORKER_COUNT", raising=False)
    asked = tmp_path / "test_threads.py"
    threads = max(1, (os.cpu_count() or 1) // max(1, workers))
    asked.write_text(
        "import os\n\ndef test_threads():\n"
        f"    assert os.environ['OMP_NUM_THREADS'] == '{threads}'\n"
    )
    status, said = session(
        *("-p", "conftest", "-n", str(workers), str(asked)), PYTHONPATH=str(ROOT / "tests")
    )
    assert status == 0, said
