"""What the pages say beyond their sources, of small books and of this one."""

import base64
import io
import json
import re
import statistics
from collections import defaultdict
from dataclasses import replace
from html import escape

import nbformat
import pytest
from markdown_it import MarkdownIt
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from press import experiments, report
from press.errors import BookError, ResultError
from press.files import read_rows
from press.report import MIME
from press.runs import RUNS
from press.settings import ROOT, read
from press.site import pages
from press.site.chapters import figure_name, outputs

CODE = "https://github.com/ada/engine/blob/main"
SOURCE = f"{CODE}/chapters/01_one.md"


@pytest.fixture(scope="module")
def stored():
    """The book's pages as they are staged, with the chapters' stored outputs."""
    staged = {path.name: path.read_bytes() for path in (ROOT / "pages").glob("*.md")}
    staged["index.md"] = re.sub(rb"\.\./(?=chapters/|assets/)", b"", staged["index.md"])
    others = [*(ROOT / "chapters").glob("*.ipynb"), *(ROOT / "assets" / "gifs").glob("*.gif")]
    return staged | {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in others}


@pytest.fixture(scope="module")
def made(stored):
    return pages.finished(stored, read({}), CODE)


def cells_of(content, kind):
    return [cell for cell in nbformat.reads(content.decode(), 4).cells if cell.cell_type == kind]


def picture(size=(400, 300), color="red"):
    packed = io.BytesIO()
    Image.new("RGB", size, color).save(packed, "PNG")
    return base64.b64encode(packed.getvalue()).decode()


def figure(drawn="figures.manifold", name="fig-a", **of):
    """A cell that shows a figure and says what it is drawn from."""
    metadata = {
        "mystnb": {
            "figure": {"name": name},
            "image": {"alt": "A red field that is larger than its thumbnail. And more."},
        }
    }
    data = {"image/png": picture(), MIME: {"figure": drawn, "of": of}}
    return new_code_cell("…", metadata=metadata, outputs=[new_output("display_data", data)])


def told(part):
    """A cell one of whose outputs has that JSON part."""
    return new_code_cell("…", outputs=[new_output("display_data", {MIME: part})])


def chapter(*made):
    return new_notebook(cells=list(made))


# --- the front page -----------------------------------------------------------------------------


def test_the_headline_names_the_best_models_and_holds_their_numbers(made):
    text = " ".join(made["index.md"].decode().split())
    tables = ROOT / "assets/results/tables"
    best = min(read_rows(tables / "models.csv"), key=lambda row: row["elbo"])["run"]
    trainings = read_rows(tables / "seeds.csv")
    reached = [row["elbo"] for row in trainings if row["run"] == best]
    assert len(reached) == 5
    spread = f"{statistics.fmean(reached):.2f} ± {statistics.stdev(reached):.2f}"
    assert f"**{spread} nats** per test image is the best −ELBO, by `{best}`" in text
    distances = defaultdict(list)
    for row in read_rows(tables / "samples.csv"):
        if row["sampler"] == "prior":
            distances[row["run"]].append(row["frechet"])
    nearest = min(distances, key=lambda run: statistics.fmean(distances[run]))
    assert f"** is the best Fréchet distance, by `{nearest}`" in text
    most = max(row["latent"] for row in read_rows(tables / "latent-sizes.csv"))
    assert f" of {most}** latent dimensions are used" in text
    blind = statistics.fmean(row["blind"] for row in trainings if row["run"] == "conv16-one-cycle")
    assert blind < 0.5  # worse than chance
    assert f"**{blind:.3f} ± " in text
    assert "<!--" not in text


def test_a_smoke_run_shows_no_results(stored):
    text = pages.filled(HEADLINE, {}, read({}, profile="smoke"), CODE)
    assert "no results to show" in text
    assert "±" not in text
    assert text.endswith("After.")


HEADLINE = """\
# Book

```{div} headline
- **<!-- mean seeds bound .2f run=conv16 -->** nats
- **<!-- fact met -->** figures
```

After."""


