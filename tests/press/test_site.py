"""From sources to a site: chapters as notebooks, executed, laid out and rendered."""

import contextlib
import json
import os
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import nbformat
import pytest
import torch

from press import __main__ as command_line
from press.cluster import cluster
from press.errors import BookError
from press.settings import ROOT, read
from press.site import chapters
from press.site.chapters import execute, fresh, refresh
from press.site.render import make_site, render, stage
from vae_helpers import losses
from vae_helpers.errors import DataError

HEAD = """\
---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---
"""
CONFIG = """\
title: A small book
author: Nobody
repository:
  url: https://github.com/NO_ONE/small
execute:
  execute_notebooks: "off"
"""
INDEX = "# A small book\n\nIt begins with [an answer](../chapters/01_first.ipynb).\n"
FIRST = """
# First

See <https://github.com/NO_ONE/small>, and [the front page](../pages/index.md).

```{code-cell} ipython3
from IPython.display import Markdown, display
display(Markdown(f"the answer is {6 * 7}"))
```

```{code-cell} ipython3
display(Markdown(f"the answer is {6 * 7}"))
```
"""
SECOND = """
# Second

```{code-cell} ipython3
import sys
from press import settings
here = settings.read()
print(here.profile, here.record, here.repository, settings.ROOT, sys.executable)
```
"""


@pytest.fixture
def project(tmp_path):
    """A book of two chapters, as files."""
    files = {
        "_config.yml": CONFIG,
        "_toc.yml": "format: jb-book\nroot: pages/index\nchapters:\n"
        "  - file: chapters/01_first\n  - file: chapters/02_second\n",
        "pages/index.md": INDEX,
        "pages/references.bib": "",
        "chapters/01_first.md": HEAD + FIRST,
        "chapters/02_second.md": HEAD + SECOND,
    }
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(content), encoding="utf-8")
    return tmp_path


@pytest.fixture
def small(project):
    """Those of a smoke run of that book."""
    return read({}, project, profile="smoke")


def texts(path):
    cells = nbformat.read(path, 4).cells
    return [
        out.get("text") or out["data"]["text/markdown"]
        for cell in cells
        for out in cell.get("outputs", [])
    ]


def run(small):
    out = small.build / "executed"
    execute(chapters.sources(small.root), out, small)
    return out


# --- sources and notebooks ----------------------------------------------------------------------


@pytest.mark.parametrize("source", chapters.sources(ROOT), ids=lambda path: path.stem)
def test_stored_chapters_have_the_cells_of_their_sources(source):
    stored, wanted = nbformat.read(source.with_suffix(".ipynb"), 4), chapters.notebook(source)
    for one in (*stored.cells, *wanted.cells):
        one.pop("outputs", None)
        one.pop("execution_count", None)
    assert stored.cells == wanted.cells, "a stale chapter: run `make chapters`"


def test_a_source_always_becomes_the_same_notebook_with_ids_of_its_own(project):
    source = project / "chapters" / "01_first.md"
    one, two = (nbformat.writes(chapters.notebook(source)) for _ in range(2))
    assert one == two
    nbformat.validate(json.loads(one))
    ids = [cell["id"] for cell in json.loads(one)["cells"]]
    assert len(set(ids)) == len(ids)
    assert "version" not in json.dumps(json.loads(one)["metadata"])


def test_editing_one_cell_leaves_the_other_ids_alone(project):
    source = project / "chapters" / "01_first.md"
    before = [cell.id for cell in chapters.notebook(source).cells]
    source.write_text(source.read_text().replace("from IPython", "import math\nfrom IPython"))
    after = [cell.id for cell in chapters.notebook(source).cells]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]


def test_equal_cells_get_different_ids(project):
    source = project / "chapters" / "01_first.md"
    source.write_text(source.read_text() + "\n```{code-cell} ipython3\npass\n```\n" * 2)
    ids = [cell.id for cell in chapters.notebook(source).cells]
    assert len(set(ids)) == len(ids)


