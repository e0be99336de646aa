import base64
import io
import json
import re
import shutil
import statistics

import nbformat
import pytest
from markdown_it import MarkdownIt
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from vae_helpers import figures, measurements, pages, report, runs, sweeps
from vae_helpers.files import read_rows
from vae_helpers.pages import BookError
from vae_helpers.settings import ROOT

CODE = "https://github.com/ada/engine/blob/main"
CONFIG = b"repository:\n  url: https://github.com/ada/engine\n  branch: main\n"


@pytest.fixture(scope="module")
def stored():
    """The book's pages as they are staged, with the chapters' stored outputs."""
    files = [*ROOT.glob("*.md"), *(ROOT / "chapters").glob("*.ipynb")]
    staged = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in files}
    return staged | {"_config.yml": CONFIG}


@pytest.fixture(scope="module")
def made(stored):
    return pages.finished(stored, ROOT, "full")


def cells(content, kind):
    return [cell for cell in nbformat.reads(content.decode(), 4).cells if cell.cell_type == kind]


def picture(size=(400, 300)):
    packed = io.BytesIO()
    Image.new("RGB", size, "red").save(packed, "PNG")
    return base64.b64encode(packed.getvalue()).decode()


def figure(source, name="fig-a"):
    metadata = {
        "mystnb": {
            "figure": {"name": name},
            "image": {"alt": "A red field that is larger than its thumbnail. And more."},
        }
    }
    outputs = [new_output("display_data", {"image/png": picture()})]
    return new_code_cell(source, metadata=metadata, outputs=outputs)


def chapter(*made):
    return new_notebook(cells=[new_code_cell("from vae_helpers import figures, runs"), *made])


# --- the front page -----------------------------------------------------------------------------


def test_the_headline_holds_the_stored_numbers(made):
    front = made["index.md"].decode()
    tables = ROOT / "assets/results/tables"
    best = min(read_rows(tables / "models.csv"), key=lambda row: row["elbo"])["run"]
    trainings = read_rows(tables / "seeds.csv")
    reached = [row["elbo"] for row in trainings if row["run"] == best]
    assert len(reached) == 5
    spread = f"{statistics.fmean(reached):.2f} ± {statistics.stdev(reached):.2f}"
    assert f"**{spread} nats** per test image is the best −ELBO, by `{best}`" in front
    blind = statistics.fmean(row["blind"] for row in trainings if row["run"] == "conv16-one-cycle")
    assert f"**{blind:.3f} ± " in front
    assert "<!--" not in front


def test_a_smoke_run_shows_no_results():
    staged = {"_config.yml": CONFIG, "index.md": b"# Book\n\n<!-- headline -->\n"}
    front = pages.finished(staged, ROOT, "smoke")["index.md"].decode()
    assert "no results to show" in front
    assert "±" not in front


def test_a_headline_number_that_is_not_stored_is_named(tmp_path):
    results = shutil.copytree(ROOT / "assets" / "results", tmp_path / "results")
    met = new_code_cell("", outputs=[new_output("display_data", {"text/markdown": MET})])
    with pytest.raises(BookError, match=r"references met.*run `make sweeps measure chapters`"):
        pages.headline(results, {"chapters/16_results": chapter()})
    trainings = results / "tables" / "seeds.csv"
    rows = trainings.read_text("utf-8").splitlines(keepends=True)
    once = [row for row in rows if not row.startswith("conv16,")]
    trainings.write_text("".join(once), "utf-8")
    with pytest.raises(BookError, match=r"conv16, in tables/seeds\.csv.*run `make sweeps"):
        pages.headline(results, {"chapters/16_results": chapter(met)})
    trainings.unlink()
    with pytest.raises(BookError, match=r"seeds\.csv.*run `make sweeps measure chapters`"):
        pages.headline(results, {"chapters/16_results": chapter(met)})


MET = "2 of 3 published figures are met or beaten, each with its own β."