def test_a_fact_is_repeated_as_a_chapter_tells_it(root):
    chapters = {"01_one": chapter(figure(), told({"facts": {"met": "2 of 3", "other": "1"}}))}
    assert pages.fact("met", chapters) == "2 of 3"
    with pytest.raises(BookError, match=r"has a fact 'else'.*book\.finding"):
        pages.fact("else", chapters)


def test_a_mean_is_that_of_the_rows_that_fit(root):
    tables = root / "assets" / "results" / "tables"
    tables.mkdir()
    rows = "run,seed,score,other\na,0,1.0,\na,1,2.0,5\nb,0,7.0,6\n"
    (tables / "seeds.csv").write_text(rows)
    assert page(root, "<!-- mean seeds score .1f run=a -->!") == "1.5 ± 0.7!"
    assert page(root, "<!-- mean seeds score .2f -->") == "3.33 ± 3.21"
    assert page(root, "<!-- mean seeds other .1f -->") == "5.5 ± 0.7"  # where there is one
    for wrong in ("seeds score .1f run=b", "seeds other .1f run=a", "none score .1f"):
        with pytest.raises(BookError, match=r"[01] rows have .*; run `make sweeps measure`"):
            page(root, f"<!-- mean {wrong} -->")


def test_every_chapter_has_a_card_with_a_small_picture(made, stored):
    text = made["index.md"].decode()
    names = sorted(name.removesuffix(".ipynb") for name in stored if name.endswith(".ipynb"))
    assert re.findall(r"(?m)^:link: (chapters/.*)$", text) == names
    titles = re.findall(r"(?m)^\*\*(\d+) .+\*\*$", text)
    assert titles == [str(number) for number in range(1, len(names) + 1)]
    small = re.findall(r"(?m)^:img-top: (.*)$", text)
    assert len(set(small)) == len(names)
    for one in small:
        assert len(made[one]) <= 25_000
        assert Image.open(io.BytesIO(made[one])).size == pages.THUMBNAIL
    alts = [json.loads(alt) for alt in re.findall(r":img-alt: (.*)", text)]
    assert all(40 <= len(alt) <= 300 for alt in alts)
    assert len(set(alts)) == len(names)


def test_a_cards_picture_is_that_of_its_own_chapter(made, stored):
    cards = re.findall(r"thumbnails/(\S+)\.webp(?s:.*?):link: (\S+)", made["index.md"].decode())
    for name, page in cards:
        shown = map(figure_name, nbformat.reads(stored[f"{page}.ipynb"].decode(), 4).cells)
        assert name in list(shown)


def test_a_thumbnail_is_of_the_figure_that_it_names():
    other = figure(name="fig-b")
    other.outputs[0].data["image/png"] = picture(color="blue")
    chapters = {"chapters/01_one": chapter(figure()), "chapters/02_two": chapter(other)}
    made = pages.thumbnails(
        ":img-top: assets/thumbnails/fig-b.webp\n![](assets/thumbnails/fig-a.webp)", chapters
    )
    for name, shown in (("fig-b", (0, 0, 255)), ("fig-a", (255, 0, 0))):
        pixel = Image.open(io.BytesIO(made[f"assets/thumbnails/{name}.webp"])).getpixel((9, 9))
        assert pixel == pytest.approx(shown, abs=5)


def test_a_thumbnail_of_no_figure_or_of_two_is_refused():
    chapters = {"chapters/01_one": chapter(figure(), figure())}
    for name, count in (("fig-a", 2), ("fig-c", 0)):
        wanted = rf"thumbnails/{name}.webp: {count} figures of the chapters are called {name}"
        with pytest.raises(BookError, match=wanted):
            pages.thumbnails(f"assets/thumbnails/{name}.webp", chapters)


# --- what a figure is drawn from ----------------------------------------------------------------

LINE = re.compile(
    r"^Reproduce: (?:\{py:func\}`(?P<said>[\w.]+) <vae_helpers\.(?P<function>[\w.]+)>` )?"
    r"(?:from (?P<origin>.+)|as in the \[chapter's source\]\((?P<source>\S+)\))$",
    re.MULTILINE,
)


