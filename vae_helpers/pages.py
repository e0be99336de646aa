"""What the site's pages say beyond their sources, made from what was executed and stored.

A line such as ``<!-- cards -->`` in a page is where it goes; figures are followed by what they are
drawn from, and the first use of a term in a chapter links to the glossary. All of it is made while
the site is laid out, so that none of it can be older than what it speaks of.
"""

import ast
import base64
import html
import io
import json
import re
import statistics
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import yaml
from PIL import Image, ImageOps

from vae_helpers import lineage
from vae_helpers.files import read_rows
from vae_helpers.lineage import Drawn

THUMBNAIL = (320, 200)  # pixels
SHOWN = {  # on a chapter's card; the first figure of all others
    "02_model": "fig-before-after",
    "03_loss": "fig-beta",
    "04_training": "fig-reconstructions",
    "05_beta": "fig-beta-maps",
    "06_evaluation": "fig-prior-samples",
    "07_fid": "fig-corruptions",
    "09_autoencoder": "fig-four-samples",
    "11_traversals": "fig-traversal-4",
    "13_collapse": "fig-deep-manifold",
    "14_applications": "fig-sent",
    "15_mnist": "fig-mnist-manifold",
}
CALLOUT = re.compile(
    r'<blockquote class="requirement \w+" id="(?P<anchor>[^"]+)"><p><strong>(?P<mark>\S+) '
    r"Requirement (?P<id>.+?), (?P<status>.+?)\.</strong> .*?</p><ul>(?P<evidence>.*?)</ul>"
)
FILM = re.compile(r"^```\{figure\} \S*/(?P<film>[^/\s]+)\.gif\n.*?^```$", re.MULTILINE | re.DOTALL)
CARD = re.compile(r"^\| \[(?P<title>.+?)\]\((?P<page>.+?)\.ipynb\) \| (?P<question>.+?) \|$")
# A stored number, ``<!-- speed/ratio .1f -->``, or how it was made, ``<!-- made speed/ratio -->``.
STORED = re.compile(r"<!-- (?P<made>made )?(?P<key>\w+/[\w ]+?)(?: (?P<spec>\.\d+f))? -->")
UNITS = {"times": "×", "seconds": "s", "points": "%"}
SHORT = re.compile(r".{40,}?(?=\.( |$))|.*")  # the first sentences of an alternative text
# Where a term is no prose: blocks, headings, tables and targets; then math, code, links and HTML.
NO_PROSE = (
    r"^(?P<fence>`{3,}|\${2}).*?^(?P=fence)|^(?:#|\||:|\().*?$"
    r"|(?:\{[^}\n]+\})?(?P<ticks>`+).+?(?P=ticks)|\$[^$]+\$|!?\[[^\]]*\]\([^)]*\)|<[^>]+>"
)


class BookError(Exception):
    """The book cannot be made; the message names the chapter or file, and the remedy."""


def finished(staged: Mapping[str, bytes], root: Path, profile: str) -> dict[str, bytes]:
    """Those of the staged files that become others, and the pictures they need.

    staged: path in the site's source → content; chapters as notebooks, executed. root: where
    ``assets/results`` and ``chapters/requirements.yml`` lie. Raises BookError where a page speaks
    of a result, figure or callout that nothing executed has.
    """
    import nbformat

    chapters = {
        name.removesuffix(".ipynb"): nbformat.reads(content.decode(), 4)
        for name, content in staged.items()
        if name.endswith(".ipynb")
    }
    code = _code_address(staged["_config.yml"])
    terms = glossary(staged.get("glossary.md", b"").decode())
    made = {}
    for name, chapter in chapters.items():
        add_lineage(chapter, f"{code}/{name}.md", code)
        link_terms(chapter, terms)
        made[f"{name}.ipynb"] = (nbformat.writes(chapter) + "\n").encode()
    for name, content in staged.items():
        if name.endswith(".md"):
            made[name] = _filled(content.decode(), chapters, root, profile, code, made).encode()
    return made


