"""What a chapter shows: figures, findings, tables and requirement callouts.

Everything is shown as Markdown, HTML or PNG made here, so that outputs are equal everywhere. What
another page reads of an output stands beside it as JSON, under ``MIME``.
"""

import hashlib
import html
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import yaml
from IPython.display import display
from matplotlib import font_manager
from matplotlib.figure import Figure
from PIL import Image

from press.checkpoints import Experiment
from press.drawing import described
from press.errors import RequirementError
from vae_helpers import figures

MIME = "application/vnd.vae-book+json"
NUMBER = re.compile(r"[+−-]?\d[\d.,–]*( ± [\d.,]+)?( \S{1,5})?|")
STATUS = {
    "passed": ("✓", "satisfied"),
    "failed": ("!", "not met by this retrained run"),
    "unassessed": ("○", "not assessed (smoke run on drawn garments)"),
}


def show(book, figure: Figure, of: Sequence[Experiment | str] = ()) -> None:
    """Show a figure as a PNG of its own fixed size, signed with the book's author.

    of: the experiments and the names of tables that it is drawn from.
    """
    signature = {"ha": "right", "va": "bottom", "size": 7, "color": "0.55", "parse_math": False}
    across = {"ha": "center", "va": "center", "size": 40, "color": "crimson", "alpha": 0.35}
    with figures.style():
        author = drawable(book.settings.author)
        marks = [figure.text(0.998, 0.004, author, **signature)]
        marks += [figure.text(0.5, 0.5, "smoke run", **across)] if book.smoke else []
    picture = png(figure)
    for mark in marks:
        mark.remove()  # shown again, the figure would carry them twice
    width, height = figure.get_size_inches()
    tables = {one for one in of if isinstance(one, str)}
    runs = {one.run.name for one in of if one not in tables}
    drawn = {"figure": figure.get_gid(), "of": {"runs": sorted(runs), "tables": sorted(tables)}}
    drawn |= {"shows": described(figure), "png": hashlib.sha256(picture).hexdigest()[:16]}
    said = f"figure, {width:g} × {height:g} in, shows {drawn['shows']['words']}"
    display({"text/plain": said, "image/png": picture, MIME: drawn}, raw=True)


def png(figure: Figure) -> bytes:
    """The figure as a PNG of its own fixed size."""
    drawn, packed = io.BytesIO(), io.BytesIO()
    figure.draw_without_rendering()  # names find room once pictures have their place
    figure.savefig(drawn, format="png", dpi=100)
    picture = Image.open(drawn).convert("RGB")
    # 256 colours are enough for greys and lines, and take a third of the bytes.
    picture.quantize(256).save(packed, "PNG", optimize=True)
    return packed.getvalue()


def drawable(text: str) -> str:
    """``text`` with a question mark in a diamond for each letter that the figures' font lacks.

    matplotlib would draw a box, and warn of it below every figure that an author signs.
    """
    letters = font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap()
    return "".join(letter if ord(letter) in letters else "\ufffd" for letter in text)


def finding(text: str, facts: Mapping[str, str] | None = None) -> None:
    """Show a sentence whose numbers were computed; ``facts`` are those that other pages repeat."""
    parts = {MIME: {"facts": facts}} if facts else {}
    display({"text/plain": text, "text/markdown": text, **parts}, raw=True)


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Show a table; columns of numbers (``12.3 ± 0.4 s``, at most) are aligned right."""
    header, rows = list(map(_cell, header)), [list(map(_cell, row)) for row in rows]
    numeric = [all(NUMBER.fullmatch(row[i]) for row in rows) for i in range(len(header))]
    lines = [header, ["---:" if right else "---" for right in numeric], *rows]
    finding("\n".join("| " + " | ".join(line) + " |" for line in lines))


def requirement(book, id: str, *, evidence: Mapping, passed: bool) -> None:
    """Show the callout of one requirement of the brief, with its evidence.

    id: a key of ``chapters/brief.yml``. passed: what this execution's check says.
    Raises RequirementError when it did not pass, KeyError for an id that is not in the list. In
    the smoke profile nothing is assessed; a retrained run that falls short says so.
    """
    asked = brief(book.settings.root)[id]
    status = "unassessed" if book.smoke else "passed" if passed else "failed"
    evidence = {name: str(value) for name, value in evidence.items()}
    if status == "failed" and not book.settings.retrain:
        facts = "; ".join(f"{name}: {value}" for name, value in evidence.items())
        raise RequirementError(f"requirement {id} is not satisfied ({facts})")
    mark, words = STATUS[status]
    callout = (
        f'<blockquote class="requirement {status}" id="{anchor(id)}">'
        f"<p><strong>{mark} Requirement {html.escape(id)}, {words}.</strong> "
        f"{html.escape(asked['text'])}</p>{evidence_list(evidence)}</blockquote>"
    )
    said = {"requirement": id, "status": status, "mark": mark, "words": words, "evidence": evidence}
    plain = f"requirement {id}: {words}"
    display({"text/plain": plain, "text/html": callout, MIME: said}, raw=True)


def evidence_list(evidence: Mapping[str, str]) -> str:
    """Evidence as a list in HTML."""
    items = (
        f"<li><strong>{html.escape(name)}:</strong> {html.escape(value)}</li>"
        for name, value in evidence.items()
    )
    return f"<ul>{''.join(items)}</ul>"


def brief(root: Path) -> dict[str, dict[str, str]]:
    """The brief: id of a requirement → ``{chapter, text}``."""
    return yaml.safe_load((root / "chapters" / "brief.yml").read_text(encoding="utf-8"))


def anchor(id: str) -> str:
    """Where a requirement's callout is found in its page."""
    return f"requirement-{id.replace('.', '-')}"


def _cell(content: object) -> str:
    # A line break or a bare | would end the cell.
    return re.sub(r"(?<!\\)\|", r"\|", " ".join(str(content).splitlines()))
