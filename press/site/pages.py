"""What the site's pages say beyond their sources, made from what was executed and stored.

Pages say it where they have a marker, such as ``<!-- stored speed/ratio .1f -->``; chapters under
their figures, and where they use a term of the glossary.
"""

import ast
import base64
import io
import json
import re
import statistics
from collections.abc import Iterable, Mapping
from html import escape
from itertools import dropwhile
from pathlib import Path

import nbformat
from PIL import Image, ImageOps

from press.errors import BookError
from press.files import read_rows
from press.report import MIME, anchor, brief, evidence_list
from press.settings import Settings
from press.site.chapters import figure_name, outputs
from press.stored.numbers import STORED, provenance
from vae_helpers.metrics.differences import Estimate

KINDS = "checklist|matrix|faults|fact|mean|stored|made"
MARKER = re.compile(rf"<!-- (?P<kind>{KINDS})(?: (?P<what>[^<>]+))? -->")
HEADLINE = re.compile(r"(?ms)^```\{div\} headline\n.*?^```$")
SMOKE = "This is a smoke run, on drawn garments and after one epoch: it has no results to show."
UNITS = {"times": "×", "seconds": "s", "points": "%"}
MADE = "*By `{command}`, on {hardware}, with PyTorch {versions[torch]}.*"
THUMBNAIL = (320, 200)  # pixels
PICTURED = re.compile(r"assets/thumbnails/(?P<figure>\S+)\.webp")
FILM = re.compile(r"(?ms)^```\{figure\} \S*/(?P<name>[^/\s]+\.gif)\n.*?^```$")
# Where a term is no prose: blocks, headings, tables and targets; then math, code, links and HTML.
NO_PROSE = (
    r"^(?P<fence>`{3,}|\${2}).*?^(?P=fence)|^(?:#|\||:|\().*?$"
    r"|(?:\{[^}\n]+\})?(?P<ticks>`+).+?(?P=ticks)|\$[^$]+\$|!?\[[^\]]*\]\([^)]*\)|<[^>]+>"
)


def finished(staged: Mapping[str, bytes], settings: Settings, code: str) -> dict[str, bytes]:
    """Those of the staged files that become others, and the pictures they need.

    staged: path in the site's source → content; chapters as notebooks, executed. code: address of
    the repository's files. Raises BookError or ResultError where a page speaks of a result, figure
    or callout that nothing executed has.
    """
    chapters = {
        name.removesuffix(".ipynb"): nbformat.reads(content.decode(), 4)
        for name, content in staged.items()
        if name.endswith(".ipynb")
    }
    films = {
        Path(name).name: json.loads(Image.open(io.BytesIO(content)).info.get("comment", "{}"))
        for name, content in staged.items()
        if name.endswith(".gif")
    }
    terms = glossary(staged.get("glossary.md", b"").decode())
    made = {}
    for name, content in staged.items():
        if name.endswith(".md"):
            text = content.decode()
            made |= thumbnails(text, chapters)
            made[name] = filled(text, chapters, settings, code).encode()
    for name, chapter in chapters.items():
        add_lineage(chapter, f"{code}/{name}.md", films)
        link_terms(chapter, terms)
        for output in (one for cell in chapter.cells for one in cell.get("outputs", ())):
            output.get("data", {}).pop(MIME, None)  # Sphinx, who cannot show it, would warn
        made[f"{name}.ipynb"] = f"{nbformat.writes(chapter)}\n".encode()
    return made


def filled(text: str, chapters: Mapping, settings: Settings, code: str) -> str:
    """One page with its markers replaced; chapters: name → executed notebook."""
    kinds = {
        "checklist": lambda _: requirements(settings.root, chapters)[0],
        "matrix": lambda _: requirements(settings.root, chapters)[1],
        "faults": lambda _: faults(settings.root, code),
        "fact": lambda name: fact(name, chapters),
        "mean": lambda what: mean_over_rows(settings, *what.split()),
        "stored": lambda what: stored_number(settings, *what.rsplit(" ", 1)),
        "made": lambda key: MADE.format_map(provenance(key, settings)),
    }
    text = HEADLINE.sub(SMOKE, text) if settings.smoke else text
    return MARKER.sub(lambda found: kinds[found["kind"]](found["what"]), text)