def _filled(
    text: str, chapters: Mapping, root: Path, profile: str, code: str, made: dict[str, bytes]
) -> str:
    """One page with its markers replaced; thumbnails are added to ``made``."""
    if "<!-- headline -->" in text:
        said = headline(root / "assets" / "results", chapters) if profile == "full" else SMOKE
        text = text.replace("<!-- headline -->", said)
    if "<!-- cards -->\n" in text:
        text, pictures = cards(text, chapters)
        made |= pictures
    for marker, write in (("<!-- checklist -->", checklist), ("<!-- matrix -->", matrix)):
        if marker in text:
            text = text.replace(marker, write(assessed(root / "chapters", chapters)))
    if "<!-- faults -->" in text:
        text = text.replace("<!-- faults -->", faults([root / "tests", root / "checks"], code))
    return STORED.sub(lambda found: _stored(root / "assets" / "results", **found.groupdict()), text)


def _code_address(config: bytes) -> str:
    repository = yaml.safe_load(config)["repository"]
    return f"{repository['url']}/blob/{repository.get('branch', 'main')}"


# --- the front page -----------------------------------------------------------------------------

SMOKE = "This is a smoke run, on drawn garments and after one epoch: it has no results to show."
MET = re.compile(r"(\d+ of \d+) published figures are met or beaten")


def headline(results: Path, chapters: Mapping) -> str:
    """The book's most telling numbers, each with its uncertainty and its chapter, as a list.

    results: the folder ``assets/results``. Raises BookError where one is not stored.
    """
    try:
        trainings = _rows(results, "seeds")
        lines = [
            *_best_models(_rows(results, "models"), _rows(results, "samples"), trainings),
            (_references_met(chapters), "figures published for such models are met or beaten", 16),
            _likelihood_gap(trainings),
            _anomalies(trainings),
            _active(_rows(results, "latent-sizes")),
        ]
    except (OSError, KeyError, ValueError) as error:
        raise BookError(
            f"{results}: lacks what the front page shows ({error}); "
            "run `make sweeps measure chapters`"
        ) from error
    names = {int(Path(name).name[:2]): name for name in chapters}
    items = [
        f"- **{number}** {text}. [Chapter\u00a0{chapter}]({names[chapter]}.ipynb)"
        for number, text, chapter in lines
    ]
    return "\n".join(["```{div} headline", *items, "```"])


def _best_models(
    models: list[dict], samples: list[dict], trainings: list[dict]
) -> list[tuple[str, str, int]]:
    best = min(models, key=lambda row: row["elbo"])["run"]
    distances: dict[str, list[float]] = {}
    for row in samples:
        if row["sampler"] in ("prior", "real"):
            distances.setdefault(row["run"], []).append(row["frechet"])
    floor = distances.pop("training images")
    nearest = min(distances, key=lambda run: statistics.fmean(distances[run]))
    return [
        (
            f"{_spread(_over(trainings, best, 'elbo'), 2)} nats",
            f"per test image is the best −ELBO, by `{best}`",
            10,
        ),
        (
            _spread(_over(trainings, nearest, "frechet"), 2),
            f"is the best Fréchet distance, by `{nearest}`; real images have {_spread(floor, 3)}",
            7,
        ),
    ]


def _references_met(chapters: Mapping) -> str:
    for text in _outputs(chapters["chapters/16_results"].cells, "text/markdown"):
        if found := MET.search(text):
            return found[1]
    raise KeyError("references met, in chapter 16")


def _likelihood_gap(trainings: list[dict]) -> tuple[str, str, int]:
    text = "of likelihood are missed by the ELBO and found by a thousand samples an image"
    return f"{_spread(_over(trainings, 'conv16', 'bound'), 2)} nats", text, 6


def _anomalies(trainings: list[dict]) -> tuple[str, str, int]:
    blind, sighted = (
        _spread(_over(trainings, "conv16-one-cycle", score), digits)
        for score, digits in (("blind", 3), ("sighted", 4))
    )
    text = (
        "is the AUROC with which the −ELBO tells digits from garments, worse than chance; above "
        f"each image's own floor it is {sighted}"
    )
    return blind, text, 14


