"""The chapters' code under ruff, like everything else, but for lines of 79 characters."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat

from press.errors import BookError
from press.site.sources import chapters, notebook, text_of, write

WIDTH = 79  # what fits beside a page's margins
CELL = re.compile(
    r"^```\{code-cell\} ipython3\n(?:---\n.*?\n---\n|(?::[^\n]*\n)+\n?)?(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
# A cell imports what it is the first to need, and its assertions are no tests.
IGNORED = "E402,PT018"
PLACE = re.compile(r"^.*?(?P<chapter>\w+)\.ipynb:cell (?P<cell>\d+):(?P<line>\d+):", re.MULTILINE)


def lint(root: Path, fix: bool = False) -> list[str]:
    """What ruff says of the chapters' cells, by chapter and line; with ``fix``, after mending."""
    sources = {source.stem: source for source in chapters(root)}
    with tempfile.TemporaryDirectory() as folder:
        twins = {name: Path(folder, f"{name}.ipynb") for name in sources}
        for name, source in sources.items():
            write(twins[name], text_of(notebook(source)))
        if fix:
            _ruff(root, "check", "--fix", f"--ignore={IGNORED}", folder)
            _ruff(root, "format", folder)
            for name, source in sources.items():
                _put_back(source, twins[name])
            return lint(root)
        brief = ("--quiet", "--output-format=concise")
        said = _ruff(root, "check", *brief, f"--ignore={IGNORED}", folder)
        said += _ruff(root, "format", "--check", *brief, folder)

    def placed(one: re.Match) -> str:
        source = sources[one["chapter"]]
        line = _line_above(source, int(one["cell"])) + int(one["line"])
        return f"chapters/{source.name}:{line}:"

    return PLACE.sub(placed, said).splitlines()


def _line_above(source: Path, number: int) -> int:
    """The line of the source above the code of its notebook's cell of that number, from 1."""
    before = [cell for cell in notebook(source).cells[: number - 1] if cell.cell_type == "code"]
    text = source.read_text(encoding="utf-8")
    return text.count("\n", 0, list(CELL.finditer(text))[len(before)].start("code"))


def _put_back(source: Path, twin: Path) -> None:
    code = (cell.source for cell in nbformat.read(twin, 4).cells if cell.cell_type == "code")

    def mended(cell: re.Match) -> str:
        return f"{cell[0].removesuffix(cell['code'] + '```')}{next(code)}\n```"

    write(source, CELL.sub(mended, source.read_text(encoding="utf-8")).encode())


def _ruff(root: Path, command: str, *arguments: str) -> str:
    config = ("--config=pyproject.toml", f"--config=line-length={WIDTH}")
    asked = [sys.executable, "-m", "ruff", command, "--no-cache", *config, *arguments]
    done = subprocess.run(asked, cwd=root, capture_output=True, text=True)
    # The formatter stops at code that cannot be parsed; the check before it has said where.
    if done.returncode > 1 and command == "check":
        raise BookError(f"ruff {command} failed: {done.stderr}")
    return done.stdout
