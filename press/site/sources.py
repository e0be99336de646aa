"""The book's sources: the pages that its table of contents names, and chapters as notebooks.

A chapter is written as ``chapters/NN_name.md`` (MyST Markdown, so that a change reads as text);
``chapters/NN_name.ipynb`` is its executed twin, with the outputs that tests compare.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import jupytext
import nbformat
import yaml

from press.errors import BookError
from vae_helpers.files import write_atomically

# No versions here: the same source must give the same notebook on every machine.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "file_extension": ".py", "pygments_lexer": "ipython3"},
}


def listed(root: Path) -> list[str]:
    """Every page that ``_toc.yml`` names, in order: ``pages/index``, ``chapters/01_data``, …"""

    def walk(entry) -> Iterator[str]:
        if isinstance(entry, dict):
            yield from (entry[key] for key in ("root", "file") if key in entry)
            entry = list(entry.values())
        if isinstance(entry, list):
            for one in entry:
                yield from walk(one)

    return list(walk(yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))))


def chapters(root: Path) -> list[Path]:
    """The chapters' sources in reading order.

    Raises BookError when the folder and ``_toc.yml`` do not name the same chapters.
    """
    found = sorted((root / "chapters").glob("[0-9]*.md"))
    named = {page for page in listed(root) if page.startswith("chapters/")}
    if unmatched := named ^ {f"chapters/{source.stem}" for source in found}:
        raise BookError(f"in chapters/ or in _toc.yml, but not in both: {sorted(unmatched)}")
    if not found:
        raise BookError(f"{root / '_toc.yml'}: lists no chapter (chapters/NN_name)")
    return found


def notebook(source: Path):
    """The notebook of one Markdown source, without outputs; the same bytes give the same cells."""
    made = jupytext.reads(source.read_text(encoding="utf-8"), fmt="md:myst")
    made.metadata = METADATA
    made.nbformat, made.nbformat_minor = 4, 5
    # Each cell's id is a hash of its source, so editing one leaves the others' alone.
    seen = Counter()
    for cell in made.cells:
        digest = hashlib.sha1(cell.source.encode(), usedforsecurity=False).hexdigest()[:8]
        seen[digest] += 1
        cell["id"] = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
    return made


def write(path: Path, content: bytes) -> None:
    """Write a whole file or none, and only where something changes."""
    if not (path.is_file() and path.read_bytes() == content):
        write_atomically(path, content)


def outputs(cells: Iterable, kind: str) -> list:
    """All outputs of that MIME type, in order."""
    return [
        output.data[kind]
        for cell in cells
        for output in cell.get("outputs", [])
        if kind in output.get("data", {})
    ]


def text_of(made) -> bytes:
    """A notebook as its file holds it."""
    return f"{nbformat.writes(made)}\n".encode()


def outdated(root: Path) -> list[str]:
    """The chapters whose stored notebook has other cells than its source, or does not exist."""

    def cells(made):
        return [(cell.cell_type, cell.source, cell.metadata) for cell in made.cells]

    def differs(source: Path) -> bool:
        stored = source.with_suffix(".ipynb")
        return not stored.is_file() or cells(nbformat.read(stored, 4)) != cells(notebook(source))

    return [source.stem for source in chapters(root) if differs(source)]
