import json
import textwrap
from concurrent.futures import ThreadPoolExecutor

import nbformat
import pytest

from vae_helpers import __main__ as command_line
from vae_helpers import book, data
from vae_helpers.book import BookError
from vae_helpers.settings import ROOT

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
FIRST = """
# First

See <https://github.com/NO_ONE/small>.

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
import os
print(os.environ["VAE_PROFILE"], os.environ["VAE_RECORD"], "GITHUB_REPOSITORY" in os.environ)
```
"""


@pytest.fixture
def project(tmp_path):
    """A book of two chapters, as files."""
    files = {
        "_config.yml": CONFIG,
        "_toc.yml": "format: jb-book\nroot: index\nchapters:\n"
        "  - file: chapters/01_first\n  - file: chapters/02_second\n",
        "index.md": "# A small book\n",
        "references.bib": "",
        "chapters/01_first.md": HEAD + FIRST,
        "chapters/02_second.md": HEAD + SECOND,
    }
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(content), encoding="utf-8")
    return tmp_path


def texts(path):
    cells = nbformat.read(path, 4).cells
    return [
        out.get("text") or out["data"]["text/markdown"]
        for cell in cells
        for out in cell.get("outputs", [])
    ]


def run(project, env=None):
    out = project / "_build" / "executed"
    book.execute(book.chapters(project), out, env or {"VAE_PROFILE": "smoke"}, jobs=2)
    return out


# --- sources and notebooks ----------------------------------------------------------------------


def test_stored_chapters_have_the_cells_of_their_sources():
    assert book.outdated(ROOT) == [], "stale chapters: run `make chapters`"


def test_a_source_always_becomes_the_same_notebook_with_ids_of_its_own(project):
    source = project / "chapters" / "01_first.md"
    one, two = (nbformat.writes(book.notebook(source)) for _ in range(2))
    assert one == two
    nbformat.validate(json.loads(one))
    ids = [cell["id"] for cell in json.loads(one)["cells"]]
    assert len(set(ids)) == len(ids)
    assert "version" not in json.dumps(json.loads(one)["metadata"])


def test_editing_one_cell_leaves_the_other_ids_alone(project):
    source = project / "chapters" / "01_first.md"
    before = [cell.id for cell in book.notebook(source).cells]
    source.write_text(source.read_text().replace("from IPython", "import math\nfrom IPython"))
    after = [cell.id for cell in book.notebook(source).cells]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]


def test_equal_cells_get_different_ids(project):
    source = project / "chapters" / "01_first.md"
    source.write_text(source.read_text() + "\n```{code-cell} ipython3\npass\n```\n" * 2)
    ids = [cell.id for cell in book.notebook(source).cells]
    assert len(set(ids)) == len(ids)


def test_chapters_and_table_of_contents_must_agree(project):
    (project / "chapters" / "03_third.md").write_text(HEAD + "# Third\n")
    with pytest.raises(BookError, match=r"not in both: \['chapters/03_third'\]"):
        book.chapters(project)


def test_an_outdated_chapter_is_named(project):
    executed = run(project)
    for path in executed.glob("*.ipynb"):
        (project / "chapters" / path.name).write_bytes(path.read_bytes())
    assert book.outdated(project) == []
    source = project / "chapters" / "02_second.md"
    source.write_text(source.read_text().replace("VAE_RECORD", "HOME"))
    assert book.outdated(project) == ["02_second"]


# --- execution ----------------------------------------------------------------------------------


def test_chapters_run_in_the_books_environment_and_twice_the_same(project, monkeypatch):
    monkeypatch.setenv("GITHUB_REPOSITORY", "somebody/else")
    monkeypatch.setenv("VAE_RECORD", "1")
    executed = run(project)
    assert texts(executed / "01_first.ipynb") == ["the answer is 42"] * 2
    assert texts(executed / "02_second.ipynb") == ["smoke 0 False\n"]
    before = [path.read_bytes() for path in sorted(executed.iterdir())]
    run(project)
    assert before == [path.read_bytes() for path in sorted(executed.iterdir())]