def test_chapters_and_table_of_contents_agree():
    assert chapters.sources(ROOT) == sorted((ROOT / "chapters").glob("[0-9]*.md"))


# --- execution ----------------------------------------------------------------------------------


def test_chapters_run_as_the_settings_say_in_this_python_and_twice_the_same(
    project, small, tmp_path, monkeypatch
):
    # Whatever else there is: other switches, another package, another kernel of that name.
    monkeypatch.setenv("GITHUB_REPOSITORY", "somebody/else")
    monkeypatch.setenv("VAE_RECORD", "1")
    monkeypatch.setenv("VAE_PROFILE", "full")
    (tmp_path / "elsewhere" / "press").mkdir(parents=True)
    (tmp_path / "elsewhere" / "press" / "__init__.py").write_text("1 / 0")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "elsewhere"))
    kernel = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(json.dumps({"argv": ["/nowhere/python"], "display_name": "Other"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    executed = run(replace(small, repository="somebody/else"))
    assert texts(executed / "01_first.ipynb") == ["the answer is 42"] * 2
    assert texts(executed / "02_second.ipynb") == [f"smoke False None {ROOT} {sys.executable}\n"]
    before = [path.read_bytes() for path in sorted(executed.iterdir())]
    run(small)
    assert before == [path.read_bytes() for path in sorted(executed.iterdir())]


@pytest.mark.fault(
    "the Python that makes the book has another checkout of it installed",
    "chapters, the site's build and the trainings side by side import this one's packages",
)
def test_what_is_started_here_imports_this_checkout(
    project, small, another_checkout, monkeypatch, tmp_path
):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(another_checkout), "of the user"]))
    monkeypatch.chdir(tmp_path)
    asked = (
        "import sys, torch\nfrom vae_helpers import losses\nprint(losses.__file__, sys.path[:3],"
    )
    asked += " float(losses.kl_divergence(torch.ones(1, 1), torch.zeros(1, 1))))\n"
    (project / "chapters" / "02_second.md").write_text(
        f"{HEAD}# Second\n\n```{{code-cell}} ipython3\n{asked}```\n"
    )
    page = "```{eval-rst}\n.. automodule:: vae_helpers.losses\n```\n"
    (project / "pages" / "index.md").write_text(INDEX + page)
    (project / "_config.yml").write_text(
        CONFIG + "sphinx:\n  extra_extensions: [sphinx.ext.autodoc]\n"
    )
    executed = run(small)
    (said,) = texts(executed / "02_second.ipynb")
    assert said.startswith(str(ROOT / "vae_helpers" / "losses.py"))
    assert said.endswith(" 0.5\n")
    assert said.index(str(another_checkout)) < said.index(str(tmp_path / "of the user"))
    built = render(executed, small).read_text(encoding="utf-8")
    assert "The terms of the ELBO" in built
    assert "Another checkout" not in built
    with cluster(count=1, settings=small) as client:
        kl = client.submit(losses.kl_divergence, torch.ones(1, 1), torch.zeros(1, 1))
        assert float(kl.result(timeout=60)) == 0.5


def test_no_kernel_outlives_its_chapter(project, small):
    noted = "import os, pathlib\npathlib.Path('kernel').write_text(str(os.getpid()))\n"
    for source, end in zip(chapters.sources(project), ("", "1 / 0\n"), strict=True):
        source.write_text(f"{HEAD}# T\n\n```{{code-cell}} ipython3\n{noted}{end}```\n")
        with contextlib.suppress(BookError):
            execute([source], small.build, small)
        with pytest.raises(ProcessLookupError):
            os.kill(int((project / "chapters" / "kernel").read_text()), 0)


