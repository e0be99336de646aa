"""What pages say where their sources have a marker, such as ``<!-- stored speed/ratio .1f -->``.

It is made while the site is laid out, so that none of it can be older than what it speaks of.
"""

import ast
import html
import json
import re
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path

from press.errors import BookError
from press.files import read_rows
from press.report import MIME, anchor, brief
from press.settings import Settings
from press.site import cards
from press.site.sources import outputs

MARKER = re.compile(r"<!-- (?P<kind>\w+)(?: (?P<what>[^<>]+))? -->")
HEADLINE = re.compile(r"^```\{div\} headline\n.*?^```$", re.MULTILINE | re.DOTALL)
SMOKE = "This is a smoke run, on drawn garments and after one epoch: it has no results to show."
UNITS = {"times": "×", "seconds": "s", "points": "%"}


def filled(
    text: str, chapters: Mapping, settings: Settings, code: str
) -> tuple[str, dict[str, bytes]]:
    """One page with its markers replaced, and the pictures that it needs.

    chapters: name → executed notebook. code: address of the repository's files. Raises BookError
    where a page speaks of a result, figure or callout that nothing executed has.
    """
    root, results, pictures = settings.root, settings.root / "assets" / "results", {}
    kinds = {
        "checklist": lambda what: checklist(assessed(root, chapters)),
        "matrix": lambda what: matrix(assessed(root, chapters)),
        "faults": lambda what: faults(root, code),
        "fact": lambda what: fact(what, chapters),
        "mean": lambda what: mean(results / "tables", *what.split()),
        "stored": lambda what: stored(results, *what.rsplit(" ", 1)),
        "made": lambda what: made(results, what),
    }

    def fill(found: re.Match) -> str:
        return kinds[found["kind"]](found["what"]) if found["kind"] in kinds else found[0]

    if settings.smoke:
        text = HEADLINE.sub(SMOKE, text)
    if "<!-- cards -->\n" in text:
        text, pictures = cards.cards(text, chapters)
    return MARKER.sub(fill, text), pictures


# --- the requirements ---------------------------------------------------------------------------


def assessed(root: Path, chapters: Mapping) -> list[dict]:
    """Every requirement of the brief with what its executed callout says.

    ``id``, ``text``, ``chapter``; from the callout ``status``, ``mark``, ``words``, ``evidence``.
    Raises BookError where the chapter has no such callout.
    """
    made = []
    for id, one in brief(root).items():
        name = f"chapters/{one['chapter']}"
        cells = chapters[name].cells if name in chapters else []
        found = [part for part in outputs(cells, MIME) if part.get("requirement") == id]
        if len(found) != 1:
            raise BookError(
                f"requirement {id}: {len(found)} callouts in the executed {one['chapter']} instead "
                "of one; see chapters/brief.yml"
            )
        made.append({**found[0], **one, "id": id})
    return made


def checklist(rows: Iterable[Mapping]) -> str:
    """Every requirement in a line, with a link to its callout."""
    items = "".join(
        f'<li><span class="sign">{one["mark"]}</span> {_callout(one)} '
        f"{html.escape(re.split('[,;:.] |[.]$', one['text'])[0])}</li>"
        for one in rows
    )
    return f'<ul class="checklist">{items}</ul>'


def matrix(rows: Iterable[Mapping]) -> str:
    """Every requirement with its status, chapter and evidence, as a table."""
    head = "".join(
        f'<th scope="col">{name}</th>' for name in ("requirement", "chapter", "evidence")
    )
    body = "".join(
        f'<tr><th scope="row">{_callout(one)}<br>{one["mark"]} {html.escape(one["words"])}<p>'
        f'{html.escape(one["text"])}</p></th><td><a href="chapters/{one["chapter"]}.html">'
        f"Chapter\u00a0{int(one['chapter'][:2])}</a></td><td><ul>{_evidence(one)}</ul></td></tr>"
        for one in rows
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    # Wider than a phone: whoever has no touch can scroll it with the keyboard.
    region = '<div class="matrix" tabindex="0" role="region" aria-label="All requirements">'
    return f"{region}{table}</div>"


def _callout(one: Mapping) -> str:
    address = f"chapters/{one['chapter']}.html#{anchor(one['id'])}"
    return f'<a href="{address}">{html.escape(one["id"])}</a>'


def _evidence(one: Mapping) -> str:
    return "".join(
        f"<li><strong>{html.escape(name)}:</strong> {html.escape(value)}</li>"
        for name, value in one["evidence"].items()
    )


# --- numbers and tests in tables ----------------------------------------------------------------


def fact(name: str, chapters: Mapping) -> str:
    """What the finding of a chapter says under that name. Raises BookError where none does."""
    for chapter in chapters.values():
        for part in outputs(chapter.cells, MIME):
            if name in part.get("facts", {}):
                return part["facts"][name]
    raise BookError(f"no finding of a chapter has a fact {name!r}: book.finding(…, facts=…)")


def mean(tables: Path, table: str, column: str, spec: str, *where: str) -> str:
    """Mean ± standard deviation of a column over the rows where ``run=conv16``, ….

    Raises BookError where fewer than two rows fit.
    """
    wanted = [one.split("=", 1) for one in where]
    values = [
        row[column]
        for row in read_rows(tables / f"{table}.csv")
        if column in row and all(str(row.get(key)) == value for key, value in wanted)
    ]
    if len(values) < 2:
        raise BookError(
            f"{len(values)} rows of the table {table!r} have {' '.join([*where, column])}; "
            "run `make sweeps measure`"
        )
    return f"{statistics.fmean(values):{spec}} ± {statistics.stdev(values):{spec}}"


def stored(results: Path, key: str, spec: str = "") -> str:
    """A stored number with its error, unit and n. Raises BookError where there is none."""
    one = _entry(results, key)
    error = "" if one["error"] is None else f" ± {one['error']:{spec}}"
    count = f" (n\u00a0=\u00a0{one['n']:,})" if one["n"] else ""
    return f"{one['value']:{spec}}{error}\u00a0{UNITS.get(one['unit'], one['unit'])}{count}"


def made(results: Path, key: str) -> str:
    """The command and machine that a stored number is from."""
    one = _entry(results, key)
    torch = one["versions"]["torch"]
    return f"*By `{one['command']}`, on {one['hardware']}, with PyTorch {torch}.*"


def _entry(results: Path, key: str) -> dict:
    path = results / f"{key.split('/')[0]}.json"
    entries = json.loads(path.read_text("utf-8")) if path.exists() else {}
    if key not in entries:
        raise BookError(f"no number {key!r} to show; the benchmarks store it (python benchmarks/…)")
    return entries[key]


def faults(root: Path, code: str) -> str:
    """The tests marked ``fault(what, outcome)``, as a table; code: address of the repository."""
    lines = ["| what goes wrong | what happens | shown by |", "| --- | --- | --- |"]
    for path in sorted((root / "tests").rglob("test_*.py")):
        for test in ast.parse(path.read_text(encoding="utf-8")).body:
            for mark in getattr(test, "decorator_list", ()):
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.fault":
                    what, outcome = (ast.literal_eval(argument) for argument in mark.args)
                    address = f"{code}/{path.relative_to(root).as_posix()}#L{test.lineno}"
                    name = test.name.removeprefix("test_").replace("_", " ")
                    lines.append(f"| {what} | {outcome} | [{name}]({address}) |")
    if len(lines) == 2:
        raise BookError("no test is marked fault(what, outcome), but a page has <!-- faults -->")
    return "\n".join(lines)