def test_a_raising_chapter_is_named_with_cell_and_error_and_the_others_finish(project):
    source = project / "chapters" / "01_first.md"
    source.write_text(source.read_text() + "\n```{code-cell} ipython3\n1 / 0\n```\n")
    with pytest.raises(BookError, match=r"01_first\.md, cell 3: ZeroDivisionError") as error:
        run(project)
    assert "\x1b" not in str(error.value)
    assert "02_second" not in str(error.value)
    assert [path.name for path in (project / "_build" / "executed").iterdir()] == [
        "02_second.ipynb"
    ]


def test_a_chapter_is_executed_again_only_when_something_it_depends_on_changed(project):
    sources, executed = book.chapters(project), project / "_build" / "executed"
    (project / "assets" / "results").mkdir(parents=True)

    def fresh(profile="smoke"):
        digests = book._digests(project, sources, profile)
        return [book._fresh(executed, source, digests) for source in sources]

    assert fresh() == [False, False]
    digests = book._digests(project, sources, "smoke")
    book.execute(sources, executed, {"VAE_PROFILE": "smoke"}, 2, digests)
    assert fresh() == [True, True]
    assert fresh("full") == [False, False]
    sources[0].write_text(sources[0].read_text() + "\nMore.\n")
    assert fresh() == [False, True]
    (project / "assets" / "results" / "a.json").write_text("{}")
    assert fresh() == [False, False]


def test_pictures_are_saved_under_their_figures_names(project, tmp_path):
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("pass") for _ in range(2)])
    made.cells[1].metadata = {"tags": ["picture"], "mystnb": {"figure": {"name": "fig-a"}}}
    out = nbformat.v4.new_output("display_data", {"image/png": "aGFsbG8="})
    made.cells[0].outputs = made.cells[1].outputs = [out]
    nbformat.write(made, tmp_path / "one.ipynb")
    book._save_pictures(tmp_path / "one.ipynb", tmp_path / "pictures")
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["fig-a.png"]
    assert (tmp_path / "pictures" / "fig-a.png").read_bytes() == b"hallo"


# --- the site -----------------------------------------------------------------------------------


def test_the_repository_is_put_into_staged_files_only(project, monkeypatch):
    executed = run(project)
    monkeypatch.setenv("GITHUB_REPOSITORY", "ada/engine")
    staged = book.stage(project, "smoke", executed)
    for name in ("_config.yml", "chapters/01_first.ipynb"):
        assert "github.com/ada/engine" in (staged / name).read_text()
        assert "NO_ONE" not in (staged / name).read_text()
    assert "NO_ONE" in (project / "_config.yml").read_text()
    assert "NO_ONE" in (executed / "01_first.ipynb").read_text()


def test_a_repository_that_is_no_name_is_refused(project, monkeypatch):
    monkeypatch.setenv("GITHUB_REPOSITORY", 'x"/><script>')
    with pytest.raises(BookError, match="give owner/name"):
        book.stage(project, "smoke", project)


def test_staging_follows_renamed_and_removed_files(project):
    executed = run(project)
    (project / "assets" / "gifs").mkdir(parents=True)
    (project / "assets" / "gifs" / "a.gif").write_bytes(b"GIF89a")
    staged = book.stage(project, "smoke", executed)
    assert (staged / "assets" / "gifs" / "a.gif").exists()
    (project / "assets" / "gifs" / "a.gif").rename(project / "assets" / "gifs" / "b.gif")
    book.stage(project, "smoke", executed)
    assert [path.name for path in (staged / "assets" / "gifs").iterdir()] == ["b.gif"]


