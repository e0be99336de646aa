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

from press import __main__ as command_line
from press import report
from press.book import Book
from press.errors import BookError
from press.settings import ROOT, read
from press.site import chapters
from press.site.personalise import personalise, renamed
from press.site.render import stage

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
        made = chapters.notebook(source)
        for cell in made.cells:
            if cell.cell_type == "code":
                cell.outputs = next(outputs)
        source.with_suffix(".ipynb").write_text(nbformat.writes(made) + "\n")
    pages = [{"file": f"chapters/{name}"} for name in NAMES]
    (folder / "_toc.yml").write_text(yaml.safe_dump({"root": "pages/index", "chapters": pages}))
    return folder


def config(root):
    return yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))


def content(root):
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def outputs(root, name):
    made = nbformat.read(root / "chapters" / f"{name}.ipynb", 4)
    return [cell.outputs for cell in made.cells if cell.cell_type == "code"]


def up_to_date(root):
    """Whether the notebooks have the cells of their sources."""
    return all(
        [cell.source for cell in nbformat.read(source.with_suffix(".ipynb"), 4).cells]
        == [cell.source for cell in chapters.notebook(source).cells]
        for source in chapters.sources(root)
    )


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
    assert up_to_date(root)


def test_comments_and_all_other_lines_of_the_configuration_stay(root):
    before = (root / "_config.yml").read_text(encoding="utf-8").splitlines()
    personalise("Ada Lovelace", "ada/vaes", root)
    after = (root / "_config.yml").read_text(encoding="utf-8").splitlines()
    changed = [new for new, old in zip(after, before, strict=True) if new != old]
    assert changed == ['author: "Ada Lovelace"', "  url: https://github.com/ada/vaes"]


@pytest.mark.parametrize(
    ("name", "place"), [("_config.yml", ("author",)), ("CITATION.cff", ("authors", 0, "name"))]
)
@each_author
def test_one_value_changes_and_every_other_byte_stays(root, name, place, author):
    old = (root / name).read_text(encoding="utf-8").splitlines()
    personalise(author, None, root)
    new = (root / name).read_text(encoding="utf-8").splitlines()
    changed = [number for number, (a, b) in enumerate(zip(old, new, strict=True)) if a != b]
    assert [old[number].strip(" -").split(":")[0] for number in changed] == [place[-1]]
    value = yaml.safe_load("\n".join(new))
    for key in place:
        value = value[key]
    assert value == author


def test_stored_outputs_stay(root):
    before = {name: outputs(root, name) for name in NAMES}
    personalise("Ada Lovelace", "ada/vaes", root)
    assert {name: outputs(root, name) for name in NAMES} == before


@each_author
def test_any_author_is_stored_cited_and_then_left_alone(root, author):
    assert personalise(author, "ada/vaes", root)
    assert config(root)["author"] == author
    cited = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["authors"] == [{"name": author}]
    assert cited["repository-code"] == "https://github.com/ada/vaes"
    before = content(root)
    assert personalise(author, "ada/vaes", root) == []
    assert content(root) == before
    assert up_to_date(root)


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
    text = "github.com/a/b github.com/a/b.git github.com/a/b. (github.com/a/b/blob)"
    text += " github.com/a/b/x github/a/b/blob"
    assert renamed(text, "a/b", "c/d") == text.replace("a/b", "c/d")
    other = "data/book a/b github.com/a/bc github.com/a/b-c github.com/a/b.c"
    assert renamed(other, "a/b", "c/d") == other


@pytest.mark.fault(
    "a file of the book has the line ends of Windows when author and repository change",
    "the lines that name them change; every line keeps its end",
)
def test_line_ends_stay_as_they_are(root):
    config, read_me = root / "_config.yml", root / "README.md"
    for path in (config, read_me):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    before, other = config.read_bytes().split(b"\n"), read_me.read_bytes()
    assert "README.md" not in personalise("Ada Lovelace", None, root)
    after = config.read_bytes().split(b"\n")
    assert [b for a, b in zip(before, after, strict=True) if a != b] == [
        b'author: "Ada Lovelace"\r'
    ]
    assert read_me.read_bytes() == other


@pytest.mark.fault(
    "git on that machine turns line ends into those of Windows (core.autocrlf)",
    "a clone of the book has none of them: its scripts start, and its digests are the same",
)
def test_a_clone_has_no_other_line_ends(tmp_path):
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs git and a checkout")
    source = tmp_path / "source"
    names = subprocess.check_output(["git", "-C", ROOT, "ls-files"], text=True).split("\n")
    small = [name for name in names if name.endswith((".py", ".md", ".yml", "run", "tributes"))]
    for name in [*small, "chapters/02_model.ipynb"]:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    who = ["-c", "user.name=Nobody", "-c", "user.email=nobody@example.org"]
    for command in (["init", "-q"], ["add", "-A"], [*who, "commit", "-q", "-m", "All"]):
        subprocess.run(["git", "-C", source, *command], check=True, capture_output=True)
    clone = ["git", "clone", "-q", "-c", "core.autocrlf=true", source, tmp_path / "clone"]
    subprocess.run(clone, check=True, capture_output=True)
    for path in source.rglob("*.*"):
        if path.is_file() and ".git" not in path.parts:
            copy = tmp_path / "clone" / path.relative_to(source)
            assert copy.read_bytes() == path.read_bytes(), path
            assert b"\r\n" not in copy.read_bytes(), path


# --- the command -------------------------------------------------------------------------------


def test_the_command_says_what_changed_and_what_is_left_to_do(root, monkeypatch, capsys):
    monkeypatch.setattr(command_line, "read", lambda **changes: read({}, root, **changes))
    arguments = ["personalise", "--author", "Ada 李", "--repo", "ada/vaes"]
    assert command_line.main(arguments) == 0
    out = capsys.readouterr().out
    assert "_config.yml" in out
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
        Book(replace(settings, author=author)).show(Figure(figsize=(4, 3)))
    assert len(shown) == 1


def test_letters_that_the_font_lacks_are_replaced_and_no_other():
    assert report.drawable("Žofie Ødegård, β → ²") == "Žofie Ødegård, β → ²"
    assert report.drawable("Ada 李 🎩") == "Ada � �"


@each_author
def test_the_site_gets_the_author_as_text_not_as_html(root, author):
    personalise(author, None, root)
    (root / "pages" / "index.md").write_text("# A book without numbers\n")
    (root / "_toc.yml").write_text("root: pages/index\n")
    staged = stage(root / "chapters", read({}, root))
    name = (
        yaml.safe_load(staged["_config.yml"])["author"]
        .removeprefix(IGNORED)
        .removesuffix("</span>")
    )
    assert html.unescape(name) == author
    assert "<" not in name