def test_every_figure_and_film_says_how_it_is_drawn_and_names_what_exists(made, stored):
    known = RUNS.keys() | experiments.tables().keys() | set(experiments.FILES)
    for name in (name for name in stored if name.endswith(".ipynb")):
        figures_of = [
            one for one in cells_of(stored[name], "code") if "figure" in str(one.metadata)
        ]
        prose = "\n\n".join(cell.source for cell in cells_of(made[name], "markdown"))
        films = len(re.findall(r"^```\{figure\} .*\.gif$", prose, re.MULTILINE))
        lines = list(LINE.finditer(prose))
        assert len(lines) == prose.count("{div} lineage") == len(figures_of) + films
        for line in lines:
            assert line["said"] == line["function"]  # which Sphinx looks for on the library's page
            assert set(re.findall("`(.+?)`", line["origin"] or "")) <= known
            if line["source"]:
                assert line["source"] == f"{CODE}/{name.removesuffix('.ipynb')}.md"


@pytest.mark.parametrize(
    ("of", "said"),
    [
        ({"runs": ["dense2"], "tables": []}, "from run `dense2`"),
        ({"runs": ["a", "b"], "tables": ["seeds"]}, "from runs `a`, `b` and table `seeds`"),
        ({"runs": [], "tables": []}, f"as in the [chapter's source]({SOURCE})"),
    ],
)
def test_a_line_follows_its_figure_and_names_runs_and_tables(of, said):
    one = chapter(figure("figures.manifold", **of), new_markdown_cell("x"))
    pages.add_lineage(one, SOURCE, {})
    function = "{py:func}`figures.manifold <vae_helpers.figures.manifold>`"
    assert one.cells[1].source == f"```{{div}} lineage\nReproduce: {function} {said}\n```"
    assert one.cells[2].source == "x"
    nbformat.validate(one)


def test_a_figure_that_no_function_of_the_library_draws_is_said_to_be_the_chapter_s():
    one = chapter(figure(None, runs=["dense2"], tables=[]))
    pages.add_lineage(one, SOURCE, {})
    assert one.cells[1].source == "```{div} lineage\nReproduce: from run `dense2`\n```"


def test_a_figure_that_does_not_say_what_it_is_drawn_from_is_refused():
    silent, twice = figure(), figure()
    del silent.outputs[0].data[MIME]
    twice.outputs *= 2
    for one in (silent, twice):
        with pytest.raises(BookError, match=r"01_one\.md: fig-a does not say .*book\.show"):
            pages.add_lineage(chapter(one), SOURCE, {})


FILM = "```{figure} ../assets/gifs/walk.gif\n:name: film\n\nx\n```"


def test_a_line_follows_a_film_whose_file_says_what_it_is_drawn_from():
    one = chapter(new_markdown_cell(f"Before.\n\n{FILM}\n\nAfter."))
    drawn = {"digest": "1", "function": "films.walk_film", "of": {"runs": ["dense10"]}}
    pages.add_lineage(one, SOURCE, {"walk.gif": drawn})
    function = "{py:func}`films.walk_film <vae_helpers.films.walk_film>`"
    line = f"```{{div}} lineage\nReproduce: {function} from run `dense10`\n```"
    assert one.cells[0].source == f"Before.\n\n{FILM}\n\n{line}\n\nAfter."


@pytest.mark.parametrize("films", [{}, {"walk.gif": {}}])
def test_a_film_that_does_not_say_what_it_is_drawn_from_is_refused(films):
    with pytest.raises(BookError, match=r"01_one\.md: walk\.gif does not say"):
        pages.add_lineage(chapter(new_markdown_cell(FILM)), SOURCE, films)


