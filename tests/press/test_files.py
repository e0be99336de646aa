import importlib.util
import json
import subprocess
import sys
from importlib.metadata import version

import pytest
from hypothesis import given
from hypothesis import strategies as st

from press.errors import ResultError
from press.files import TEXT, read_rows, write_rows
from press.settings import ROOT


def project(dependencies, book):
    """The ``pyproject.toml`` of a library that needs these packages, and whose book needs those."""
    return (
        f"[project]\ndependencies = {json.dumps(dependencies)}\n"
        f"optional-dependencies = {{book = {json.dumps(book)}}}\n"
    )


# --- a chapter's first cell --------------------------------------------------------------------


@pytest.fixture
def colab(monkeypatch):
    """``chapters/colab.py`` as a module, and the commands that it runs."""
    spec = importlib.util.spec_from_file_location("colab", ROOT / "chapters" / "colab.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    commands, run = [], subprocess.run

    def installs(command, **how):
        if "pip" not in command:
            return run(command, **how)
        commands.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(module.subprocess, "run", installs)
    return module, commands


def test_nothing_is_installed_where_nothing_is_missing(colab):
    module, commands = colab
    module.main()
    assert commands == []


def test_what_is_missing_is_installed_and_what_is_there_stays(colab, monkeypatch, tmp_path):
    module, commands = colab
    listed = project(dependencies=["torch>=2.4"], book=["no-such-package>=1"])
    (tmp_path / "pyproject.toml").write_text(listed)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    module.main()
    pip = [sys.executable, "-m", "pip", "install", "-qq"]
    assert commands == [[*pip, f"torch=={version('torch')}", "no-such-package>=1"]]


# --- tables -------------------------------------------------------------------------------------

NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(
    lambda name: name not in TEXT
)
NUMBERS = st.integers() | st.floats(allow_nan=False)


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
        assert kinds <= {int, float, str}
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
    for torn in ("3", "3,4,5"):
        path.write_text(f"x,y\n1,2\n{torn}\n")
        with pytest.raises(
            ResultError, match=r"csv has other cells in line 3 .*; take back the file"
        ):
            read_rows(path)
