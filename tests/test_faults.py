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

from vae_helpers import data, runs
from vae_helpers.files import WriteError, alone, write_atomically
from vae_helpers.settings import ROOT
from vae_helpers.storage import CheckpointError, load_tensors, save_tensors

TRAINING = """
import sys
from pathlib import Path

from vae_helpers import runs, sweeps, tables
from vae_helpers.files import write_rows
from vae_helpers.settings import Settings

Settings.assets, Settings.work = Path(sys.argv[1], "assets"), Path(sys.argv[1], "work")
path = runs.train("dense2")
print(runs.trained("dense2").digest)
table = sweeps.TABLES["disentanglement"]
codes = table.configurations()[0]
write_rows(Path(sys.argv[1], "rows.csv"), [tables.measured_row(table, codes)])
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

from vae_helpers import runs
from vae_helpers.__main__ import main
from vae_helpers.settings import Settings

Settings.assets, Settings.work = Path(sys.argv[1], "assets"), Path(sys.argv[1], "work")
runs.shortened = lambda run: runs.replace(run, epochs=3)
fit = runs.fit


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


runs.fit = filling
sys.exit(main(["train", "dense2"]))
"""


@pytest.mark.fault(
    "the disk is full when an epoch or a checkpoint is to be written",
    "one line names the file; the last written epoch is whole, and with room again the next call "
    "goes on from it",
)
@pytest.mark.parametrize(("when", "kept"), [("after an epoch", 1), ("after the last", 3)])
def test_a_full_disk_loses_no_finished_epoch(tmp_path, when, kept):
    code, _, err = run(FULL, tmp_path, when)
    state = tmp_path / "work" / "training" / "dense2.safetensors"
    whole = tmp_path / "assets" / "checkpoints" / "dense2.safetensors"
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
    undisturbed = other / "assets" / "checkpoints" / "dense2.safetensors"
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
    """A copy of the package with one trained model, which nobody can write to."""
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to other users
        root = Path(folder, "book")
        shutil.copytree(ROOT / "vae_helpers", root / "vae_helpers")
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
from vae_helpers import data, results, runs, together
from vae_helpers.__main__ import main

assert runs.__file__.startswith(sys.argv[1]), runs.__file__
path, images = runs.checkpoint_path("dense2"), data.load("train").digest
if sys.argv[2] == "read-only":
    if os.geteuid() == 0:
        os.seteuid(65534)
else:
    runs.train("dense2")
assert runs.load(path, runs.find_run("dense2"), images).history.epochs == 1
print(results.provenance("speed/ratio")["unit"])
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
    for refused in (lambda path: write_atomically(path, b""), lambda path: alone(path).__enter__()):
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
def test_no_name_in_a_file_leads_out_of_its_folder(smoke, name):
    path = smoke / "assets" / "checkpoints" / "dense2.safetensors"
    run = runs.find_run("dense2")
    images = data.load("train").digest
    header = {"run": runs.settled(run), "data": images, "history": [], "made": {"seconds": 0.0}}
    save_tensors(path, {f"model.{name}": torch.zeros(2), name: torch.ones(2)}, header)
    before = files(smoke)
    with pytest.raises(CheckpointError, match="does not fit the run's model"):
        runs.load(path, run, images)
    with zipfile.ZipFile(smoke / "run.pt", "w") as archive:  # as torch.save packs
        archive.writestr(name, "elsewhere")
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        load_tensors(smoke / "run.pt")
    table = smoke / "table.csv"
    data.to_csv(data.garments(20), table)
    with zipfile.ZipFile(smoke / "table.csv.zip", "w") as archive:
        archive.writestr(name, table.read_bytes())
    assert len(data.from_csv(smoke / "table.csv.zip")) == 20
    assert files(smoke) == sorted([*before, smoke / "run.pt", table, smoke / "table.csv.zip"])
    with pytest.raises(KeyError, match="no run"):
        runs.train(name)
