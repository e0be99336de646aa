"""Other names of author and repository: in every file that has them, and nothing else changed."""

import html
import json
import os
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace

import nbformat
import pytest
import yaml
from matplotlib.figure import Figure
from pybtex.database import parse_string

from press import __main__ as command_line
from press import report
from press.errors import BookError
from press.settings import ROOT, read
from press.site import sources
from press.site.personalise import personalise, renamed, with_values
from press.site.stage import stage
from vae_helpers import figures

# What the Makefile's environment is made from.
REQUIRED = ("requirements.txt", "constraints.txt", "requirements.lock", "pyproject.toml")
NAMES = ["02_model", "16_results"]  # one that draws, and the one that cites the book
AUTHORS = [
    "Žofie Ødegård",
    "李四光",
    "👩‍🔬 محمد",
    'O\'Brien, "Bob"',
    r"A$AP $x$ \alpha_{",
    "100 % & #1 {~^}, - x: y # z",
    "<b>Bold</b> & <script>alert(1)</script>",
    "yes",
]
IGNORED = '<span class="mathjax_ignore">'  # by MathJax
each_author = pytest.mark.parametrize("author", AUTHORS)


@pytest.fixture
def root(small_book, tmp_path):
    """A copy of the book with two of its chapters, their notebooks up to date."""
    return shutil.copytree(small_book, tmp_path / "book")


@pytest.fixture(scope="module")
def small_book(tmp_path_factory):
    folder = tmp_path_factory.mktemp("book")
    (folder / "chapters").mkdir()
    others = [ROOT / "pyproject.toml", ROOT / "_config.yml"]
    for path in [*ROOT.glob("*.md"), *ROOT.glob("*.cff"), *others]:
        shutil.copy(path, folder)
    shutil.copytree(ROOT / "pages", folder / "pages")
    for name in NAMES:
        source = folder / "chapters" / f"{name}.md"
        shutil.copy(ROOT / "chapters" / source.name, source)
        stored = nbformat.read(ROOT / "chapters" / f"{name}.ipynb", 4)
        outputs = iter([cell.outputs for cell in stored.cells if cell.cell_type == "code"])
        made = sources.notebook(source)
        for cell in made.cells:
            if cell.cell_type == "code":
                cell.outputs = next(outputs)
        source.with_suffix(".ipynb").write_text(nbformat.writes(made) + "\n")
    pages = [{"file": f"chapters/{name}"} for name in NAMES]
    (folder / "_toc.yml").write_text(yaml.safe_dump({"root": "pages/index", "chapters": pages}))
    assert sources.outdated(folder) == []
    return folder


def config(root):
    return yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))


def content(root):
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def outputs(root, name):
    made = nbformat.read(root / "chapters" / f"{name}.ipynb", 4)
    return [cell.outputs for cell in made.cells if cell.cell_type == "code"]


def test_both_names_change_wherever_they_stand(root):
    old = config(root)["repository"]["url"].removeprefix("https://github.com/")
    changed = personalise("Ada Lovelace", "ada/vaes", root)
    assert {f"chapters/{name}.{kind}" for name in NAMES for kind in ("md", "ipynb")} < set(changed)
    assert config(root)["author"] == "Ada Lovelace"
    assert config(root)["repository"]["url"] == "https://github.com/ada/vaes"
    left = [path for path, text in content(root).items() if old.encode() in text]
    assert left == []
    for name in NAMES:
        source = (root / "chapters" / f"{name}.md").read_text(encoding="utf-8")
        assert f"github/ada/vaes/blob/main/chapters/{name}.ipynb" in source  # the badge
        assert 'url = "https://github.com/ada/vaes"' in source
    assert sources.outdated(root) == []


def test_comments_and_all_other_lines_of_the_configuration_stay(root):
    before = (root / "_config.yml").read_text(encoding="utf-8").splitlines()
    personalise("Ada Lovelace", "ada/vaes", root)
    after = (root / "_config.yml").read_text(encoding="utf-8").splitlines()
    changed = [new for new, old in zip(after, before, strict=True) if new != old]
    assert changed == ['author: "Ada Lovelace"', '  url: "https://github.com/ada/vaes"']


@pytest.mark.parametrize(
    ("name", "place"), [("_config.yml", ("author",)), ("CITATION.cff", ("authors", 0, "name"))]
)
@each_author
def test_one_value_changes_and_every_other_byte_stays(name, place, author):
    text = (ROOT / name).read_text(encoding="utf-8")
    old, new = text.splitlines(), with_values(text, {place: author}).splitlines()
    changed = [number for number, (a, b) in enumerate(zip(old, new, strict=True)) if a != b]
    assert [old[number].strip(" -").split(":")[0] for number in changed] == [place[-1]]
    value = yaml.safe_load("\n".join(new))
    for key in place:
        value = value[key]
    assert value == author
    assert with_values("\n".join(new), {place: author}) == "\n".join(new)


def test_stored_outputs_stay_but_for_the_citation(root):
    before = {name: outputs(root, name) for name in NAMES}
    old, new = report.bibtex(config(root)), None
    personalise("Ada Lovelace", "ada/vaes", root)
    new = report.bibtex(config(root))
    assert "{{Ada Lovelace}}" in new
    assert "https://github.com/ada/vaes" in new
    assert outputs(root, "02_model") == before["02_model"]
    expected = json.loads(
        json.dumps(before["16_results"]).replace(json.dumps(old)[1:-1], json.dumps(new)[1:-1])
    )
    assert expected != before["16_results"]
    assert outputs(root, "16_results") == expected


