"""The names of author and repository, put into every file of the book that has them."""

import io
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from press.errors import BookError
from press.report import bibtex
from vae_helpers.files import write_atomically

GITHUB = "https://github.com/"
TEXTS = ("*.md", "*.cff", "pyproject.toml", "pages/*.md", "chapters/*.*")
NOT_PRINTED = {"Cc", "Cs", "Zl", "Zp"}  # control characters, broken bytes, line breaks


def personalise(author: str | None, repo: str | None, root: Path) -> list[str]:
    """Change the book's author, its repository (``user/name``) or both; return the files changed.

    None leaves a name as it is. Stored outputs that cite the book change with it; figures keep
    their old signature until the chapters are executed. Raises BookError, before anything is
    written, for an unusable name.
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
    # What chapter 16 printed, as its notebook has each line, once the links are renamed.
    before, after = (_lines(one | {"repository": new["repository"]}) for one in (old, new))
    cited = [pair for pair in zip(before, after, strict=True) if len(set(pair)) > 1]
    for path in (path for pattern in TEXTS for path in root.glob(pattern)):
        text = renamed(path.read_text(encoding="utf-8"), *names)
        if path.suffix == ".ipynb":
            for pair in cited:
                text = text.replace(*pair)
        if path.name == "CITATION.cff":
            text = with_values(text, {("authors", 0, "name"): new["author"]})
        yield path, text.encode()
    config = root / "_config.yml"
    values = {("author",): new["author"], ("repository", "url"): new["repository"]["url"]}
    yield config, with_values(config.read_text(encoding="utf-8"), values).encode()


def _lines(config: Mapping) -> list[str]:
    return [json.dumps(one, ensure_ascii=False)[1:-1] for one in bibtex(config).splitlines()]


def renamed(text: str, old: str, new: str) -> str:
    """``text`` with links to the repository ``old`` (``user/name``) or its pages led to ``new``."""
    link = rf"\b(github(?:usercontent)?(?:\.com)?/){re.escape(old)}(?![\w-]|\.(?!git\b)\w)"
    text = re.sub(link, lambda found: found[1] + new, text)
    site = "{}.github.io/{}"
    page = re.escape(site.format(*old.split("/")))
    return re.sub(rf"\b{page}(?![\w-])", lambda _: site.format(*new.split("/")), text)


def with_values(text: str, values: Mapping[tuple, str]) -> str:
    """YAML ``text`` with other values at these places, and its comments as they were.

    values: ``("authors", 0, "name")`` → what stands there from now on.
    """
    edit, made = YAML(), io.StringIO()
    edit.preserve_quotes, edit.width = True, 10**6  # no line is broken anew
    edit.indent(mapping=2, sequence=4, offset=2)
    content = edit.load(text)
    changes = False
    for (*way, last), value in values.items():
        place = content
        for key in way:
            place = place[key]
        if place[last] != value:
            place[last], changes = DoubleQuotedScalarString(value), True
    edit.dump(content, made)
    return made.getvalue() if changes else text