def test_a_raising_chapter_is_named_with_cell_and_error_and_the_others_finish(project, small):
    source = project / "chapters" / "01_first.md"
    source.write_text(source.read_text() + "\n```{code-cell} ipython3\n1 / 0\n```\n")
    with pytest.raises(BookError, match=r"01_first\.md, cell 3: ") as error:
        run(small)
    assert "\n1 / 0\n" in str(error.value)
    assert str(error.value).endswith("ZeroDivisionError: division by zero")
    assert "\x1b" not in str(error.value)
    assert "02_second" not in str(error.value)
    made = {path.name for path in (project / "_build" / "executed").iterdir()}
    assert made == {"02_second.ipynb", "02_second.digest"}


def test_a_chapter_is_executed_again_only_when_something_it_depends_on_changed(project, small):
    written, executed = chapters.sources(project), small.build / "executed"

    def up_to_date(**changes):
        return [fresh(source, executed, replace(small, **changes)) for source in written]

    assert up_to_date() == [False, False]
    execute(written, executed, small)
    assert up_to_date() == [True, True]
    # A recording computes the same; another name of the repository is put in afterwards.
    assert up_to_date(record=True, repository="ada/engine") == [True, True]
    assert up_to_date(profile="full") == up_to_date(author="Ada") == [False, False]
    written[0].write_text(written[0].read_text() + "\nMore.\n")
    assert up_to_date() == [False, True]
    for name in ("results/a.json", "results/tables/a.csv", "gifs/a.gif"):
        path = project / "assets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
        assert up_to_date() == [False, False]
        path.unlink()
        assert up_to_date() == [False, True]


def test_pictures_are_saved_under_their_figures_names(project, tmp_path):
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("pass") for _ in range(2)])
    made.cells[1].metadata = {"tags": ["picture"], "mystnb": {"figure": {"name": "fig-a"}}}
    out = nbformat.v4.new_output("display_data", {"image/png": "aGFsbG8="})
    made.cells[0].outputs = made.cells[1].outputs = [out]
    nbformat.write(made, tmp_path / "one.ipynb")
    chapters.save_pictures(tmp_path / "one.ipynb", tmp_path / "pictures")
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["fig-a.png"]
    assert (tmp_path / "pictures" / "fig-a.png").read_bytes() == b"hallo"


# --- the site -----------------------------------------------------------------------------------


def test_the_repository_is_put_into_staged_files_only(project, small):
    executed = run(small)
    staged = stage(executed, replace(small, repository="ada/engine"))
    for name in ("_config.yml", "chapters/01_first.ipynb"):
        assert b"github.com/ada/engine" in staged[name]
        assert b"NO_ONE" not in staged[name]
    assert "NO_ONE" in (project / "_config.yml").read_text()
    assert "NO_ONE" in (executed / "01_first.ipynb").read_text()


def test_a_repository_that_is_no_name_is_refused(project, small):
    with pytest.raises(BookError, match="give owner/name"):
        stage(project, replace(small, repository='x"/><script>'))


def test_pages_and_their_links_lie_where_the_site_has_them(project, small):
    (project / "assets" / "static").mkdir(parents=True)
    (project / "assets" / "static" / "a.css").touch()
    (project / "pages" / "old.html").write_text("moved")
    staged = stage(run(small), small)
    assert b"root: index" in staged["_toc.yml"]
    assert b"[an answer](chapters/01_first.ipynb)" in staged["index.md"]
    assert b"[the front page](../index.md)" in staged["chapters/01_first.ipynb"]
    assert "_static/a.css" in staged
    assert staged["extra/old.html"] == b"moved"  # comes to lie beside index.html


def test_a_page_that_is_listed_and_does_not_exist_is_named(project, small):
    executed = run(small)
    (project / "pages" / "index.md").unlink()
    with pytest.raises(BookError, match=r"pages/index\.md: no such file"):
        stage(executed, small)