def test_every_chapter_has_a_card_with_a_small_picture(made, stored):
    front = made["index.md"].decode()
    names = [name for name in stored if name.endswith(".ipynb")]
    assert front.count("{grid-item-card}") == len(names) > 1
    for name in names:
        page = name.removesuffix(".ipynb")
        assert f":link: {page}\n" in front
        thumbnail = made[f"assets/thumbnails/{page.removeprefix('chapters/')}.webp"]
        assert len(thumbnail) <= 25_000
        assert Image.open(io.BytesIO(thumbnail)).size == pages.THUMBNAIL
    alts = [json.loads(alt) for alt in re.findall(r":img-alt: (.*)", front)]
    assert all(40 <= len(alt) <= 300 for alt in alts)
    assert len(set(alts)) == len(alts)


TABLE = "# Book\n\n<!-- cards -->\n| chapter | its question |\n| --- | --- |\n{row}\n\nAfter.\n"


def test_a_card_has_its_rows_title_and_question():
    page = TABLE.format(row="| [One](chapters/01_one.ipynb) | Why? |")
    book = {"chapters/01_one": chapter(figure("figures.f()"))}
    text, pictures = pages.cards(page, book)
    assert "**1 One**\n\nWhy?\n" in text
    assert ':img-alt: "A red field that is larger than its thumbnail"\n' in text
    assert text.rstrip().endswith("After.")
    assert list(pictures) == ["assets/thumbnails/01_one.webp"]


@pytest.mark.parametrize("row", ["| [One](chapters/02_two.ipynb) | Why? |", "| One | Why? |"])
def test_a_row_that_names_no_chapter_is_refused(row):
    with pytest.raises(BookError, match="names no chapter"):
        pages.cards(TABLE.format(row=row), {"chapters/01_one": chapter(figure("figures.f()"))})


def test_a_chapter_without_its_cards_figure_is_named():
    page = TABLE.format(row="| [One](chapters/03_loss.ipynb) | Why? |")
    with pytest.raises(BookError, match="03_loss: has no figure 'fig-beta'"):
        pages.cards(page, {"chapters/03_loss": chapter(figure("figures.f()"))})


# --- what a figure is drawn from ----------------------------------------------------------------

LINE = re.compile(
    r"^Reproduce: \[`(?P<module>\w+)\.(?P<function>\w+)`\]\((?P<address>\S+)#L(?P<line>\d+)\) "
    r"(?:from (?P<origin>.+)|as in the \[chapter's source\]\((?P<source>\S+)\))$",
    re.MULTILINE,
)


def test_every_figure_and_film_says_how_it_is_drawn_and_names_what_exists(made, stored):
    known = runs.RUNS.keys() | measurements.TABLES.keys() | sweeps.TABLES.keys() | {"embeddings"}
    for name in (name for name in stored if name.endswith(".ipynb")):
        figures_of = [one for one in cells(stored[name], "code") if "figure" in str(one.metadata)]
        prose = "\n\n".join(cell.source for cell in cells(made[name], "markdown"))
        films = len(re.findall(r"^```\{figure\} .*\.gif$", prose, re.MULTILINE))
        lines = list(LINE.finditer(prose))
        assert len(lines) == prose.count("{div} lineage") == len(figures_of) + films
        for line in lines:
            source = ROOT / line["address"].removeprefix(f"{CODE}/")
            defined = source.read_text("utf-8").splitlines()[int(line["line"]) - 1]
            assert defined.startswith(f"def {line['function']}(")
            assert set(re.findall("`(.+?)`", line["origin"] or "")) <= known
            if line["source"]:
                assert line["source"] == f"{CODE}/{name.removesuffix('.ipynb')}.md"


def test_a_line_follows_its_figure():
    one = chapter(figure('figures.manifold(runs.trained("dense2").model)'), new_markdown_cell("x"))
    pages.add_lineage(one, f"{CODE}/chapters/01_one.md", CODE)
    line = figures.manifold.__code__.co_firstlineno
    assert one.cells[2].source == (
        "```{div} lineage\nReproduce: [`figures.manifold`]"
        f"({CODE}/vae_helpers/figures.py#L{line}) from run `dense2`\n```"
    )
    nbformat.validate(one)


