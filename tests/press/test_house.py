"""The house and its two wings: what imports what, how much there is, and the drawing of it.

``python tests/press/test_house.py`` draws it again.
"""

import ast
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DRAWING = ROOT / "assets" / "pictures" / "modules.svg"
# They may be lowered, and not be raised.
MOST_LINES = {"vae_helpers": 3_000, "press": 4_000}
MOST_ENTRIES = 20  # of the root, as one sees it
# Drawn as one box each, but for what the runs take from one.
PACKAGES = ("press.experiments", "press.site", "press.stored")
PACKAGES += ("vae_helpers.figures", "vae_helpers.metrics")
ALONE = ("press.semi_supervised",)


def files(wing: str) -> list[Path]:
    return sorted((ROOT / wing).rglob("*.py"))


@cache
def modules() -> dict[str, Path]:
    """The modules of both wings by name, but for the two packages themselves."""
    named = {}
    for path in [*files("vae_helpers"), *files("press")]:
        parts = path.relative_to(ROOT).with_suffix("").parts
        named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return {name: path for name, path in named.items() if "." in name}


def statements(path: Path) -> Iterator[ast.stmt]:
    """The imports of a file, wherever they stand, but for those of type checkers alone."""
    todo: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            todo += ast.iter_child_nodes(node)


def imported(name: str) -> set[str]:
    """The modules that one imports."""
    found = set()
    for node in statements(modules()[name]):
        names = [one.name for one in node.names]
        full = [f"{node.module}.{one}" for one in names] if hasattr(node, "module") else names
        found |= {one if one in modules() else getattr(node, "module", one) for one in full}
    return found & modules().keys() - {name}


def box(name: str) -> str:
    return next((one for one in PACKAGES if name.startswith(one) and name not in ALONE), name)


@cache
def boxes() -> dict[str, set[str]]:
    """What is drawn, and what each part of it imports of the others."""
    made: dict[str, set[str]] = {}
    for name in modules():
        made.setdefault(box(name), set()).update(map(box, imported(name)))
    return {name: others - {name} for name, others in made.items()}


def test_the_library_knows_nothing_of_the_press():
    for path in files("vae_helpers"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                named = [getattr(node, "module", None), *(one.name for one in node.names)]
                assert not any((one or "").split(".")[0] == "press" for one in named), path


def test_nor_do_its_tests():
    for path in files("tests/vae_helpers"):
        for node in statements(path):
            named = [getattr(node, "module", None), *(one.name for one in node.names)]
            assert not any((one or "").split(".")[0] == "press" for one in named), path


def test_no_module_imports_what_imports_it():
    list(TopologicalSorter({name: imported(name) for name in modules()}).static_order())
    list(TopologicalSorter(boxes()).static_order())  # nor any part of the drawing


@pytest.mark.parametrize("wing", MOST_LINES)
def test_a_wing_stays_small(wing):
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files(wing))
    assert lines <= MOST_LINES[wing]


def test_a_study_stays_small():
    for path in (ROOT / "press" / "experiments").glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 150, path.name


@pytest.mark.skipif(shutil.which("git") is None or not (ROOT / ".git").exists(), reason="no git")
def test_the_root_holds_little():
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
    )
    there = {name.split("/")[0] for name in listed.stdout.splitlines() if (ROOT / name).exists()}
    seen = sorted(name for name in there if not name.startswith("."))
    assert len(seen) <= MOST_ENTRIES, seen


def test_the_drawing_shows_what_is_imported():
    assert DRAWING.read_text(encoding="utf-8") == drawn(), f"run `python {Path(__file__).name}`"


# --- the drawing --------------------------------------------------------------------------------

ROW, GAP, HEIGHT, LETTER = 40, 10, 28, 7.9  # pixels
WINGS = {  # title, width, colours of paper and lines
    "press": ("press: what makes this book", 440, "#fff4dd", "#975a16"),
    "vae_helpers": ("vae_helpers: the library", 320, "#e3f0fb", "#2b6cb0"),
}


def rows(wing: str) -> list[list[str]]:
    """The parts of a wing by what they stand on: each imports of those below alone."""

    @cache
    def level(name: str) -> int:
        below = [level(one) for one in boxes()[name] if one.startswith(f"{wing}.")]
        return max(below, default=-1) + 1

    found: dict[int, list[str]] = {}
    for name in sorted(one for one in boxes() if one.startswith(f"{wing}.")):
        found.setdefault(level(name), []).append(name.split(".")[-1])
    return [found[number] for number in sorted(found, reverse=True)]


def drawn() -> str:
    """The drawing of both wings side by side, as SVG."""
    tallest = max(len(rows(wing)) for wing in WINGS)
    height, made, left = 44 + ROW * tallest, [], GAP
    for wing, (title, width, paper, line) in WINGS.items():
        made += [
            f'<rect x="{left}" y="{GAP}" width="{width}" height="{height}" rx="8" fill="{paper}" '
            f'stroke="{line}"/>',
            f'<text x="{left + 12}" y="{GAP + 22}" font-weight="bold" fill="{line}">{title}</text>',
        ]
        for number, names in enumerate(reversed(rows(wing))):
            widths = [LETTER * len(name) + 20 for name in names]
            x = left + (width - sum(widths) - GAP * (len(names) - 1)) / 2
            y = GAP + height - ROW * (number + 1)
            for name, wide in zip(names, widths, strict=True):
                made += [
                    f'<rect x="{x:.1f}" y="{y}" width="{wide:.1f}" height="{HEIGHT}" rx="5" '
                    f'fill="#fff" stroke="{line}"/>',
                    f'<text x="{x + wide / 2:.1f}" y="{y + 19}" text-anchor="middle">{name}</text>',
                ]
                x += wide + GAP
        left += width + 3 * GAP
    whole, middle = left - 2 * GAP, GAP + height / 2
    arrow = WINGS["press"][1] + GAP
    made += [
        f'<path d="M{arrow} {middle} h20 m-7 -6 l9 6 l-9 6" fill="none" stroke="#444" '
        'stroke-width="2"/>'
    ]
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {height + 2 * GAP}" '
        'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="13" role="img">',
        "<title>The modules of the press and, beside them, of the library, which the press imports;"
        " in each wing a module imports only what stands below it</title>",
        f'<rect width="{whole}" height="{height + 2 * GAP}" fill="#fff"/>',
    ]
    return "\n".join([*head, *made, "</svg>\n"])


if __name__ == "__main__":
    DRAWING.write_text(drawn(), encoding="utf-8")