def _active(rows: list[dict]) -> tuple[str, str, int]:
    most = max(row["latent"] for row in rows)
    used = _spread([row["active"] for row in rows if row["latent"] == most], 1)
    return f"{used} of {most}", "latent dimensions are used; training turns the others off", 10


def _rows(results: Path, table: str) -> list[dict]:
    if rows := read_rows(results / "tables" / f"{table}.csv"):
        return rows
    raise KeyError(f"tables/{table}.csv")


def _over(trainings: list[dict], run: str, score: str) -> list[float]:
    """What the trainings of a run reach in one score."""
    if found := [row[score] for row in trainings if row["run"] == run]:
        return found
    raise KeyError(f"{run}, in tables/seeds.csv")


def _spread(values: list[float], digits: int) -> str:
    """Mean ± standard deviation."""
    return f"{statistics.fmean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"


def cards(page: str, chapters: Mapping) -> tuple[str, dict[str, bytes]]:
    """The page with its table of chapters as cards, and their thumbnails.

    The table follows ``<!-- cards -->``; its rows are ``| [title](NN_name.ipynb) | question |``.
    Raises BookError for a row that names no chapter, or one without the picture that it shows.
    """
    before, after = page.split("<!-- cards -->\n", 1)
    table, *rest = after.strip("\n").split("\n\n", 1)
    made, pictures = ["`````{grid} 2 2 4 4", ":gutter: 2", ":class-container: chapters", ""], {}
    for row in table.splitlines()[2:]:
        found = CARD.match(row)
        if found is None or found["page"] not in chapters:
            raise BookError(f"index.md: the row {row!r} under <!-- cards --> names no chapter")
        name = Path(found["page"]).name
        image, alt = thumbnail(chapters[found["page"]], name)
        pictures[f"assets/thumbnails/{name}.webp"] = image
        made += [
            "````{grid-item-card}",
            f":img-top: assets/thumbnails/{name}.webp",
            f":img-alt: {json.dumps(alt, ensure_ascii=False)}",
            f":link: {found['page']}",
            ":link-type: doc",
            "",
            f"**{int(name[:2])} {found['title']}**",
            "",
            found["question"],
            "````",
        ]
    return "\n".join([before + made[0], *made[1:], "`````", "", *rest]), pictures


def thumbnail(chapter, name: str) -> tuple[bytes, str]:
    """The small picture of a chapter's card, as WebP, and its alternative text."""
    figures = {
        cell.metadata["mystnb"]["figure"]["name"]: cell
        for cell in chapter.cells
        if "figure" in cell.metadata.get("mystnb", {})
    }
    chosen = SHOWN.get(name, next(iter(figures), None))
    if chosen not in figures:
        raise BookError(f"{name}: has no figure {chosen!r} to show on its card")
    (picture, *_) = _outputs([figures[chosen]], "image/png")
    image, packed = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB"), io.BytesIO()
    ImageOps.fit(image, THUMBNAIL, Image.Resampling.LANCZOS).save(packed, "WEBP", quality=80)
    alt = figures[chosen].metadata["mystnb"]["image"]["alt"]
    return packed.getvalue(), SHORT.match(alt)[0]


def _outputs(cells: Iterable, kind: str) -> list[str]:
    """All outputs of that MIME type."""
    return [
        output.data[kind]
        for cell in cells
        for output in cell.get("outputs", [])
        if kind in output.get("data", {})
    ]


# --- what a figure is drawn from ----------------------------------------------------------------