def told(chapters: Mapping) -> list[tuple[str, dict]]:
    """What each output of a chapter tells other pages, with the chapter's name."""
    return [(name, part) for name in chapters for part in outputs(chapters[name].cells, MIME)]


def requirements(root: Path, chapters: Mapping) -> tuple[str, str]:
    """A checklist of the brief's requirements, and rows with what their executed callouts say.

    Raises BookError where a chapter has no such callout.
    """
    items, rows = "", ""
    for id, one in brief(root).items():
        page = f"chapters/{one['chapter']}"
        found = [part for at, part in told(chapters) if (at, part.get("requirement")) == (page, id)]
        if len(found) != 1:
            raise BookError(f"requirement {id}: {len(found)} callouts in the executed {page}")
        mark, words, text = found[0]["mark"], escape(found[0]["words"]), escape(one["text"])
        link = f'<a href="{page}.html#{anchor(id)}">{escape(id)}</a>'
        first = re.split("[,;:.] |[.]$", one["text"])[0]
        items += f'<li><span class="sign">{mark}</span> {link} {escape(first)}</li>'
        rows += (
            f'<tr><th scope="row">{link}<br>{mark} {words}<p>{text}</p></th>'
            f'<td><a href="{page}.html">Chapter\u00a0{int(one["chapter"][:2])}</a></td>'
            f"<td>{evidence_list(found[0]['evidence'])}</td></tr>"
        )
    return f'<ul class="checklist">{items}</ul>', rows


def fact(name: str, chapters: Mapping) -> str:
    """What the finding of a chapter says under that name. Raises BookError where none does."""
    found = [part["facts"][name] for _, part in told(chapters) if name in part.get("facts", {})]
    if not found:
        raise BookError(f"no finding of a chapter has a fact {name!r}: book.finding(…, facts=…)")
    return found[0]


def mean_over_rows(settings: Settings, table: str, column: str, spec: str, *where: str) -> str:
    """Mean ± standard deviation of a column over the rows where ``run=conv16``, ….

    Raises BookError where fewer than two rows fit.
    """
    wanted = [one.split("=", 1) for one in where]
    values = [
        row[column]
        for row in read_rows(settings.root / STORED / "tables" / f"{table}.csv")
        if column in row and all(str(row.get(key)) == value for key, value in wanted)
    ]
    if len(values) < 2:
        what = f"{table} {column} {' '.join(where)}"
        raise BookError(f"{len(values)} rows have {what}; run `make sweeps measure`")
    return format(Estimate(statistics.fmean(values), statistics.stdev(values)), spec)


def stored_number(settings: Settings, key: str, spec: str) -> str:
    """A stored number with its error, unit and n, in that format."""
    one = provenance(key, settings)
    count = f" (n\u00a0=\u00a0{one['n']:,})" if one["n"] else ""
    number, unit = Estimate(one["value"], one["error"]), UNITS.get(one["unit"], one["unit"])
    return f"{number:{spec}}\u00a0{unit}{count}"


def faults(root: Path, code: str) -> str:
    """The tests marked ``fault(what, outcome)``, as a table; code: address of the repository."""
    lines = ["| what goes wrong | what happens | shown by |", "| --- | --- | --- |"]
    for path in sorted((root / "tests").rglob("test_*.py")):
        for test in ast.parse(path.read_text(encoding="utf-8")).body:
            for mark in getattr(test, "decorator_list", ()):
                if ast.unparse(mark).startswith("pytest.mark.fault("):
                    what, outcome = map(ast.literal_eval, mark.args)
                    address = f"{code}/{path.relative_to(root).as_posix()}#L{test.lineno}"
                    name = test.name.removeprefix("test_").replace("_", " ")
                    lines.append(f"| {what} | {outcome} | [{name}]({address}) |")
    return "\n".join(lines)


