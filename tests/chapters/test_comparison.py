"""Sessions of pytest: no comparison is skipped or loosened unseen, and workers share the cores."""

import base64
import io
import json
import os
import re
import subprocess
import sys

import nbformat
import pytest
from dask.system import cpu_count
from PIL import Image

from press.report import MIME
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


def red(output):
    picture = Image.open(io.BytesIO(base64.b64decode(output.data["image/png"])))
    packed = io.BytesIO()
    Image.new("RGB", picture.size, "red").save(packed, "PNG")
    output.data["image/png"] = base64.b64encode(packed.getvalue()).decode()


def moved(output):
    numbers = output.data[MIME]["shows"]["numbers"]
    numbers[-1] = " ".join(f"{1.1 * float(one):.6g}" for one in numbers[-1].split())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (red, "the picture in the file is not the one that was drawn there"),
        (moved, "differs from the stored one: it draws an array of mean"),
    ],
)
def test_a_picture_that_differs_fails(with_data, tmp_path, change, said):
    made = nbformat.read(ROOT / CHAPTER, 4)
    outputs = [one for cell in made.cells for one in cell.get("outputs", ())]
    change(next(one for one in outputs if "image/png" in one.get("data", {})))
    copy = tmp_path / "02_model.ipynb"
    nbformat.write(made, copy)
    status, shown = session("--nbval", "-p", "chapters.conftest", str(copy), **with_data)
    assert status == 1
    assert said in shown
    assert re.search(r"\b1 failed, \d+ passed", shown)


def test_without_the_dataset_chapters_run_on_garments_and_the_session_says_so(tmp_path):
    status, said = session("--nbval", CHAPTER, VAE_DATA_DIR=str(tmp_path))
    assert status == 0, said
    assert "chapters ran on drawn garments" in said
    assert "FashionMNIST and MNIST not found" in said
    assert f"raw under {tmp_path}" in said


@pytest.mark.fault(
    "another Python's kernel goes by the name of ours, and another checkout is installed",
    "chapters run in the Python and with the packages that were asked to compare them",
)
def test_chapters_run_in_the_python_that_asks(tmp_path):
    for name in ("press", "vae_helpers"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('another checkout')")
    kernel = tmp_path / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(json.dumps({"argv": ["/no/python"], "display_name": "Python 3"}))
    status, said = session(
        *("--nbval", CHAPTER),
        VAE_DATA_DIR=str(tmp_path),
        PYTHONPATH=str(tmp_path),
        JUPYTER_PATH=str(tmp_path),
        JUPYTER_PREFER_ENV_PATH="0",
    )
    assert status == 0, said
    assert "chapters ran on drawn garments" in said


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
    threads = max(1, cpu_count() // max(1, workers))
    asked.write_text(
        "import os\n\ndef test_threads():\n"
        f"    assert os.environ['OMP_NUM_THREADS'] == '{threads}'\n"
    )
    status, said = session(
        *("-p", "conftest", "-n", str(workers), str(asked)), PYTHONPATH=str(ROOT / "tests")
    )
    assert status == 0, said
