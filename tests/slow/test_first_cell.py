"""A chapter's first cell finds the book's code or fetches it, whatever was there or came between.

The cell is a chapter's own, run by itself in a fresh environment. The book is a small one of the
same layout, beside this repository's own ``chapters/colab.py``; git takes it from this machine
where the cell names the repository's address. One package is missing; what stands in for pip
writes it as pip does, file by file, its metadata last.
"""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

from press.settings import ROOT
from press.site.chapters import notebook

KILLS = 100
TOLD = "; import press, vae_helpers; print(press.__file__, vae_helpers.__file__, sep='\\n')"
PIP = """
import os, pathlib, sys, time

site = pathlib.Path(__file__).parents[1]
(site / "missing").mkdir(exist_ok=True)
for name in ("one", "two", "__init__"):
    (site / "missing" / f"{name}.py").write_text("")
    time.sleep(0.01)
made = site / "missing-1.dist-info"
made.mkdir(exist_ok=True)
(made / "METADATA").write_text("Metadata-Version: 2.1\\nName: missing\\nVersion: 1\\n")
"""
BOOK = {
    "press/__init__.py": "",
    "press/stored/__init__.py": "",
    "press/stored/numbers.py": "",
    "press/book.py": "import missing\n\n\ndef open_book(retrain):\n    return retrain\n",
    "vae_helpers/__init__.py": "",
    "vae_helpers/data.py": "",
    "vae_helpers/figures.py": "",
    "pyproject.toml": '[project]\nname = "book"\nversion = "1"\ndependencies = ["missing>=1"]\n'
    '[project.optional-dependencies]\nbook = []\n[tool.setuptools]\npackages = ["press", '
    '"press.stored", "vae_helpers"]\n',
}

pytestmark = pytest.mark.skipif(
    shutil.which("git") is None or os.name != "posix", reason="needs git, signals and their groups"
)


def write(tree: Path) -> Path:
    """The small book in that folder."""
    many = {f"assets/{i}.txt": str(i) * 1_000 for i in range(100)}
    for name, text in {**BOOK, **many}.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    (tree / "chapters").mkdir()
    shutil.copy(ROOT / "chapters" / "colab.py", tree / "chapters")
    return tree