def thumbnails(page: str, chapters: Mapping) -> dict[str, bytes]:
    """The small pictures that a page names, ``assets/thumbnails/fig-name.webp``, as WebP.

    Raises BookError where no chapter shows a figure of that name.
    """
    made = {}
    for path, name in ((found[0], found["figure"]) for found in PICTURED.finditer(page)):
        cells = (cell for chapter in chapters.values() for cell in chapter.cells)
        shown = outputs([cell for cell in cells if figure_name(cell) == name], "image/png")
        if len(shown) != 1:
            raise BookError(f"{path}: {len(shown)} figures of the chapters are called {name}")
        image, packed = Image.open(io.BytesIO(base64.b64decode(shown[0]))), io.BytesIO()
        image = ImageOps.fit(image.convert("RGB"), THUMBNAIL, Image.Resampling.LANCZOS)
        image.save(packed, "WEBP", quality=80)
        made[path] = packed.getvalue()
    return made


def add_lineage(chapter, source: str, films: Mapping[str, dict]) -> None:
    """Let a line under each figure and film of a chapter say how it is drawn, and from what.

    source: address of the chapter's own source. films: file name → the JSON of its comment.
    Raises BookError for a figure or film that does not.
    """
    made = []
    for cell in chapter.cells:
        made.append(cell)
        if cell.cell_type == "markdown":
            for film in FILM.finditer(cell.source):
                line = _line(film["name"], [films.get(film["name"], {})], source)
                cell.source = cell.source.replace(film[0], f"{film[0]}\n\n{line}")
        elif name := figure_name(cell):
            line = _line(name, outputs([cell], MIME), source)
            made.append(nbformat.v4.new_markdown_cell(line, id=f"{cell.id}-lineage"))
    chapter.cells = made


def _line(name: str, said: list[dict], source: str) -> str:
    """The line under a figure or film, from the JSON that it carries."""
    said = [one for one in said if "of" in one]
    if len(said) != 1:
        raise BookError(f"{source}: {name} does not say what it is drawn from: book.show(…, of=…)")
    of, function = said[0]["of"], said[0].get("figure") or said[0].get("function")
    parts = [
        f"{kinds if names[1:] else kinds[:-1]} `{'`, `'.join(names)}`"
        for kinds, names in of.items()
        if names
    ]
    origin = f"from {' and '.join(parts)}" if parts else f"as in the [chapter's source]({source})"
    link = f"{{py:func}}`{function} <vae_helpers.{function}>` " if function else ""
    return f"```{{div}} lineage\nReproduce: {link}{origin}\n```"


def glossary(page: str) -> list[str]:
    """The terms of a page's ``{glossary}``, in its order."""
    inside = re.search(r"^(`{3,})\{glossary\}\n(.*?)^\1", page, re.MULTILINE | re.DOTALL)
    return re.findall(r"^[^\s:].*", inside[2], re.MULTILINE) if inside else []


def link_terms(chapter, terms: Iterable[str]) -> None:
    """Link the first use of each term in a chapter's prose, after its opening, to the glossary."""
    unused = {term.lower(): term for term in sorted(terms, key=len, reverse=True)}

    def link(found: re.Match) -> str:
        term = unused.pop((found["term"] or "").lower(), None)
        return f"{{term}}`{found[0]} <{term}>`" if term else found[0]

    prose = (cell for cell in chapter.cells if cell.cell_type == "markdown")
    for cell in dropwhile(lambda one: not re.search("^## ", one.source, re.MULTILINE), prose):
        words = "|".join(map(re.escape, unused.values()))
        parts = rf"(?ims){NO_PROSE}|(?<![\w-])(?P<term>{words})s?(?![\w-])"
        cell.source = re.sub(parts, link, cell.source)