def test_the_site_is_built_strictly_once_and_survives_a_bad_build(project, monkeypatch, capsys):
    executed = run(project)
    staged = book.stage(project, "smoke", executed)
    with ThreadPoolExecutor() as pool:
        front, same = pool.map(lambda _: book.render(project, "smoke", staged), range(2))
    assert front == same
    assert capsys.readouterr().out.count("Rendering") == 1
    assert "the answer is 42" in (front.parent / "chapters" / "01_first.html").read_text()

    def never(*arguments, **options):
        raise AssertionError("built again")

    with monkeypatch.context() as patch:
        patch.setattr(book.subprocess, "run", never)
        assert book.render(project, "smoke", book.stage(project, "smoke", executed)) == front
    good = front.read_bytes()
    (project / "index.md").write_text("# A small book\n\n[nowhere](chapters/09_none.md)\n")
    with pytest.raises(BookError, match="09_none"):
        book.render(project, "smoke", book.stage(project, "smoke", executed))
    assert front.read_bytes() == good


# --- without the dataset, and the command line --------------------------------------------------


@pytest.fixture
def no_dataset(monkeypatch, tmp_path):
    """A machine that has no Fashion-MNIST and reaches no mirror."""
    monkeypatch.setenv("VAE_DATA_DIR", str(tmp_path / "no" / "data"))

    def unreachable(*arguments, **options):
        raise OSError("no route")

    monkeypatch.setattr("torchvision.datasets.utils.download_url", unreachable)
    assert data.find("FashionMNIST") is None


def test_without_data_the_book_is_rendered_from_stored_outputs(project, no_dataset, capsys):
    for path in run(project).glob("*.ipynb"):
        (project / "chapters" / path.name).write_bytes(path.read_bytes())
    front = book.book("full", project)
    said = capsys.readouterr().out
    assert "Looked for train-images-idx3-ubyte.gz" in said
    assert "rendered from the outputs stored in chapters/" in said
    assert front == project / "_build" / "html" / "index.html"
    assert "the answer is 42" in (front.parent / "chapters" / "01_first.html").read_text()


def test_without_data_nothing_is_stored(project, no_dataset):
    with pytest.raises(BookError, match="only ever stored from the full profile"):
        book.refresh(root=project)
    assert not list((project / "chapters").glob("*.ipynb"))


def test_the_data_command_says_one_paragraph_and_fails_only_when_data_is_needed(no_dataset, capsys):
    assert command_line.main(["data", "--optional"]) == 0
    paragraph = capsys.readouterr().out
    assert paragraph.count("\n") == 1
    assert "PROFILE=smoke" in paragraph
    assert command_line.main(["data"]) == 1


def test_an_unknown_run_or_chapter_is_named(real_data, capsys):
    assert command_line.main(["train", "conv17"]) == 2
    assert "no run conv17; choose from conv16" in capsys.readouterr().err
    assert command_line.main(["chapters", "09_none"]) == 1
    assert "09_none" in capsys.readouterr().err


def test_tables_that_do_not_exist_are_refused_with_those_that_do(capsys):
    assert command_line.main(["sweep", "samples"]) == 2
    assert "no table samples; choose from latent-sizes" in capsys.readouterr().err
    assert command_line.main(["measure", "betas"]) == 2
    assert "choose from models" in capsys.readouterr().err


def test_a_chapter_that_collects_is_executed_after_those_that_record(project, monkeypatch):
    first, second = (project / "chapters" / f"{name}.md" for name in ("01_first", "02_second"))
    read = "import pathlib\nprint(pathlib.Path('noted').read_text())  # no results.collected()\n"
    first.write_text(HEAD + f"# First\n\n```{{code-cell}} ipython3\n{read}```\n")
    slow = "import time, pathlib\ntime.sleep(2)\npathlib.Path('noted').write_text('recorded')\n"
    second.write_text(HEAD + f"# Second\n\n```{{code-cell}} ipython3\n{slow}```\n")
    monkeypatch.setattr(book, "_missing_data", lambda: None)
    book.refresh(root=project)
    assert "recorded" in first.with_suffix(".ipynb").read_text()
    second.write_text(second.read_text().replace("'recorded'", "'changed'"))
    book.refresh(["02_second"], root=project)  # and the one that collects with it
    assert "changed" in first.with_suffix(".ipynb").read_text()