@each_author
def test_any_author_is_stored_cited_and_then_left_alone(root, author):
    assert personalise(author, "ada/vaes", root)
    assert config(root)["author"] == author
    cited = report.bibtex(config(root))
    parsed = parse_string(cited, "bibtex").entries["vae-book"]
    assert parsed.fields["url"] == "https://github.com/ada/vaes"
    assert len(parsed.persons["author"]) == 1
    assert cited in "".join(
        one.data["text/markdown"]
        for some in outputs(root, "16_results")
        for one in some
        if "text/markdown" in one.data
    )
    before = content(root)
    assert personalise(author, "ada/vaes", root) == []
    assert content(root) == before
    assert sources.outdated(root) == []


def test_there_and_back_again(root):
    personalise("Ada Lovelace", "ada/vaes", root)
    before = content(root)
    personalise("Grace Hopper", "grace/other", root)
    assert content(root) != before
    personalise("Ada Lovelace", "ada/vaes", root)
    assert content(root) == before


def test_either_may_be_left_out(root):
    old = config(root)
    personalise("Ada Lovelace", None, root)
    assert config(root) == old | {"author": "Ada Lovelace"}
    personalise(None, "ada/vaes", root)
    assert config(root)["author"] == "Ada Lovelace"
    assert config(root)["repository"] == {**old["repository"], "url": "https://github.com/ada/vaes"}


@pytest.mark.parametrize("author", ["", "  ", "two\nlines", "two\u2028lines", "bell\a", "\udcff"])
def test_an_author_who_cannot_sign_is_refused_and_nothing_written(root, author):
    before = content(root)
    with pytest.raises(BookError, match="^AUTHOR is "):
        personalise(author, "ada/vaes", root)
    assert content(root) == before


@pytest.mark.parametrize(
    "repo",
    ["", "vaes", "a/b/c", "https://github.com/a/b", "a/b.git", "-a/b", "a/..", "a/b c", "a/b\n"],
)
def test_a_malformed_repository_is_refused_and_nothing_written(root, repo):
    before = content(root)
    with pytest.raises(BookError, match="^REPO is .*give user/name"):
        personalise("Ada Lovelace", repo, root)
    assert content(root) == before


def test_only_links_to_that_very_repository_are_renamed():
    text = "github.com/a/b github.com/a/b.git github.com/a/b. (github.com/a/b/blob) a.github.io/b/"
    text += " github.com/a/b/x github/a/b/blob"
    assert renamed(text, "a/b", "c/d") == text.replace("a/b", "c/d").replace(
        "a.github.io/b", "c.github.io/d"
    )
    other = "data/book a/b github.com/a/bc github.com/a/b-c github.com/a/b.c my-a.github.io/bc"
    assert renamed(other, "a/b", "c/d") == other


# --- the command -------------------------------------------------------------------------------


def test_the_command_says_what_changed_and_what_is_left_to_do(root, monkeypatch, capsys):
    monkeypatch.setattr(command_line, "read", lambda **changes: read({}, root, **changes))
    arguments = ["personalise", "--author", "Ada 李", "--repo", "ada/vaes"]
    assert command_line.main(arguments) == 0
    out = capsys.readouterr().out
    assert "_config.yml" in out
    assert "they sign Ada �" in out
    assert "`make chapters` redraws them" in out
    assert command_line.main(arguments) == 0
    assert "nothing" in capsys.readouterr().out
    assert command_line.main(["personalise"]) == 1
    assert capsys.readouterr().err == (
        'nothing to change: give AUTHOR="Your Name", REPO=user/name, or both\n'
    )


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(
    ("given", "received"),
    [
        *(([f"AUTHOR={name}"], [f"--author={name}"]) for name in AUTHORS),
        ([r"AUTHOR=A $B $(C) `D` \ 'E' \"F\"; G"], [r"--author=A $B $(C) `D` \ 'E' \"F\"; G"]),
        (["AUTHOR=", "REPO=ada/vaes"], ["--author=", "--repo=ada/vaes"]),
        (["REPO=$(shell echo x)"], ["--repo=$(shell echo x)"]),
        (["AUTHOR=two\nlines"], ["--author=two\nlines"]),
        ([], []),
    ],
)
def test_make_hands_names_over_as_they_were_typed(tmp_path, given, received):
    for name in ("Makefile", *REQUIRED):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    python.chmod(0o755)
    (tmp_path / ".venv" / "installed").touch()
    # `make test` would hand its own make's state on, and this one would speak of being the second.
    inherited = {"AUTHOR", "REPO", "MAKELEVEL", "MAKEFLAGS", "MFLAGS"}
    env = {key: value for key, value in os.environ.items() if key not in inherited}
    done = subprocess.run(
        ["make", "personalise", *given], cwd=tmp_path, capture_output=True, text=True, env=env
    )
    assert done.stderr == ""
    assert json.loads(done.stdout) == ["-m", "press", "personalise", *received]


# --- figures and pages -------------------------------------------------------------------------


@each_author
def test_any_author_signs_figures_without_a_warning(author, settings, monkeypatch):
    shown = []
    monkeypatch.setattr(report, "display", lambda data, raw: shown.append(data))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report.show(Figure(figsize=(4, 3)), [], replace(settings, author=author))
    assert len(shown) == 1


def test_letters_that_the_font_lacks_are_replaced_and_no_other():
    assert figures.drawable("Žofie Ødegård, β → ²") == "Žofie Ødegård, β → ²"
    assert figures.drawable("Ada 李 🎩") == "Ada � �"


@each_author
def test_the_site_gets_the_author_as_text_not_as_html(root, author):
    personalise(author, None, root)
    (root / "pages" / "index.md").write_text("# A book without numbers\n")
    (root / "_toc.yml").write_text("root: pages/index\n")
    staged = stage(read({}, root), root / "chapters")
    name = config(staged)["author"].removeprefix(IGNORED).removesuffix("</span>")
    assert html.unescape(name) == author
    assert "<" not in name