def test_a_figure_that_is_drawn_otherwise_is_refused():
    with pytest.raises(BookError, match=r"01_one\.md: no call of the chapter draws fig-a"):
        pages.add_lineage(chapter(figure("plt.plot()")), "…/01_one.md", CODE)


def test_a_cell_that_is_no_plain_python_is_named():
    with pytest.raises(BookError, match=r"01_one\.md: '%pip install x' is no plain Python"):
        pages.add_lineage(chapter(new_code_cell("%pip install x")), "…/01_one.md", CODE)


def test_a_film_that_no_call_makes_is_refused():
    film = new_markdown_cell(
        "```{figure} ../assets/gifs/traversal_dense2.gif\n:name: film\n\nx\n```"
    )
    with pytest.raises(BookError, match="no call of the chapter draws traversal_dense2"):
        pages.add_lineage(chapter(film), "…/01_one.md", CODE)


# --- the glossary -------------------------------------------------------------------------------


def linked(*texts, terms=("ELBO", "KL", "aggregate posterior", "posterior", "β")):
    one = new_notebook(cells=[new_markdown_cell("# T"), *map(new_markdown_cell, texts)])
    pages.link_terms(one, terms)
    return [cell.source for cell in one.cells[1:]]


def test_the_first_use_of_a_term_is_linked_whole_and_once():
    assert linked("## A\n\nThe Posteriors and the posterior.", "A posterior.") == [
        "## A\n\nThe {term}`Posteriors <posterior>` and the posterior.",
        "A posterior.",
    ]


def test_the_longer_term_wins():
    assert linked("## A\n\nThe aggregate posterior.") == [
        "## A\n\nThe {term}`aggregate posterior <aggregate posterior>`."
    ]


@pytest.mark.parametrize(
    "text",
    [
        "## The ELBO",
        "`ELBO` and $ELBO$ and [the ELBO](x.md) and {cite}`ELBO` and <b title='ELBO'>",
        "```python\nELBO\n```",
        "$$\nELBO\n$$",
        "| ELBO |\n| --- |",
        ":::{note} ELBO\n:class: ELBO",
        "(ELBO)=",
        "ELBOW, β-VAE, KLM",
    ],
)
def test_what_is_no_prose_stays_as_it_is(text):
    assert linked(f"## A\n\n{text}") == [f"## A\n\n{text}"]


def test_a_chapters_opening_has_no_links():
    assert linked("You will learn the ELBO.", "## A", "The ELBO.")[0] == "You will learn the ELBO."


def test_glossary_terms_are_in_order_and_each_says_where_it_is_made():
    page = (ROOT / "glossary.md").read_text(encoding="utf-8")
    terms = pages.glossary(page)
    assert len(terms) >= 25
    assert len(set(map(str.lower, terms))) == len(terms)
    entries = re.split(r"\n\n(?=\S)", page[page.index("{glossary}\n") :])
    firsts = [entry.splitlines()[0 if i else 1].lower() for i, entry in enumerate(entries)]
    assert firsts == sorted(firsts, key=lambda one: one.replace("β", "beta").replace("é", "e"))
    for entry in entries:
        found = re.search(r"\[Chapter (\d+)\]\((chapters/(\d\d)_\w+)\.ipynb\)", entry)
        assert found, entry
        assert int(found[1]) == int(found[3])
        assert (ROOT / f"{found[2]}.md").is_file()


def test_most_terms_are_used_in_the_chapters(made):
    terms = set(pages.glossary((ROOT / "glossary.md").read_text(encoding="utf-8")))
    text = "".join(content.decode() for name, content in made.items() if name.endswith("ipynb"))
    used = set(re.findall(r"\{term\}`[^`<]+ <([^`>]+)>`", text))
    assert used <= terms
    assert len(used) > len(terms) / 2


