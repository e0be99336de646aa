"""What a chapter shows: figures, findings, tables and requirement callouts.

Everything is shown as Markdown, HTML or PNG made here, so that outputs are equal everywhere. What
another page reads of an output stands beside it as JSON, under ``MIME``.
"""

import html
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml
from IPython.display import display
from matplotlib.figure import Figure

from press.checkpoints import Experiment
from press.errors import RequirementError
from press.settings import Settings
from vae_helpers import figures

MIME = "application/vnd.vae-book+json"
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
STATUS = {
    "passed": ("✓", "satisfied"),
    "failed": ("!", "not met by this retrained run"),
    "unassessed": ("○", "not assessed (smoke run on drawn garments)"),
}


def show(figure: Figure, of: Iterable[Experiment | str], settings: Settings) -> None:
    """Show a figure as a PNG of its own fixed size, signed with the book's author.

    of: the experiments and the names of tables that it is drawn from.
    """
    of, unsigned = list(of), len(figure.texts)
    with figures.style():
        figure.text(
            *(0.998, 0.004, figures.drawable(settings.author)),
            **{"ha": "right", "va": "bottom", "size": 7, "color": "0.55", "parse_math": False},
        )
        if settings.smoke:
            figure.text(
                *(0.5, 0.5, "smoke run"),
                **{"ha": "center", "va": "center", "size": 40, "color": "crimson", "alpha": 0.35},
            )
    picture = figures.png(figure)
    for mark in figure.texts[unsigned:]:
        mark.remove()  # shown again, the figure would carry them twice
    width, height = figure.get_size_inches()
    drawn = {
        "figure": figure.get_gid(),
        "of": {
            "runs": sorted({one.run.name for one in of if isinstance(one, Experiment)}),
            "tables": sorted({one for one in of if isinstance(one, str)}),
        },
    }
    _display(f"figure, {width:g} × {height:g} in", {"image/png": picture, MIME: drawn})


def finding(text: str, facts: Mapping[str, str] | None = None) -> None:
    """Show a sentence whose numbers were computed; ``facts`` are those that other pages repeat."""
    _display(text, {"text/markdown": text} | ({MIME: {"facts": facts}} if facts else {}))


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Show a table; columns of numbers (``12.3 ± 0.4 s``, at most) are aligned right."""
    header, rows = list(map(_cell, header)), [list(map(_cell, row)) for row in rows]
    numeric = [all(NUMBER.fullmatch(row[i]) for row in rows) for i in range(len(header))]
    lines = [header, ["---:" if right else "---" for right in numeric], *rows]
    finding("\n".join("| " + " | ".join(line) + " |" for line in lines))


def requirement(
    id: str, *, evidence: Mapping[str, object], passed: bool, settings: Settings
) -> None:
    """Show the callout of one requirement of the brief, with its evidence.

    id: a key of ``chapters/brief.yml``. passed: what this execution's check says.
    Raises RequirementError when it did not pass, KeyError for an id that is not in the list. In
    the smoke profile nothing is assessed; a retrained run that falls short says so.
    """
    listed = brief(settings.root)
    if id not in listed:
        raise KeyError(f"no requirement {id!r} in the brief; it has {', '.join(listed)}")
    status = "unassessed" if settings.smoke else "passed" if passed else "failed"
    evidence = {name: str(value) for name, value in evidence.items()}
    if status == "failed" and not settings.retrain:
        facts = "; ".join(f"{name}: {value}" for name, value in evidence.items())
        raise RequirementError(f"requirement {id} is not satisfied ({facts})")
    mark, words = STATUS[status]
    items = "".join(
        f"<li><strong>{html.escape(name)}:</strong> {html.escape(value)}</li>"
        for name, value in evidence.items()
    )
    callout = (
        f'<blockquote class="requirement {status}" id="{anchor(id)}">'
        f"<p><strong>{mark} Requirement {html.escape(id)}, {words}.</strong> "
        f"{html.escape(listed[id]['text'])}</p><ul>{items}</ul></blockquote>"
    )
    assessed = {"requirement": id, "status": status, "mark": mark, "words": words}
    assessed |= {"evidence": evidence}
    _display(f"requirement {id}: {words}", {"text/html": callout, MIME: assessed})


def brief(root: Path) -> dict[str, dict[str, str]]:
    """The brief: id of a requirement → ``{chapter, text}``."""
    return yaml.safe_load((root / "chapters" / "brief.yml").read_text(encoding="utf-8"))


def brief_matrix(root: Path) -> None:
    """Show every requirement of the brief with a link to the callout that shows it met."""
    rows = "".join(
        f'<tr><th scope="row"><a href="{one["chapter"]}.html#{anchor(id)}">{html.escape(id)}</a>'
        f"</th><td>{html.escape(one['text'])}</td>"
        f"<td>{html.escape(title(one['chapter'], root))}</td></tr>"
        for id, one in brief(root).items()
    )
    head = "".join(
        f'<th scope="col">{name}</th>' for name in ("requirement", "what it asks", "chapter")
    )
    matrix = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    _display("the requirements of the brief", {"text/html": matrix})


def anchor(id: str) -> str:
    """Where a requirement's callout is found in its page."""
    return f"requirement-{id.replace('.', '-')}"


def title(chapter: str, root: Path) -> str:
    """The title of the chapter of that name, from its source."""
    source = (root / "chapters" / f"{chapter}.md").read_text(encoding="utf-8")
    return re.search(r"^# (.+)$", source, re.MULTILINE)[1]


def chapters(root: Path) -> list[str]:
    """The names of all chapters, in order."""
    return sorted(path.stem for path in (root / "chapters").glob("[0-9]*.md"))


def disclosure(root: Path) -> str:
    """What the author says about the use of AI in making the book."""
    return yaml.safe_load((root / "chapters" / "disclosure.yml").read_text("utf-8"))["text"]


def citation(settings: Settings) -> str:
    """How to cite the book, as BibTeX."""
    config = yaml.safe_load((settings.root / "_config.yml").read_text(encoding="utf-8"))
    return bibtex({**config, "author": settings.author})


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


def _cell(content: object) -> str:
    # A line break or a bare | would end the cell.
    return re.sub(r"(?<!\\)\|", r"\|", " ".join(str(content).splitlines()))


def _display(plain: str, parts: Mapping[str, object]) -> None:
    display({**parts, "text/plain": plain}, raw=True)
