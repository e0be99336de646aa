"""What the site's pages say beyond their sources, made from what was executed and stored.

Markers in pages are filled; in chapters, figures are followed by what they are drawn from, and the
first use of a term links to the glossary.
"""

import io
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import nbformat
import yaml
from PIL import Image

from press.errors import BookError
from press.report import MIME
from press.settings import Settings
from press.site.markers import filled
from press.site.sources import outputs, text_of

FILM = re.compile(r"^```\{figure\} \S*/(?P<film>[^/\s]+\.gif)\n.*?^```$", re.MULTILINE | re.DOTALL)
# Where a term is no prose: blocks, headings, tables and targets; then math, code, links and HTML.
NO_PROSE = (
    r"^(?P<fence>`{3,}|\${2}).*?^(?P=fence)|^(?:#|\||:|\().*?$"
    r"|(?:\{[^}\n]+\})?(?P<ticks>`+).+?(?P=ticks)|\$[^$]+\$|!?\[[^\]]*\]\([^)]*\)|<[^>]+>"
)


def finished(staged: Mapping[str, bytes], settings: Settings) -> dict[str, bytes]:
    """Those of the staged files that become others, and the pictures they need.

    staged: path in the site's source → content; chapters as notebooks, executed. Raises BookError
    where a page speaks of a result, figure or callout that nothing executed has.
    """
    chapters = {
        name.removesuffix(".ipynb"): nbformat.reads(content.decode(), 4)
        for name, content in staged.items()
        if name.endswith(".ipynb")
    }
    repository = yaml.safe_load(staged["_config.yml"])["repository"]
    code = f"{repository['url']}/blob/{repository.get('branch', 'main')}"
    films = {Path(name).name: staged[name] for name in staged if name.endswith(".gif")}
    terms = glossary(staged.get("glossary.md", b"").decode())
    made = {}
    for name, content in staged.items():
        if name.endswith(".md"):
            text, pictures = filled(content.decode(), chapters, settings, code)
            made |= {name: text.encode(), **pictures}
    for name, chapter in chapters.items():
        add_lineage(chapter, f"{code}/{name}.md", films)
        link_terms(chapter, terms)
        for output in (one for cell in chapter.cells for one in cell.get("outputs", ())):
            output.get("data", {}).pop(MIME, None)  # Sphinx, who cannot show it, would warn
        made[f"{name}.ipynb"] = text_of(chapter)
    return made


# --- what a figure is drawn from ----------------------------------------------------------------


def add_lineage(chapter, source: str, films: Mapping[str, bytes]) -> None:
    """Let a line under each figure and film of a chapter say how it is drawn, and from what.

    source: address of the chapter's own source. films: file name → GIF, whose comment says it.
    Raises BookError for a figure or film that does not.
    """
    made = []
    for cell in chapter.cells:
        made.append(cell)
        if cell.cell_type == "markdown":
            cell.source = FILM.sub(
                lambda found: f"{found[0]}\n\n{_film_line(films, found['film'], source)}",
                cell.source,
            )
        elif "figure" in cell.metadata.get("mystnb", {}):
            name = cell.metadata["mystnb"]["figure"]["name"]
            drawn = [part for part in outputs([cell], MIME) if "figure" in part]
            if len(drawn) != 1:
                raise BookError(
                    f"{source}: {name} does not say what it is drawn from; show one figure there "
                    "with book.show(figure, of=…)"
                )
            line = _line(drawn[0]["figure"], drawn[0]["of"], source)
            made.append(nbformat.v4.new_markdown_cell(line, id=f"{cell.id}-lineage"))
    chapter.cells = made


def _film_line(films: Mapping[str, bytes], name: str, source: str) -> str:
    try:
        with Image.open(io.BytesIO(films[name])) as film:
            drawn = json.loads(film.info["comment"])
        return _line(drawn["function"], drawn["of"], source)
    except (KeyError, TypeError, ValueError) as error:
        raise BookError(f"{source}: {name} does not say what it is drawn from") from error


def _line(function: str | None, of: Mapping[str, list[str]], source: str) -> str:
    parts = [
        f"{kind}{'s' * (len(of[f'{kind}s']) > 1)} {', '.join(f'`{one}`' for one in of[f'{kind}s'])}"
        for kind in ("run", "table")
        if of.get(f"{kind}s")
    ]
    origin = f"from {' and '.join(parts)}" if parts else f"as in the [chapter's source]({source})"
    link = f"{{py:func}}`{function} <vae_helpers.{function}>` " if function else ""
    return f"```{{div}} lineage\nReproduce: {link}{origin}\n```"


# --- the glossary -------------------------------------------------------------------------------


def glossary(page: str) -> list[str]:
    """The terms of a page's ``{glossary}``, in its order."""
    inside = re.search(r"^(`{3,})\{glossary\}\n(.*?)^\1", page, re.MULTILINE | re.DOTALL)
    lines = inside[2].splitlines() if inside else []
    return [line for line in lines if re.match(r"[^\s:]", line)]


def link_terms(chapter, terms: Iterable[str]) -> None:
    """Link the first use of each term in a chapter's prose, after its opening, to the glossary."""
    open_terms = sorted(terms, key=len, reverse=True)
    opening = True
    for cell in chapter.cells:
        if cell.cell_type != "markdown":
            continue
        opening = opening and not re.search("^## ", cell.source, re.MULTILINE)
        if open_terms and not opening:
            cell.source = _linked(cell.source, open_terms)


def _linked(text: str, open_terms: list[str]) -> str:
    """The text with first uses linked; terms found are taken off the list."""
    listed = {term.lower(): term for term in open_terms}
    words = "|".join(map(re.escape, open_terms))
    prose = re.compile(
        rf"(?P<skip>{NO_PROSE})|(?<![\w-])(?P<term>{words})(?P<plural>s?)(?![\w-])",
        re.MULTILINE | re.DOTALL | re.IGNORECASE,
    )

    def link(found: re.Match) -> str:
        term = listed.get((found["term"] or "").lower())
        if term not in open_terms:
            return found[0]
        open_terms.remove(term)
        return f"{{term}}`{found[0]} <{term}>`"

    return prose.sub(link, text)