# --- the requirements ---------------------------------------------------------------------------


def test_every_requirement_is_listed_with_what_its_callout_says(made):
    page = made["requirements.md"].decode()
    asked = report.requirements()
    callouts = {
        one["id"]: one
        for name in {f"chapters/{one['chapter']}.ipynb" for one in asked.values()}
        for cell in cells(made[name], "code")
        for output in cell.outputs
        for one in pages.CALLOUT.finditer(output.get("data", {}).get("text/html", ""))
    }
    assert callouts.keys() == asked.keys()
    for id, one in asked.items():
        address = f'<a href="chapters/{one["chapter"]}.html#{callouts[id]["anchor"]}">{id}</a>'
        assert page.count(address) == 2  # in checklist and matrix
        assert page.count(callouts[id]["evidence"]) == 1
    assert page.count("✓ satisfied") == len(asked)


def test_generated_html_is_one_block_of_markdown(made):
    page = made["requirements.md"].decode()
    blocks = [one.type for one in MarkdownIt().enable("table").parse(page)]
    assert blocks.count("html_block") == 2


@pytest.fixture
def brief(tmp_path):
    """A folder with one requirement, and a chapter that meets it."""
    (tmp_path / "requirements.yml").write_text('"1.1":\n  chapter: 01_one\n  text: It adds.\n')
    source = 'report.requirement("1.1", evidence={}, passed=bool(fits and size > 1))'
    callout = (
        '<blockquote class="requirement passed" id="requirement-1-1"><p><strong>✓ Requirement 1.1, '
        "satisfied.</strong> It adds.</p><ul><li><strong>sum:</strong> 2</li></ul></blockquote>"
    )
    output = new_output("display_data", {"text/html": callout})
    met = new_code_cell(source, outputs=[output])
    return tmp_path, chapter(new_code_cell("size = 2\nfits = size < 9"), met)


def test_a_check_is_shown_with_its_conditions_written_out(brief):
    folder, one = brief
    (row,) = pages.assessed(folder, {"chapters/01_one": one})
    assert row["check"] == "size < 9 and size > 1"
    assert (row["mark"], row["status"], row["anchor"]) == ("✓", "satisfied", "requirement-1-1")
    assert row["evidence"] == "<li><strong>sum:</strong> 2</li>"


def test_a_missing_callout_stops_the_book(brief):
    folder, one = brief
    one.cells[-1].outputs = []
    for book in ({"chapters/01_one": one}, {}):
        with pytest.raises(BookError, match=r"requirement 1\.1: 0 callouts in the executed 01_one"):
            pages.assessed(folder, book)


def test_what_was_not_assessed_is_not_called_satisfied(brief):
    folder, one = brief
    data = one.cells[-1].outputs[0]["data"]
    data["text/html"] = data["text/html"].replace("✓", "○").replace(", satisfied", ", not assessed")
    rows = pages.assessed(folder, {"chapters/01_one": one})
    assert "satisfied" not in pages.matrix(rows)
    assert "○" in pages.checklist(rows)
    assert "✓" not in pages.checklist(rows)


# --- books of another kind ----------------------------------------------------------------------


def test_pages_without_markers_stay_as_they_are(tmp_path):
    one = chapter(new_markdown_cell("## A\n\nThe ELBO."))
    staged = {
        "_config.yml": CONFIG,
        "index.md": b"# A small book\n",
        "chapters/01_one.ipynb": (nbformat.writes(one) + "\n").encode(),
    }
    assert pages.finished(staged, tmp_path, "full") == {
        name: content for name, content in staged.items() if name != "_config.yml"
    }


# --- stored numbers and tests in tables ---------------------------------------------------------