def test_what_only_this_build_reads_does_not_reach_sphinx(stored, made):
    for name in (name for name in stored if name.endswith(".ipynb")):
        assert MIME in stored[name].decode()
        assert MIME not in made[name].decode()


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
    page = (ROOT / "pages" / "glossary.md").read_text(encoding="utf-8")
    terms = pages.glossary(page)
    assert len(terms) >= 25
    assert len(set(map(str.lower, terms))) == len(terms)
    entries = re.split(r"\n\n(?=\S)", page[page.index("{glossary}\n") :])
    firsts = [entry.splitlines()[0 if i else 1].lower() for i, entry in enumerate(entries)]
    assert firsts == sorted(firsts, key=lambda one: one.replace("β", "beta").replace("é", "e"))
    for entry in entries:
        found = re.search(r"\[Chapter (\d+)\]\(\.\./(chapters/(\d\d)_\w+)\.ipynb\)", entry)
        assert found, entry
        assert int(found[1]) == int(found[3])
        assert (ROOT / f"{found[2]}.md").is_file()


def test_most_terms_are_used_in_the_chapters(made):
    terms = set(pages.glossary((ROOT / "pages" / "glossary.md").read_text(encoding="utf-8")))
    text = "".join(content.decode() for name, content in made.items() if name.endswith("ipynb"))
    used = set(re.findall(r"\{term\}`[^`<]+ <([^`>]+)>`", text))
    assert used <= terms
    assert len(used) > len(terms) / 2


# --- the requirements ---------------------------------------------------------------------------


def test_every_requirement_is_listed_with_what_its_callout_says(made, stored):
    page, asked = made["brief.md"].decode(), report.brief(ROOT)
    for id, one in asked.items():
        said = [
            part
            for part in outputs(cells_of(stored[f"chapters/{one['chapter']}.ipynb"], "code"), MIME)
            if part.get("requirement") == id
        ]
        assert len(said) == 1, id
        place = f"chapters/{one['chapter']}.html#{report.anchor(id)}"
        assert page.count(f'<a href="{place}">{id}</a>') == 2  # in checklist and matrix
        for name, value in said[0]["evidence"].items():
            assert f"<li><strong>{escape(name)}:</strong> {escape(value)}</li>" in page
    assert page.count("✓ satisfied") == len(asked)


def test_generated_html_is_one_block_of_markdown(made):
    page = made["brief.md"].decode()
    blocks = [one.type for one in MarkdownIt().enable("table").parse(page)]
    assert blocks.count("html_block") == 2


PASSED = {"requirement": "1.1", "status": "passed", "mark": "✓", "words": "satisfied"}


@pytest.fixture
def brief(tmp_path):
    """The root of a book with one requirement, and a chapter that meets it."""
    (tmp_path / "chapters").mkdir()
    listed = '"1.1":\n  chapter: 01_one\n  text: It adds, and more.\n'
    (tmp_path / "chapters" / "brief.yml").write_text(listed)
    return tmp_path, chapter(told(PASSED | {"evidence": {"sum < 3": "2"}}))


def test_a_requirement_has_what_its_callout_says(brief):
    root, one = brief
    checklist, matrix = pages.requirements(root, {"chapters/01_one": one})
    place = '<a href="chapters/01_one.html#requirement-1-1">1.1</a>'
    assert f'<span class="sign">✓</span> {place} It adds</li>' in checklist
    assert f"{place}<br>✓ satisfied<p>It adds, and more.</p>" in matrix
    assert "<li><strong>sum &lt; 3:</strong> 2</li>" in matrix


def test_a_missing_callout_stops_the_book(brief):
    root, one = brief
    twice = chapter(*one.cells, told(PASSED))
    for book, count in (
        ({}, 0),
        ({"chapters/01_one": chapter()}, 0),
        ({"chapters/02_two": one}, 0),
        ({"chapters/01_one": twice}, 2),
    ):
        with pytest.raises(BookError, match=rf"1\.1: {count} callouts.* chapters/01_one"):
            pages.requirements(root, book)


def test_what_was_not_assessed_is_not_called_satisfied(brief):
    root, one = brief
    one.cells[-1].outputs[0].data[MIME] |= {"mark": "○", "words": "not assessed"}
    checklist, matrix = pages.requirements(root, {"chapters/01_one": one})
    assert "satisfied" not in matrix
    assert "○" in checklist
    assert "✓" not in checklist


