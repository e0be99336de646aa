"""Surroundings that turn against a training or a reader: disks, clocks, locales, homes, archives.

What else can go wrong is tested beside what it happens to; ``@pytest.mark.fault`` says which tests
stand in the book's table of faults.
"""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
import torch

from press.checkpoints import checkpoint_path, load
from press.images import data_digest
from press.runs import find_run, settled
from press.settings import ROOT
from press.training import experiment
from vae_helpers import data
from vae_helpers.errors import CheckpointError, WriteError
from vae_helpers.files import load_tensors, locked, save_tensors, write_atomically

TRAINING = """
import sys
from pathlib import Path

from press.book import Book
from press.experiments import find_table
from press.files import write_rows
from press.settings import read
from press.stored import tables

book = Book(read(build=Path(sys.argv[1])))
print(book.experiment("dense2").digest)
table = find_table("disentanglement")
codes = list(table.configurations(book))[0]
write_rows(Path(sys.argv[1], "rows.csv"), [tables.measure_row(table, book, codes)])
"""


def run(code, *arguments, env=None, **options):
    """A Python of its own in the smoke profile, on one core: exit status, stdout, stderr."""
    environment = os.environ if env is None else env
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**environment, "VAE_PROFILE": "smoke", "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        **options,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """The digest of a training, and a table's row as bytes, in usual surroundings."""
    folder = tmp_path_factory.mktemp("usual")
    code, digest, err = run(TRAINING, folder)
    assert code == 0, err
    return digest, (folder / "rows.csv").read_bytes()


# --- the disk -----------------------------------------------------------------------------------

FULL = """
import resource
import sys
from pathlib import Path

from dataclasses import replace

from press import training
from press.runs import RUNS
from press.settings import read
from vae_helpers.errors import VaeError

fit, run = training.fit, replace(RUNS["dense2"], epochs=3)


def fill(state):  # no file may grow as far as a checkpoint, which is a sixth of a state
    full = state.stat().st_size // 16
    resource.setrlimit(resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))


def filling(*arguments, snapshot, state, **options):
    def step(model, number):
        if sys.argv[2] == "after an epoch" and state.exists():
            fill(state)
        return snapshot(model, number)

    trained = fit(*arguments, snapshot=step, state=state, **options)
    if sys.argv[2] == "after the last":
        fill(state)
    return trained


training.fit = filling
try:
    training.train(run, read(build=Path(sys.argv[1])))
except VaeError as error:
    sys.exit(str(error))
"""


@pytest.mark.fault(
    "the disk is full when an epoch or a checkpoint is to be written",
    "one line names the file; the last written epoch is whole, and with room again the next call "
    "goes on from it",
)
@pytest.mark.parametrize(("when", "kept"), [("after an epoch", 1), ("after the last", 3)])
def test_a_full_disk_loses_no_finished_epoch(tmp_path, when, kept):
    code, _, err = run(FULL, tmp_path, when)
    state = tmp_path / "smoke" / "training" / "dense2.safetensors"
    whole = tmp_path / "smoke" / "assets" / "checkpoints" / "dense2.safetensors"
    assert code == 1
    refused = state if kept == 1 else whole
    assert err.strip().splitlines()[-1].startswith(f"{refused} cannot be written (File too large)")
    assert "Traceback" not in err
    assert {row["epoch"] for row in load_tensors(state)[1]["rows"]} == set(range(1, kept + 1))
    assert {path.name for path in state.parent.iterdir()} == {state.name, "dense2.lock"}
    assert not whole.exists()
    code, _, err = run(FULL, tmp_path, "never")
    assert code == 0, err
    assert not state.exists()
    other = tmp_path / "undisturbed"
    assert run(FULL, other, "never")[0] == 0
    undisturbed = other / "smoke" / "assets" / "checkpoints" / "dense2.safetensors"
    assert load_tensors(whole)[1]["weights"] == load_tensors(undisturbed)[1]["weights"]


def lock_up(folder):
    """Take all right to write from the folder and what is in it."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))


def unlock(folder):
    for path in [folder, *folder.rglob("*")]:
        path.chmod(path.stat().st_mode | stat.S_IWUSR)


@pytest.fixture
def checkout():
    """A copy of the packages with one trained model, which nobody can write to."""
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to other users
        root = Path(folder, "book")
        for package in ("vae_helpers", "press"):
            shutil.copytree(ROOT / package, root / package)
        for name in ("_config.yml", "assets/results/speed.json"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
        code, _, err = run(READ, root, "trains the model that is read")
        assert code == 0, err
        os.chmod(folder, 0o755)
        lock_up(root)
        yield root
        unlock(root)


# Root may write anywhere: once all is imported, the process becomes one that may not.
READ = """
import os
import sys

sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
from press import checkpoints, cluster, training
from press.__main__ import main
from press.book import open_book
from press.runs import find_run
from press.stored import numbers

assert checkpoints.__file__.startswith(sys.argv[1]), checkpoints.__file__
book = open_book()
run, path = find_run("dense2", book.settings), checkpoints.checkpoint_path("dense2", book.settings)
if sys.argv[2] == "read-only":
    if os.geteuid() == 0:
        os.seteuid(65534)
else:
    training.train(run, book.settings)
assert checkpoints.load(path, run, book.settings).history.epochs == 1
print(numbers.provenance("speed/ratio", book.settings)["unit"])
if sys.argv[2] == "read-only":
    sys.exit(main(["train", "dense10"]))