def add_lineage(chapter, source: str, code: str) -> None:
    """Let a line under each figure and film of a chapter say how it is drawn, and from what.

    source: address of the chapter's own source. code: address of the repository's files. Raises
    BookError for a figure that no call draws, and for a cell that is no plain Python.
    """
    name = source.rsplit("/", 1)[1]
    cells = [cell for cell in chapter.cells if cell.cell_type == "code"]
    try:
        drawn = lineage.drawn(cell.source for cell in cells)
    except SyntaxError as error:
        raise BookError(
            f"{name}: {(error.text or '').strip()!r} is no plain Python ({error.msg})"
        ) from error
    calls = {cell.id: some for cell, some in zip(cells, drawn, strict=True)}
    films = {_film(call): call for some in drawn for call in some if _films(call)}

    def line(figure: str, call: Drawn | None) -> str:
        if call is None:
            raise BookError(f"{name}: no call of the chapter draws {figure}")
        return _line(call, source, code)

    made = []
    for cell in chapter.cells:
        made.append(cell)
        if cell.cell_type == "markdown":
            cell.source = FILM.sub(
                lambda found: f"{found[0]}\n\n{line(found['film'], films.get(found['film']))}",
                cell.source,
            )
        elif "figure" in cell.metadata.get("mystnb", {}):
            call = next((one for one in calls[cell.id] if not _films(one)), None)
            figure = cell.metadata["mystnb"]["figure"]["name"]
            made.append(_markdown(f"{cell.id}-lineage", line(figure, call)))
    chapter.cells = made


def _line(call: Drawn, source: str, code: str) -> str:
    module, function = call.function.split(".")
    address = f"{code}/vae_helpers/{module}.py#L{_lines_of(module)[function]}"
    kinds = [(kind, call.names(kind)) for kind in ("run", "table")]
    parts = [
        f"{kind}{'s' * (len(names) > 1)} {', '.join(f'`{one}`' for one in names)}"
        for kind, names in kinds
        if names
    ]
    origin = f"from {' and '.join(parts)}" if parts else f"as in the [chapter's source]({source})"
    return f"```{{div}} lineage\nReproduce: [`{call.function}`]({address}) {origin}\n```"


def _films(call: Drawn) -> bool:
    return call.function in lineage.FILMING


def _film(call: Drawn) -> str:
    """The file that a film is written to, without its ending."""
    from vae_helpers import runs  # imports torch: seconds

    names = call.names("run")
    if call.function == "walks.walked":
        return f"traversal_{names[0]}"
    betas = [f"vae_beta_{runs.RUNS[name].beta:.1f}_evolution" for name in names]
    return betas[0] if len(names) == 1 else "vae_beta_side_by_side"


@cache
def _lines_of(module: str) -> dict[str, int]:
    """Where each function of that module begins."""
    text = Path(__file__).with_name(f"{module}.py").read_text(encoding="utf-8")
    return {
        one.name: one.lineno for one in ast.parse(text).body if isinstance(one, ast.FunctionDef)
    }


def _markdown(id: str, text: str):
    from nbformat.v4 import new_markdown_cell

    return new_markdown_cell(text, id=id)


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


# --- the requirements ---------------------------------------------------------------------------


def assessed(folder: Path, chapters: Mapping) -> list[dict[str, str]]:
    """Every requirement of ``folder/requirements.yml`` with what its executed callout says.

    ``id``, ``text``, ``chapter``; from the callout, as HTML, ``anchor``, ``mark``, ``status`` and
    ``evidence`` (list items); ``check``, the expression that decided. Raises BookError where the
    chapter has no such callout.
    """
    listed = yaml.safe_load((folder / "requirements.yml").read_text(encoding="utf-8"))
    made = []
    for id, one in listed.items():
        name = f"chapters/{one['chapter']}"
        cells = chapters[name].cells if name in chapters else []
        found = [
            (cell, callout)
            for cell in cells
            for text in _outputs([cell], "text/html")
            if (callout := CALLOUT.match(text)) and html.unescape(callout["id"]) == id
        ]
        if len(found) != 1:
            raise BookError(
                f"requirement {id}: {len(found)} callouts in the executed {one['chapter']} instead "
                "of one; see chapters/requirements.yml"
            )
        ((cell, callout),) = found
        made.append({**callout.groupdict(), **one, "id": id, "check": _check(cell, cells)})
    return made