# --- books of another kind ----------------------------------------------------------------------


def test_pages_without_markers_stay_as_they_are(tmp_path):
    one = chapter(new_markdown_cell("## A\n\nThe ELBO."))
    staged = {
        "index.md": b"# A small book\n",
        "chapters/01_one.ipynb": (nbformat.writes(one) + "\n").encode(),
    }
    assert pages.finished(staged, replace(read({}), root=tmp_path), CODE) == staged


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
    (tmp_path / "tests" / "slow").mkdir(parents=True)
    (tmp_path / "tests" / "slow" / "test_disk.py").write_text(
        "import pytest\n\n\n"
        "def test_another_thing():\n    pass\n\n\n"
        '@pytest.mark.fault("the disk is full", "one line says so")\n'
        '@pytest.mark.parametrize("size", [1, 2])\n'
        "def test_a_full_disk_is_named(size):\n    pass\n"
    )
    return tmp_path


def page(root, text, name="performance.md"):
    settings = replace(read({}), root=root)
    return pages.finished({name: text.encode()}, settings, CODE)[name].decode()


def test_a_stored_number_comes_with_its_error_unit_and_count(root):
    assert page(root, "<!-- stored speed/ratio .1f -->.") == "12.3 ± 0.6\u00a0× (n\u00a0=\u00a03)."
    assert page(root, "<!-- stored speed/film rate .0f -->") == "80\u00a0frames/s"
    said = page(root, "<!-- made speed/film rate -->")
    assert said == "*By `crank`, on Difference Engine, with PyTorch 2.0.*"
    assert page(root, "<!-- a comment -->") == "<!-- a comment -->"


@pytest.mark.parametrize(
    "marker", ["stored speed/none .1f", "stored other/ratio .1f", "made speed/ratio .1f"]
)
def test_a_number_that_is_not_stored_is_named(root, marker):
    with pytest.raises(ResultError, match="speed/.*: nothing stored|other/.*: nothing stored"):
        page(root, f"<!-- {marker} -->")


def test_each_test_of_a_fault_is_a_row_that_leads_to_it(root):
    rows = page(root, "<!-- faults -->").splitlines()
    assert rows[0] == "| what goes wrong | what happens | shown by |"
    assert rows[2:] == [
        "| the disk is full | one line says so | [a full disk is named]"
        f"({CODE}/tests/slow/test_disk.py#L10) |"
    ]


def test_every_benchmark_s_number_is_on_the_performance_page():
    page = (ROOT / "pages" / "performance.md").read_text(encoding="utf-8")
    keys = {what.rsplit(" ", 1)[0] for kind, what in pages.MARKER.findall(page) if kind == "stored"}
    stored = json.loads((ROOT / "assets" / "results" / "performance.json").read_text("utf-8"))
    assert {key for key in keys if key.startswith("performance/")} == set(stored)
    commands = {one["command"].split()[1] for one in stored.values()}
    scripts = {f"benchmarks/{path.name}" for path in (ROOT / "benchmarks").glob("bench_*.py")}
    elsewhere = ("loading", "training")  # beside the chapters that show their numbers
    assert scripts - commands == {f"benchmarks/bench_{one}.py" for one in elsewhere}


def test_what_the_performance_page_types_is_what_the_benchmarks_did():
    said = (ROOT / "pages" / "performance.md").read_text(encoding="utf-8")
    stored = json.loads((ROOT / "assets" / "results" / "performance.json").read_text("utf-8"))
    clusters = re.findall(r"tasks that sleep for ([\d.]+) s on average, on (\d+) workers", said)
    assert len(clusters) == sum(key.startswith("performance/simulated") for key in stored) / 3
    for mean, workers in clusters:
        ideal = stored[f"performance/simulated {workers} ideal"]["value"]
        assert 10_000 * float(mean) / int(workers) == pytest.approx(ideal, rel=0.02)
    epochs = RUNS["conv16"].epochs
    assert f"what {epochs} epochs at a constant rate reach" in said
    assert f"each factor, {epochs} by the number of epochs" in " ".join(said.split())