"""


@pytest.mark.fault(
    "the checkout is read-only",
    "models and numbers are read as ever; one line names the file that a training would need",
)
def test_a_read_only_checkout_is_read(checkout):
    code, out, err = run(READ, checkout, "read-only")
    assert (code, out) == (1, "times\n"), err
    assert err.startswith(f"{checkout / '_build'}")
    assert "cannot be written (Permission denied)" in err
    assert "Traceback" not in err


def test_what_the_system_refuses_is_named_with_its_reason(tmp_path):
    (tmp_path / "file").write_text("no folder")
    for refused in (
        lambda path: write_atomically(path, b""),
        lambda path: locked(path).__enter__(),
    ):
        with pytest.raises(WriteError, match=r"file/inside cannot be written \(.*(exists|Not a)"):
            refused(tmp_path / "file" / "inside")


# --- homes, clocks and locales ------------------------------------------------------------------


@pytest.mark.fault(
    "the environment has no HOME, or one that does not exist",
    "nothing changes: nothing is kept outside the checkout",
)
@pytest.mark.parametrize("home", [None, "/nowhere/at/all"])
def test_no_home_is_needed(tmp_path, usual, home):
    env = {"PATH": os.environ["PATH"]} | ({"HOME": home} if home else {})
    code, digest, err = run(TRAINING, tmp_path, env=env)
    assert code == 0, err
    assert (digest, (tmp_path / "rows.csv").read_bytes()) == usual


@pytest.mark.fault(
    "another time zone, and a text encoding that knows only ASCII",
    "the same weights and the same bytes in tables",
)
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Antarctica/Troll"])
def test_results_do_not_depend_on_place_or_encoding(tmp_path, usual, zone):
    ascii_only = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    code, digest, err = run(TRAINING, tmp_path, env=os.environ | ascii_only | {"TZ": zone})
    assert code == 0, err
    assert (digest, (tmp_path / "rows.csv").read_bytes()) == usual


LOCAL = """
import locale
locale.setlocale(locale.LC_ALL, "")
assert locale.localeconv()["decimal_point"] == ","
"""


@pytest.mark.fault(
    "a language that writes a comma for the decimal point, or has letters of its own for i",
    "the same weights and the same bytes in tables",
)
@pytest.mark.parametrize("language", ["de_DE", "tr_TR"])
def test_results_do_not_depend_on_language(tmp_path, usual, language):
    name = f"{language}.UTF-8"  # made here: few machines have one installed
    compiled = shutil.which("localedef") and subprocess.run(
        ["localedef", "-i", language, "-f", "UTF-8", tmp_path / name], capture_output=True
    )
    if not (tmp_path / name).exists():
        pytest.skip(f"no locale can be compiled here: {compiled and compiled.stderr}")
    spoken = {"LOCPATH": str(tmp_path), "LC_ALL": name, "LANGUAGE": language[:2]}
    code, digest, err = run(LOCAL + TRAINING, tmp_path, env=os.environ | spoken)
    assert code == 0, err
    assert (digest, (tmp_path / "rows.csv").read_bytes()) == usual


CLOCK = """
import itertools, random, sys, time
years = random.Random(0)
time.time = lambda: 3e9 * years.random()
time.time_ns = lambda: int(1e9 * time.time())
"""


@pytest.mark.fault(
    "the clock jumps by decades, and files are dated in the past or the future",
    "the same weights, tables and digests",
)
def test_results_do_not_depend_on_the_clock(tmp_path, usual):
    code, digest, err = run(CLOCK + TRAINING, tmp_path)
    assert code == 0, err
    assert (digest, (tmp_path / "rows.csv").read_bytes()) == usual
    for when in (0, 4e9):
        for path in tmp_path.rglob("*"):
            os.utime(path, (when, when))
        (tmp_path / "rows.csv").unlink()
        code, digest, err = run(TRAINING, tmp_path)
        assert code == 0, err
        assert (digest, (tmp_path / "rows.csv").read_bytes()) == usual


# --- paths that lead elsewhere ------------------------------------------------------------------

ELSEWHERE = ("../../elsewhere", "/tmp/elsewhere", "..\\..\\elsewhere")


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.fault(
    "a checkpoint or an archive names files outside its folder (../../elsewhere)",
    "refused, or read as the plain name it is; nothing is written anywhere",
)
@pytest.mark.parametrize("name", ELSEWHERE)
def test_no_name_in_a_file_leads_out_of_its_folder(smoke, tmp_path, write_csv, name):
    path, run = checkpoint_path("dense2", smoke), find_run("dense2", smoke)
    images = data_digest("train", run.dataset, smoke)
    header = {"run": settled(run), "data": images, "history": [], "made": {"seconds": 0.0}}
    save_tensors(path, {f"model.{name}": torch.zeros(2), name: torch.ones(2)}, header)
    before = files(tmp_path)
    with pytest.raises(CheckpointError, match="does not fit the model"):
        load(path, run, smoke)
    with zipfile.ZipFile(tmp_path / "run.pt", "w") as archive:  # as torch.save packs
        archive.writestr(name, "elsewhere")
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        load_tensors(tmp_path / "run.pt")
    table = tmp_path / "table.csv"
    write_csv(data.garments(20), table)
    with zipfile.ZipFile(tmp_path / "table.csv.zip", "w") as archive:
        archive.writestr(name, table.read_bytes())
    assert len(data.from_csv(tmp_path / "table.csv.zip")) == 20
    assert files(tmp_path) == sorted(
        [*before, tmp_path / "run.pt", table, tmp_path / "table.csv.zip"]
    )
    with pytest.raises(KeyError, match="no run"):
        experiment(name, smoke)
