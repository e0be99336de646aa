import importlib.util
import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import version

import pytest
from hypothesis import given
from hypothesis import strategies as st

from press import files
from press.errors import FetchError, RowError
from press.files import TEXT, fetched, left_out, read_rows, write_rows
from press.settings import ROOT


def project(dependencies, book):
    """The ``pyproject.toml`` of a library that needs these packages, and whose book needs those."""
    return (
        f"[project]\ndependencies = {json.dumps(dependencies)}\n"
        f"optional-dependencies = {{book = {json.dumps(book)}}}\n"
    )


TREE = {
    "_config.yml": "title: A book\n",
    "pyproject.toml": project(dependencies=["tqdm"], book=["pyyaml>=6"]),
    ".github/workflows/pages.yml": "name: Pages\n",
    "vae_helpers/metrics/one.py": "ONE = 1\n",
    "chapters/01_data.md": "# Data\n",
    "chapters/01_data.ipynb": "{}\n",
    "chapters/brief.yml": "{}\n",
    "assets/results/tables/one.csv": "x,of\n",
    "assets/checkpoints/one.safetensors": "the weights of one\n",
    "assets/checkpoints/two.safetensors": "the weights of two\n",
    "assets/gifs/one.gif": "a film\n",
}
LEFT_OUT = {name for name in TREE if re.search("ipynb|checkpoints|gifs", name)}
MODEL = "assets/checkpoints/one.safetensors"

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def git(folder, *arguments):
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)


def names(folder):
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {name for name in found if not name.startswith(".git/")}


@pytest.fixture
def origin(tmp_path):
    """A small book's repository."""
    folder = tmp_path / "origin"
    for name, text in TREE.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    shutil.copy(ROOT / "colab.py", folder)
    git(tmp_path, "init", "-q", "origin")
    git(folder, "add", "-A")
    git(folder, "-c", "user.name=N", "-c", "user.email=n@example.org", "commit", "-q", "-m", "All")
    git(folder, "config", "uploadpack.allowFilter", "true")
    return folder


@pytest.fixture
def sparse(origin, tmp_path):
    """A clone of it, made as the first cell of a chapter makes it."""
    setup = (ROOT / "chapters" / "02_model.md").read_text(encoding="utf-8")
    (how,) = re.findall(r'"(git clone .*)"', setup)
    subprocess.run([*how.split(), origin.as_uri(), "book"], check=True, cwd=tmp_path)
    return tmp_path / "book"


def prepared(folder):
    """That clone after ``colab.py`` has run there, which says nothing."""
    done = subprocess.run([sys.executable, folder / "colab.py"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return folder


# --- a chapter's first cell --------------------------------------------------------------------


@needs_git
def test_code_texts_and_numbers_come_at_once_and_nothing_else(sparse):
    for _ in range(2):
        assert names(prepared(sparse)) == {*TREE, "colab.py"} - LEFT_OUT


@needs_git
def test_a_full_clone_is_left_as_it_is(origin):
    assert names(prepared(origin)) == {*TREE, "colab.py"}


@pytest.fixture
def colab(monkeypatch):
    """``colab.py`` as a module, and the commands that it runs."""
    spec = importlib.util.spec_from_file_location("colab", ROOT / "colab.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    commands = []
    monkeypatch.setattr(module.subprocess, "run", lambda command, check: commands.append(command))
    return module, commands


def test_nothing_is_installed_where_nothing_is_missing(colab):
    module, commands = colab
    module.main()
    assert commands == []


def test_what_is_missing_is_installed_and_what_is_there_stays(colab, monkeypatch, tmp_path):
    module, commands = colab
    (tmp_path / "vae_helpers").mkdir()
    listed = project(dependencies=["torch>=2.4"], book=["no-such-package>=1"])
    (tmp_path / "pyproject.toml").write_text(listed)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    module.main()
    pip = [sys.executable, "-m", "pip", "install", "-qq"]
    assert commands == [[*pip, f"torch=={version('torch')}", "no-such-package>=1"]]


# --- files that follow -------------------------------------------------------------------------


@needs_git
def test_a_file_left_out_is_brought_when_asked_for_and_no_other(sparse):
    before = names(prepared(sparse))
    path = sparse / MODEL
    assert left_out(path, sparse)
    for _ in range(2):
        assert fetched(path, sparse) == path
        assert path.read_text() == TREE[MODEL]
        assert names(sparse) == before | {MODEL}
    assert not left_out(path, sparse)


@needs_git
def test_a_file_that_git_does_not_have_stays_away(sparse, tmp_path):
    for path in (prepared(sparse) / "_build" / MODEL, tmp_path / "elsewhere"):
        assert fetched(path, sparse) == path
        assert not path.exists()


@needs_git
def test_a_full_clone_never_asks_git(origin, monkeypatch):
    monkeypatch.setattr(files.subprocess, "run", lambda *_, **__: pytest.fail("git was asked"))
    path = origin / MODEL
    assert fetched(path, origin).exists()
    path.unlink()
    assert not fetched(path, origin).exists()


@needs_git
def test_without_a_network_the_file_and_the_remedy_are_named(sparse, origin):
    path, away = prepared(sparse) / MODEL, origin.with_name("away")
    origin.rename(away)
    with pytest.raises(FetchError, match=f"^{MODEL}: left out .*run the cell again"):
        fetched(path, sparse)
    away.rename(origin)
    assert fetched(path, sparse).read_text() == TREE[MODEL]


# --- tables -------------------------------------------------------------------------------------

NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(
    lambda name: name not in TEXT
)
NUMBERS = st.integers() | st.floats(allow_nan=False) | st.booleans()


@given(rows=st.lists(st.dictionaries(NAMES, NUMBERS, min_size=1), min_size=1))
def test_rows_of_numbers_come_back_as_they_were(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("rows") / "table.csv"
    keys = list(dict.fromkeys(key for row in rows for key in row))
    write_rows(path, rows)
    back = read_rows(path)
    assert back == rows
    pairs = zip(back, rows, strict=True)
    assert all(type(one[key]) is type(row[key]) for one, row in pairs for key in row)
    assert all(list(row) == [key for key in keys if key in row] for row in back)


def test_stored_tables_are_read_and_written_byte_by_byte(tmp_path):
    paths = sorted((ROOT / "assets" / "results" / "tables").glob("*.csv"))
    assert len(paths) > 15
    for path in paths:
        rows = read_rows(path)
        write_rows(tmp_path / path.name, rows)
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name
        kinds = {type(row[key]) for row in rows for key in row if key not in TEXT}
        assert kinds <= {bool, int, float, str}
        assert float in kinds


def test_text_comes_back_with_its_commas_quotes_and_lines(tmp_path):
    rows = [{"method": 'linear "warm-up", β\nand more', "of": "71168051", "python": "3.11"}]
    write_rows(tmp_path / "table.csv", rows)
    assert read_rows(tmp_path / "table.csv") == rows  # a digest of digits is no number


def test_what_a_row_rests_on_stands_last(tmp_path):
    write_rows(tmp_path / "table.csv", [{"of": "a", "x": 1}, {"x": 2, "of": "b", "y": 3}])
    assert (tmp_path / "table.csv").read_text() == "x,y,of\n1,,a\n2,3,b\n"


def test_a_torn_line_is_named(tmp_path):
    path = tmp_path / "table.csv"
    assert read_rows(path) == []
    path.write_text("x,y\n1,2\n3\n")
    with pytest.raises(RowError, match=r"table\.csv: line 3 has 1 of 2 cells; delete it"):
        read_rows(path)
