"""The chapters' code under the linter and the formatter, said by line of the Markdown source."""

import shutil
from dataclasses import replace

import pytest

from press.__main__ import main
from press.errors import BookError
from press.settings import ROOT
from press.site.cells import lint

HEAD = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# A chapter

"""
FIRST = "```{code-cell} ipython3\nimport math\n\nhalf = 0.5\n```\n\nProse.\n\n"
LATER = "```{code-cell} ipython3\n:tags: [hide-cell]\n\n{code}\n```\n"


@pytest.fixture
def chapter(tmp_path):
    """Writes a chapter of two cells, the second of this code, and returns its path."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: chapters/01_one\n")
    (tmp_path / "chapters").mkdir()

    def write(code):
        path = tmp_path / "chapters" / "01_one.md"
        path.write_text(HEAD + FIRST + LATER.replace("{code}", code), encoding="utf-8")
        return path

    return write


def line_of(path, text):
    return path.read_text(encoding="utf-8").split("\n").index(text) + 1


def test_names_and_imports_of_earlier_cells_are_known(chapter, tmp_path):
    chapter("print(math.sqrt(half))")
    assert lint(tmp_path) == []


def test_a_fault_is_said_at_its_line_of_the_source(chapter, tmp_path):
    path = chapter("print(math.sqrt(half))\nprint(unknown)")
    (said,) = lint(tmp_path)
    assert said.startswith(f"chapters/01_one.md:{line_of(path, 'print(unknown)')}:7: F821 ")


@pytest.mark.parametrize(("length", "faults"), [(79, 0), (80, 1)])
def test_lines_may_have_79_characters(chapter, tmp_path, length, faults):
    line = "# " + "a" * (length - 2)
    chapter(f"{line}\nprint(math.sqrt(half))")
    assert len(lint(tmp_path)) == faults


def test_what_is_not_formatted_is_said_and_mended_in_the_source_alone(chapter, tmp_path):
    path = chapter("print(math.sqrt( half ))")
    before = path.read_text(encoding="utf-8")
    (said,) = lint(tmp_path)
    assert said.startswith(f"chapters/01_one.md:{line_of(path, 'print(math.sqrt( half ))')}:")
    assert lint(tmp_path, fix=True) == []
    assert path.read_text(encoding="utf-8") == before.replace("( half )", "(half)")


def test_what_cannot_be_mended_is_left_and_said(chapter, tmp_path):
    path = chapter("print(math.sqrt(unknown))")
    before = path.read_text(encoding="utf-8")
    assert len(lint(tmp_path, fix=True)) == 1
    assert path.read_text(encoding="utf-8") == before


def test_code_that_is_none_is_said_and_left(chapter, tmp_path):
    path = chapter("print(math.sqrt(half)")
    before = path.read_text(encoding="utf-8")
    assert any("invalid-syntax" in one for one in lint(tmp_path, fix=True))
    assert path.read_text(encoding="utf-8") == before


def test_a_linter_that_does_not_run_is_no_clean_chapter(chapter, tmp_path):
    chapter("print(math.sqrt(half))")
    (tmp_path / "pyproject.toml").write_text("[tool.ruff]\nline-length = 'long'\n")
    with pytest.raises(BookError, match="ruff"):
        lint(tmp_path)


def test_the_command_fails_with_a_remedy_until_the_code_is_mended(
    chapter, settings, tmp_path, capsys, monkeypatch
):
    chapter("print(math.sqrt( half ))")
    here = replace(settings, root=tmp_path)
    monkeypatch.setattr("press.__main__.read", lambda **_: here)
    assert main(["lint"]) == 1
    assert "python -m press lint --fix" in capsys.readouterr().out