def git(folder: Path, *arguments) -> str:
    who = ["-c", "user.name=Nobody", "-c", "user.email=nobody@example.org"]
    command = ["git", "-C", folder, *who, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def cell() -> str:
    """The first cell of a chapter; it says at its end whose code it has imported."""
    made = notebook(ROOT / "chapters" / "01_data.md")
    return next(one.source for one in made.cells if one.cell_type == "code") + TOLD


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("remote")
    tree = write(folder / "tree")
    git(tree, "init", "-q")
    git(tree, "add", "-A")
    git(tree, "commit", "-q", "-m", "A small book")
    git(tree, "clone", "-q", "--bare", ".", folder / "book.git")
    return folder / "book.git"


@pytest.fixture
def site(tmp_path) -> Path:
    """Where the packages of a fresh environment lie, which has the stand-in for pip alone."""
    venv.create(tmp_path / "venv", symlinks=True)
    (found,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (found / "pip").mkdir()
    (found / "pip" / "__main__.py").write_text(PIP)
    return found


@pytest.fixture
def start(tmp_path, site, bare, cell):
    """A function that starts the cell in a folder, in a group of processes of its own."""
    address = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]

    def begin(folder: Path, code: str = cell, at: str = bare.as_uri(), **environment):
        folder.mkdir(exist_ok=True)
        config = tmp_path / "gitconfig"
        config.write_text(f'[url "{at}"]\n\tinsteadOf = {address["url"]}\n')
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        env |= {"GIT_CONFIG_GLOBAL": str(config), "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
        return subprocess.Popen(
            [tmp_path / "venv" / "bin" / "python", "-c", code],
            cwd=folder,
            env=env | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return begin


def owner(process: subprocess.Popen) -> Path:
    """The folder whose code a cell has imported that has to end well."""
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    press, helpers = (Path(line).parents[1] for line in said.splitlines()[-2:])
    assert press == helpers
    return press


def refusal(process: subprocess.Popen) -> str:
    """What a cell says that has to fail."""
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    return errors


def whole(folder: Path) -> None:
    """Nothing but a whole clone without history lies there."""
    assert [path.name for path in folder.iterdir()] == ["vae-book"]
    assert git(folder / "vae-book", "status", "--porcelain") == ""
    assert git(folder / "vae-book", "rev-list", "--count", "HEAD") == "1\n"


# --- whenever it ends ---------------------------------------------------------------------------


def forget(folder: Path, site: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    for path in site.glob("missing*"):
        shutil.rmtree(path)


def gone(group: int) -> None:
    """Wait until the last process of a group has ended."""
    for _ in range(1000):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    raise AssertionError(f"processes of group {group} go on")


@pytest.mark.fault(
    "a chapter's first cell, alone in a folder as in Colab, is interrupted or killed at a hundred "
    "random moments, by itself or with all that it started",
    "the next run fetches the book whole, and nothing of the others stays behind",
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["alone", "with its group"])
def test_a_first_cell_that_was_killed_recovers(tmp_path, site, start, number, send):
    moments, folder = random.Random(0), tmp_path / "alone"
    began = time.monotonic()
    assert owner(start(folder)) == folder / "vae-book"
    lasts, killed = time.monotonic() - began, 0
    while killed < KILLS / 4:
        forget(folder, site)
        process = start(folder)
        time.sleep(moments.uniform(0, lasts))
        if process.poll() is None:
            send(process.pid, number)
            killed += 1
        # With its group, or while what it started goes on: the next one does not wait for that.
        process.communicate() if send is os.killpg else process.wait()

        assert owner(start(folder)) == folder / "vae-book"

        gone(process.pid)
        assert owner(start(folder)) == folder / "vae-book"
        whole(folder)


KERNEL = """
import signal

def interrupt(*_):
    global running
    if running:  # a kernel, too, is interrupted in cells alone
        running = False
        raise KeyboardInterrupt

running = False
signal.signal(signal.SIGINT, interrupt)
print("ready", flush=True)
while True:
    try:
        running = True
        exec(CELL, {"__name__": "__main__"})
        running = False
        break
    except KeyboardInterrupt:
        print("interrupted")
signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Python that ends has no handler of its own
"""


def test_a_first_cell_recovers_in_the_kernel_where_it_was_interrupted(tmp_path, site, start, cell):
    moments, folder, interrupted = random.Random(1), tmp_path / "alone", 0
    while interrupted < 20:
        forget(folder, site)
        process = start(folder, f"CELL = {cell!r}\n{KERNEL}")
        assert process.stdout.readline() == "ready\n"
        for _ in range(2):
            time.sleep(moments.uniform(0, 0.15))
            process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        interrupted += said.count("interrupted\n")
        assert said.splitlines()[-2] == str(folder / "vae-book" / "press" / "__init__.py")
        whole(folder)


# --- whatever is there --------------------------------------------------------------------------


def test_an_empty_folder_is_filled(tmp_path, start):
    (tmp_path / "alone" / "vae-book").mkdir(parents=True)
    assert owner(start(tmp_path / "alone")) == tmp_path / "alone" / "vae-book"
    whole(tmp_path / "alone")


@pytest.mark.fault(
    "a folder vae-book that is something else lies where a chapter's first cell wants to fetch it",
    "one sentence that says to rename it; nothing in it changes",
)
@pytest.mark.parametrize("name", ["notes.txt", "press/book.py"])
def test_a_foreign_folder_is_refused_and_stays(tmp_path, start, name):
    folder = tmp_path / "alone" / "vae-book"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_text("mine")
    said = refusal(start(tmp_path / "alone"))
    assert said.endswith(f"\nOSError: {folder} is not this book: rename it, run again\n")
    assert [path for path in folder.rglob("*") if path.is_file()] == [folder / name]
    assert (folder / name).read_text() == "mine"

    folder.rename(tmp_path / "alone" / "mine")
    assert owner(start(tmp_path / "alone")) == folder


@pytest.mark.fault(
    "files of the code are missing in a clone of the book",
    "an error names one, and the command of git that puts them back and leaves what was edited",
)
def test_half_a_package_is_named_with_the_command_that_puts_it_back(tmp_path, start):
    folder = tmp_path / "alone"
    assert owner(start(folder)) == folder / "vae-book"
    for name in ("press/__init__.py", "press/book.py", "vae_helpers/data.py"):
        (folder / "vae-book" / name).unlink()
    (folder / "vae-book" / "vae_helpers" / "figures.py").write_text("edited = True\n")
    (folder / "vae-book" / ".git" / "index.lock").touch()  # of a git that was killed
    said = refusal(start(folder))
    assert "3 files are missing, press/__init__.py among them; git -C " in said
    command = said[said.index("git -C") : said.index(" puts them back")]
    subprocess.run(command, shell=True)
    assert owner(start(folder)) == folder / "vae-book"
    assert (folder / "vae-book" / "vae_helpers" / "figures.py").read_text() == "edited = True\n"


@pytest.mark.fault(
    "git refuses to fetch the book: no such repository, another owner, no space, no git",
    "the error says it in git's own words; nothing of the attempt stays behind",
)
@pytest.mark.parametrize(
    ("why", "words"),
    [
        ("no repository", "does not appear to be a git repository"),
        ("no network", "unable to access 'http://127.0.0.1:9/book.git"),
        ("another owner", "detected dubious ownership in repository"),
        ("no space", "File too large"),
        ("no git", "No such file or directory: 'git'"),
    ],
)
def test_gits_refusals_are_shown_in_its_own_words(tmp_path, start, bare, why, words):
    how = {
        "no repository": {"at": (tmp_path / "none.git").as_uri()},
        "no network": {"at": "http://127.0.0.1:9/book.git"},
        "another owner": {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"},  # git's own switch
        "no space": {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"},
        "no git": {"PATH": str(tmp_path)},
    }[why]
    (tmp_path / "alone").mkdir()
    # A limit on what a process writes stands for a full disk; here git shall speak, not die, of it.
    patient = tmp_path / "bin" / "git"
    patient.parent.mkdir()
    patient.write_text(f"#!/bin/sh\ntrap '' XFSZ\nexec {shutil.which('git')} \"$@\"\n")
    patient.chmod(0o755)
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    if why == "no space":
        resource.setrlimit(resource.RLIMIT_FSIZE, (512, most[1]))  # a process inherits it
    process = start(tmp_path / "alone", **how)
    resource.setrlimit(resource.RLIMIT_FSIZE, most)
    assert words in refusal(process)
    assert list((tmp_path / "alone").iterdir()) == []
    assert owner(start(tmp_path / "alone")) == tmp_path / "alone" / "vae-book"


# --- whose code ---------------------------------------------------------------------------------


def install(tree: Path, site: Path, tmp_path: Path, how: str) -> None:
    """Install the book in that folder so that an environment imports it from there."""
    if how == "path file":
        (site / "book.pth").write_text(f"{tree}\n")
    elif how == "PYTHONPATH":
        pass
    else:
        pytest.importorskip("setuptools")
        build = "import sys, setuptools.build_meta as it; print(it.build_editable(sys.argv[1]))"
        command = [sys.executable, "-c", build, tmp_path]
        subprocess.run(command, cwd=tree, check=True, capture_output=True)
        (wheel,) = tmp_path.glob("*.whl")
        zipfile.ZipFile(wheel).extractall(site)


@pytest.mark.fault(
    "another checkout of the book is installed in the environment, or named by PYTHONPATH",
    "a chapter runs the code of the checkout that it lies in",
)
@pytest.mark.parametrize("how", ["editable", "path file", "PYTHONPATH"])
def test_a_checkout_above_comes_before_what_is_installed(tmp_path, site, start, how):
    other, own = write(tmp_path / "other"), write(tmp_path / "own")
    install(other, site, tmp_path, how)
    (site / "missing.py").touch()
    environment = {"PYTHONPATH": str(other)} if how == "PYTHONPATH" else {}

    assert owner(start(own / "chapters", **environment)) == own

    assert owner(start(tmp_path / "alone", **environment)) == other  # and this before a clone
    assert list((tmp_path / "alone").iterdir()) == []


def test_a_checkout_above_gets_what_is_missing_without_a_clone(tmp_path, start):
    own = write(tmp_path / "own")
    before = sorted(own.iterdir())
    assert owner(start(own / "chapters")) == own
    assert sorted(own.iterdir()) == before
