"""What a chapter shows: figures, findings, tables and requirement callouts.

Everything is shown as Markdown, HTML or PNG made here, so that outputs are equal everywhere.
"""

import html
import io
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml
from IPython.display import display
from matplotlib.figure import Figure
from PIL import Image

from vae_helpers.figures import drawable
from vae_helpers.settings import ROOT, Settings, settings
from vae_helpers.storage import hardware
from vae_helpers.training import best_device

DPI = 100
REQUIREMENTS = ROOT / "chapters" / "requirements.yml"
DISCLOSURE = ROOT / "chapters" / "disclosure.yml"
NUMBER = re.compile(r"[+−-]?\d[\d.,–]*( ± [\d.,]+)?( \S{1,5})?|")
# What LaTeX would read as a command; by name where BibTeX, which counts braces, would, too.
LATEX = {ord(sign): f"\\{sign}" for sign in "&%$#_"} | {
    ord(sign): f"\\text{name}{{}}"
    for sign, name in {
        "\\": "backslash",
        "{": "braceleft",
        "}": "braceright",
        "~": "asciitilde",
        "^": "asciicircum",
    }.items()
}
MARKS = {
    "passed": ("✓", "satisfied"),
    "failed": ("!", "not met by this retrained run"),
    "unassessed": ("○", "not assessed (smoke run on drawn garments)"),
}


class RequirementError(AssertionError):
    """A requirement of the brief whose check did not pass."""


def setup(retrain: bool = False) -> Settings:
    """The settings of this chapter; ``retrain`` trains its models anew instead of loading them."""
    if not retrain:
        return settings()
    os.environ["VAE_RETRAIN"] = "1"
    now = settings()
    finding(
        f"Models are trained here, on {hardware(now.device or str(best_device()))}. Below a cell "
        "that needs one, a bar shows how far it is and the time it still takes."
    )
    return now


def show(figure: Figure) -> None:
    """Show a figure as a PNG of its own fixed size, signed with the book's author."""
    now, unsigned = settings(), len(figure.texts)
    author = drawable(now.author)
    figure.text(
        0.998, 0.004, author, ha="right", va="bottom", size=7, color="0.55", parse_math=False
    )
    if now.smoke:
        figure.text(
            0.5, 0.5, "smoke run", ha="center", va="center", size=40, color="crimson", alpha=0.35
        )
    picture = _png(figure)
    for mark in figure.texts[unsigned:]:
        mark.remove()  # shown again, the figure would carry them twice
    width, height = figure.get_size_inches()
    display({"image/png": picture, "text/plain": f"figure, {width:g} × {height:g} in"}, raw=True)


def _png(figure: Figure) -> bytes:
    drawn, packed = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI)
    # 256 colours are enough for these pictures, and take a third of the bytes.
    Image.open(drawn).convert("RGB").quantize(256).save(packed, "PNG", optimize=True)
    return packed.getvalue()


def finding(text: str) -> None:
    """Show a sentence whose numbers were computed."""
    _markdown(text)


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Show a table; columns of numbers (``12.3 ± 0.4 s``, at most) are aligned right."""
    header, rows = list(map(_cell, header)), [list(map(_cell, row)) for row in rows]
    numeric = [all(NUMBER.fullmatch(row[i]) for row in rows) for i in range(len(header))]
    lines = [header, ["---:" if right else "---" for right in numeric], *rows]
    _markdown("\n".join("| " + " | ".join(line) + " |" for line in lines))


def requirement(id: str, *, evidence: Mapping[str, object], passed: bool) -> None:
    """Show the callout of one requirement of the brief, with its evidence.

    id: a key of ``chapters/requirements.yml``. passed: what this execution's check says.
    Raises RequirementError when it did not pass, KeyError for an id that is not in the list. In
    the smoke profile nothing is assessed; a retrained run that falls short says so.
    """
    listed = requirements()
    if id not in listed:
        raise KeyError(f"no requirement {id!r} in {REQUIREMENTS.name}: {', '.join(listed)}")
    now = settings()
    status = "unassessed" if now.smoke else "passed" if passed else "failed"
    if status == "failed" and not now.retrain:
        facts = "; ".join(f"{name}: {value}" for name, value in evidence.items())
        raise RequirementError(f"requirement {id} is not satisfied ({facts})")
    mark, words = MARKS[status]
    items = "".join(
        f"<li><strong>{html.escape(name)}:</strong> {html.escape(str(value))}</li>"
        for name, value in evidence.items()
    )
    callout = (
        f'<blockquote class="requirement {status}" id="{_anchor(id)}">'
        f"<p><strong>{mark} Requirement {html.escape(id)}, {words}.</strong> "
        f"{html.escape(listed[id]['text'])}</p><ul>{items}</ul></blockquote>"
    )
    display({"text/html": callout, "text/plain": f"requirement {id}: {words}"}, raw=True)


def requirements(path: Path = REQUIREMENTS) -> dict[str, dict[str, str]]:
    """The brief: id → ``{chapter, text}``."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def requirement_matrix() -> None:
    """Show every requirement of the brief with a link to the callout that shows it met."""
    rows = "".join(
        f'<tr><th scope="row"><a href="{one["chapter"]}.html#{_anchor(id)}">{html.escape(id)}</a>'
        f"</th><td>{html.escape(one['text'])}</td><td>{html.escape(title(one['chapter']))}</td></tr>"
        for id, one in requirements().items()
    )
    head = "".join(
        f'<th scope="col">{name}</th>' for name in ("requirement", "what it asks", "chapter")
    )
    matrix = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    display({"text/html": matrix, "text/plain": "the requirements of the brief"}, raw=True)


def title(chapter: str) -> str:
    """The title of the chapter of that name, from its source."""
    source = (ROOT / "chapters" / f"{chapter}.md").read_text(encoding="utf-8")
    return re.search(r"^# (.+)$", source, re.MULTILINE)[1]


def chapters() -> list[str]:
    """The names of all chapters, in order."""
    return sorted(path.stem for path in (ROOT / "chapters").glob("[0-9]*.md"))


def disclosure(path: Path = DISCLOSURE) -> str:
    """What the author says about the use of AI in making the book."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))["text"]


def citation() -> str:
    """How to cite the book, as BibTeX, from ``_config.yml``."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    return bibtex({**config, "author": settings().author})


def bibtex(config: Mapping) -> str:
    """The entry of a book with that ``_config.yml``."""
    fields = {
        "title": config["title"],
        "author": f"{{{config['author'].translate(LATEX)}}}",
        "year": config["copyright"],
        "url": config["repository"]["url"],
    }
    lines = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
    return f"@misc{{vae-book,\n{lines}}}"


def _anchor(id: str) -> str:
    return f"requirement-{id.replace('.', '-')}"


def _cell(content: object) -> str:
    # A line break or a bare | would end the cell.
    return re.sub(r"(?<!\\)\|", r"\|", " ".join(str(content).splitlines()))


def _markdown(text: str) -> None:
    display({"text/markdown": text, "text/plain": text}, raw=True)