def test_the_site_is_built_strictly_once_and_survives_a_bad_build(
    project, small, monkeypatch, capsys
):
    executed = run(small)
    with ThreadPoolExecutor() as pool:
        front, same = pool.map(lambda _: render(executed, small), range(2))
    assert front == same
    assert capsys.readouterr().out.count("Rendering") == 1
    assert "the answer is 42" in (front.parent / "chapters" / "01_first.html").read_text()

    def never(*arguments, **options):
        raise AssertionError("built again")

    with monkeypatch.context() as patch:
        patch.setattr("subprocess.run", never)
        assert render(executed, small) == front
    good = front.read_bytes()
    nowhere = "# A small book\n\n[nowhere](../chapters/09_none.md)\n"
    (project / "pages" / "index.md").write_text(nowhere)
    with pytest.raises(BookError, match="09_none"):
        render(executed, small)
    assert front.read_bytes() == good


# --- without the dataset, and the command line --------------------------------------------------


@pytest.fixture
def no_dataset(monkeypatch, tmp_path):
    """A machine that has no Fashion-MNIST and reaches no mirror."""
    monkeypatch.setenv("VAE_DATA_DIR", str(tmp_path / "no" / "data"))

    def unreachable(*arguments, **options):
        raise OSError("no route")

    monkeypatch.setattr("torchvision.datasets.utils.download_url", unreachable)


def test_without_data_the_book_is_rendered_from_stored_outputs(project, small, no_dataset, capsys):
    for path in run(small).glob("*.ipynb"):
        (project / "chapters" / path.name).write_bytes(path.read_bytes())
    front = make_site(read(root=project))
    said = capsys.readouterr().out
    assert "looked for train-images-idx3-ubyte.gz" in said
    assert "rendered from the outputs stored in chapters/" in said
    assert front == project / "_build" / "html" / "index.html"
    assert "the answer is 42" in (front.parent / "chapters" / "01_first.html").read_text()


def test_without_data_nothing_is_stored(project, no_dataset):
    with pytest.raises(DataError, match=r"looked for train-images-idx3-ubyte\.gz"):
        refresh([], read(root=project))
    assert not list((project / "chapters").glob("*.ipynb"))


def test_the_data_command_says_one_paragraph_where_there_is_none(no_dataset, capsys):
    assert command_line.main(["data"]) == 1
    paragraph = capsys.readouterr().err
    assert paragraph.count("\n") == 1
    assert "PROFILE=smoke" in paragraph


def test_an_unknown_run_or_chapter_is_named(real_book, capsys):
    with pytest.raises(SystemExit, match="2"):
        command_line.main(["train", "conv17"])
    assert "no run conv17; choose from conv16" in capsys.readouterr().err
    assert command_line.main(["chapters", "09_none"]) == 1
    assert "09_none" in capsys.readouterr().err


def test_tables_that_do_not_exist_are_refused_with_those_that_do(capsys):
    with pytest.raises(SystemExit, match="2"):
        command_line.main(["sweep", "samples"])
    assert "no table samples; choose from latent-sizes" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        command_line.main(["measure", "betas"])
    assert "choose from models" in capsys.readouterr().err


def test_a_chapter_that_collects_is_executed_after_those_that_record(project, small, monkeypatch):
    first, second = (project / "chapters" / f"{name}.md" for name in ("01_first", "02_second"))
    read = "import pathlib\nprint(pathlib.Path('noted').read_text())  # no book.collected()\n"
    first.write_text(HEAD + f"# First\n\n```{{code-cell}} ipython3\n{read}```\n")
    slow = "import time, pathlib\ntime.sleep(2)\npathlib.Path('noted').write_text('recorded')\n"
    second.write_text(HEAD + f"# Second\n\n```{{code-cell}} ipython3\n{slow}```\n")
    monkeypatch.setattr(chapters, "obtain", lambda name, settings: None)
    refresh([], small)
    assert "recorded" in first.with_suffix(".ipynb").read_text()
    second.write_text(second.read_text().replace("'recorded'", "'changed'"))
    refresh(["02_second"], small)  # and the one that collects with it
    assert "changed" in first.with_suffix(".ipynb").read_text()