@pytest.fixture
def root(tmp_path):
    """A project with two stored numbers and a test of a fault."""
    entry = {"hardware": "Difference Engine", "versions": {"torch": "2.0"}, "command": "crank"}
    numbers = {
        "speed/ratio": {"value": 12.34, "error": 0.56, "n": 3, "unit": "times"},
        "speed/film rate": {"value": 80.0, "error": None, "n": None, "unit": "frames/s"},
    }
    folder = tmp_path / "assets" / "results"
    folder.mkdir(parents=True)
    text = json.dumps({key: entry | one for key, one in numbers.items()})
    (folder / "speed.json").write_text(text)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_disk.py").write_text(
        "import pytest\n\n\n"
        "def test_another_thing():\n    pass\n\n\n"
        '@pytest.mark.fault("the disk is full", "one line says so")\n'
        '@pytest.mark.parametrize("size", [1, 2])\n'
        "def test_a_full_disk_is_named(size):\n    pass\n"
    )
    return tmp_path


def page(root, text, name="performance.md"):
    staged = {"_config.yml": CONFIG, name: text.encode()}
    return pages.finished(staged, root, "full")[name].decode()


def test_a_stored_number_comes_with_its_error_unit_and_count(root):
    assert page(root, "<!-- speed/ratio .1f -->.") == "12.3 ± 0.6\u00a0× (n\u00a0=\u00a03)."
    assert page(root, "<!-- speed/film rate .0f -->") == "80\u00a0frames/s"
    said = page(root, "<!-- made speed/film rate -->")
    assert said == "*By `crank`, on Difference Engine, with PyTorch 2.0.*"
    assert page(root, "<!-- a comment -->") == "<!-- a comment -->"


@pytest.mark.parametrize(
    "marker", ["speed/none .1f", "other/ratio .1f", "speed/ratio", "made speed/ratio .1f"]
)
def test_a_number_that_is_not_stored_or_has_no_format_is_named(root, marker):
    with pytest.raises(BookError, match="no number '.*/.*' to show"):
        page(root, f"<!-- {marker} -->")


def test_each_test_of_a_fault_is_a_row_that_leads_to_it(root):
    rows = page(root, "<!-- faults -->").splitlines()
    assert rows[0] == "| what goes wrong | what happens | shown by |"
    assert rows[2:] == [
        "| the disk is full | one line says so | [a full disk is named]"
        f"({CODE}/tests/test_disk.py#L10) |"
    ]
    (root / "tests" / "test_disk.py").unlink()
    with pytest.raises(BookError, match="no test is marked"):
        page(root, "<!-- faults -->")


def test_every_benchmark_s_number_is_on_the_performance_page():
    shown = set(pages.STORED.findall((ROOT / "performance.md").read_text(encoding="utf-8")))
    keys = {key for _, key, _ in shown}
    stored = json.loads((ROOT / "assets" / "results" / "performance.json").read_text("utf-8"))
    assert {key for key in keys if key.startswith("performance/")} == set(stored)
    commands = {one["command"].split()[1] for one in stored.values()}
    scripts = {f"benchmarks/{path.name}" for path in (ROOT / "benchmarks").glob("bench_*.py")}
    elsewhere = ("loading", "training")  # beside the chapters that show their numbers
    assert scripts - commands == {f"benchmarks/bench_{one}.py" for one in elsewhere}


def test_what_the_performance_page_types_is_what_the_benchmarks_did():
    said = (ROOT / "performance.md").read_text(encoding="utf-8")
    stored = json.loads((ROOT / "assets" / "results" / "performance.json").read_text("utf-8"))
    clusters = re.findall(r"tasks that sleep for ([\d.]+) s on average, on (\d+) workers", said)
    assert len(clusters) == sum(key.startswith("performance/simulated") for key in stored) / 3
    for mean, workers in clusters:
        ideal = stored[f"performance/simulated {workers} ideal"]["value"]
        assert 10_000 * float(mean) / int(workers) == pytest.approx(ideal, rel=0.02)
    epochs = runs.RUNS["conv16"].epochs
    assert f"what {epochs} epochs at a constant rate reach" in said
    assert f"each factor, {epochs} by the number of epochs" in " ".join(said.split())