def _check(cell, cells: Iterable) -> str:
    """The expression of ``passed=`` in a cell's callout, its named conditions written out."""
    conditions = {
        node.targets[0].id: node.value
        for one in cells
        if one.cell_type == "code"
        for node in ast.parse(one.source).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        if isinstance(node.value, ast.Compare | ast.BoolOp)
        or (isinstance(node.value, ast.Call) and ast.unparse(node.value.func) in ("all", "any"))
    }

    class WrittenOut(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:
            return self.visit(conditions.pop(node.id)) if node.id in conditions else node

        def visit_Call(self, node: ast.Call) -> ast.expr:
            self.generic_visit(node)
            return node.args[0] if ast.unparse(node.func) == "bool" else node

    for node in ast.walk(ast.parse(cell.source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "report.requirement":
            (passed,) = (one.value for one in node.keywords if one.arg == "passed")
            return ast.unparse(WrittenOut().visit(passed))
    raise BookError(f"a callout of no call of report.requirement: {cell.source[:60]!r}")


def checklist(rows: Iterable[Mapping[str, str]]) -> str:
    """Every requirement in a line, with a link to its callout."""
    items = "".join(
        f'<li><span class="sign">{one["mark"]}</span> {_callout(one)} '
        f"{html.escape(re.split('[,;:.] |[.]$', one['text'])[0])}</li>"
        for one in rows
    )
    return f'<ul class="checklist">{items}</ul>'


def matrix(rows: Iterable[Mapping[str, str]]) -> str:
    """Every requirement with its status, chapter, evidence and check, as a table."""
    names = ("requirement", "chapter", "evidence", "check")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    body = "".join(
        f'<tr><th scope="row">{_callout(one)}<br>{one["mark"]} {one["status"]}<p>'
        f'{html.escape(one["text"])}</p></th><td><a href="chapters/{one["chapter"]}.html">'
        f"Chapter\u00a0{int(one['chapter'][:2])}</a></td><td><ul>{one['evidence']}</ul></td>"
        f"<td><code>{html.escape(one['check'])}</code></td></tr>"
        for one in rows
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    # Wider than a phone: whoever has no touch can scroll it with the keyboard.
    region = '<div class="matrix" tabindex="0" role="region" aria-label="All requirements">'
    return f"{region}{table}</div>"


def _callout(one: Mapping[str, str]) -> str:
    return f'<a href="chapters/{one["chapter"]}.html#{one["anchor"]}">{html.escape(one["id"])}</a>'


# --- numbers and tests in tables ----------------------------------------------------------------


def _stored(results: Path, made: str | None, key: str, spec: str | None) -> str:
    """A stored number with its error, unit and n; or the command and machine that it is from.

    Raises BookError where nothing is stored under that key, or it has no format.
    """
    path = results / f"{key.split('/')[0]}.json"
    entries = json.loads(path.read_text("utf-8")) if path.exists() else {}
    if key not in entries or bool(made) == bool(spec):
        raise BookError(
            f"no number {key!r} to show as {spec!r}; the benchmarks store it (python benchmarks/…)"
        )
    one = entries[key]
    if made:
        torch = one["versions"]["torch"]
        return f"*By `{one['command']}`, on {one['hardware']}, with PyTorch {torch}.*"
    error = "" if one["error"] is None else f" ± {one['error']:{spec}}"
    count = f" (n\u00a0=\u00a0{one['n']:,})" if one["n"] else ""
    return f"{one['value']:{spec}}{error}\u00a0{UNITS.get(one['unit'], one['unit'])}{count}"


def faults(folders: Iterable[Path], code: str) -> str:
    """The tests marked ``fault(what, outcome)``, as a table; code: address of the repository."""
    lines = ["| what goes wrong | what happens | shown by |", "| --- | --- | --- |"]
    for path in sorted(path for folder in folders for path in folder.glob("test_*.py")):
        for test in ast.parse(path.read_text(encoding="utf-8")).body:
            for mark in getattr(test, "decorator_list", ()):
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.fault":
                    what, outcome = (ast.literal_eval(argument) for argument in mark.args)
                    address = f"{code}/{path.parent.name}/{path.name}#L{test.lineno}"
                    name = test.name.removeprefix("test_").replace("_", " ")
                    lines.append(f"| {what} | {outcome} | [{name}]({address}) |")
    if len(lines) == 2:
        raise BookError("no test is marked fault(what, outcome), but a page has <!-- faults -->")
    return "\n".join(lines)
