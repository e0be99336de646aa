"""The names of author and repository, put into every file of the book that has them."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path

import nbformat
import yaml

from vae_helpers.book import BookError, identify
from vae_helpers.files import with_scalar, write_atomically
from vae_helpers.report import bibtex
from vae_helpers.settings import ROOT

GITHUB = "https://github.com/"
TEXTS = ("*.md", "*.cff", "pyproject.toml", "chapters/*.md", "chapters/*.yml")
NOT_PRINTED = {"Cc", "Cs", "Zl", "Zp"}  # control characters, broken bytes, line breaks


def personalise(author: str | None = None, repo: str | None = None, root: Path = ROOT) -> list[str]:
    """Change the book's author, its repository (``user/name``) or both; return the files changed.

    Stored outputs that cite the book change with it; figures keep their old signature until the
    chapters are executed. Raises BookError, before anything is written, for an unusable name.
    """
    _check(author, repo)
    old = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    url = GITHUB + repo if repo else old["repository"]["url"]
    new = old | {
        "author": author.strip() if author else old["author"],
        "repository": old["repository"] | {"url": url},
    }
    made = dict(_contents(root, old, new))  # all of it, before any is written
    changed = [path for path, content in made.items() if path.read_bytes() != content]
    for path in changed:
        write_atomically(path, made[path])
    return sorted(path.relative_to(root).as_posix() for path in changed)


def _check(author: str | None, repo: str | None) -> None:
    if author is None and repo is None:
        raise BookError('nothing to change: give AUTHOR="Your Name", REPO=user/name, or both')
    if author is not None and not author.strip():
        raise BookError("AUTHOR is empty; give the name that signs the figures, or leave it out")
    if any(unicodedata.category(letter) in NOT_PRINTED for letter in author or ""):
        raise BookError(f"AUTHOR is {author!r}; give one line without control characters")
    form = r"[a-z0-9][\w-]*/(?!\.\.?$)[\w.-]+(?<!\.git)"
    if repo is not None and not re.fullmatch(form, repo, re.ASCII | re.IGNORECASE):
        raise BookError(f"REPO is {repo!r}; give user/name, as it stands in {GITHUB}user/name")


def _contents(root: Path, old: Mapping, new: Mapping) -> Iterator[tuple[Path, bytes]]:
    """Each file that may have the names, and its new content."""
    names = [one["repository"]["url"].removeprefix(GITHUB) for one in (old, new)]
    # What chapter 16 printed, once its links are renamed.
    cited = bibtex(old | {"repository": new["repository"]}), bibtex(new)
    for path in (root / "chapters").glob("*.ipynb"):
        made = nbformat.reads(renamed(path.read_text(encoding="utf-8"), *names), 4)
        for cell in made.cells:
            for output in cell.get("outputs", []):
                for kind in {"text/markdown", "text/plain"} & output.get("data", {}).keys():
                    output.data[kind] = output.data[kind].replace(*cited)
        identify(made.cells)
        yield path, f"{nbformat.writes(made)}\n".encode()
    for path in (path for pattern in TEXTS for path in root.glob(pattern)):
        text = renamed(path.read_text(encoding="utf-8"), *names)
        if path.name == "CITATION.cff":
            text = with_scalar(text, ["authors", 0, "name"], new["author"])
        yield path, text.encode()
    path = root / "_config.yml"
    text = with_scalar(path.read_text(encoding="utf-8"), ["author"], new["author"])
    yield path, with_scalar(text, ["repository", "url"], new["repository"]["url"]).encode()


def renamed(text: str, old: str, new: str) -> str:
    """``text`` with links to the repository ``old`` (``user/name``) or its pages led to ``new``."""
    link = rf"\b(github(?:usercontent)?(?:\.com)?/){re.escape(old)}(?![\w-]|\.(?!git\b)\w)"
    text = re.sub(link, lambda found: found[1] + new, text)
    site = "{}.github.io/{}"
    page = re.escape(site.format(*old.split("/")))
    return re.sub(rf"\b{page}(?![\w-])", lambda _: site.format(*new.split("/")), text)
