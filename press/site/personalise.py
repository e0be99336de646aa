"""The names of author and repository, put into every file of the book that has them."""

import json
import re
from pathlib import Path

import yaml

from press.errors import BookError
from vae_helpers.files import write_atomically

GITHUB = "https://github.com/"
TEXTS = ("*.md", "*.cff", "_config.yml", "pyproject.toml", "pages/*.md", "chapters/*.*")
# Where the author stands, on a line of its own.
SIGNED = {"_config.yml": r"(?m)^(author:) [^\r\n]*", "CITATION.cff": r"(?m)^(  - name:) [^\r\n]*"}
# One line, without control characters and broken bytes, that is not blank.
AUTHOR = r"(?=.*\S)[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+"
REPOSITORY = r"(?ai)[a-z0-9][\w-]*/(?!\.\.?$)[\w.-]+(?<!\.git)"


def personalise(author: str | None, repo: str | None, root: Path) -> list[str]:
    """Change the book's author, its repository (``user/name``) or both; return the files changed.

    None leaves a name as it is. Figures keep their old signature until the chapters are executed.
    Raises BookError, before anything is written, for an unusable name.
    """
    if author is None and repo is None:
        raise BookError('nothing to change: give AUTHOR="Your Name", REPO=user/name, or both')
    if author is not None and not re.fullmatch(AUTHOR, author):
        raise BookError(f"AUTHOR is {author!r}; give the name that signs the figures, in one line")
    if repo is not None and not re.fullmatch(REPOSITORY, repo):
        raise BookError(f"REPO is {repo!r}; give user/name, as it stands in {GITHUB}user/name")
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    named = config["repository"]["url"].removeprefix(GITHUB)
    changed = []
    for path in (path for pattern in TEXTS for path in root.glob(pattern)):
        before = path.read_bytes().decode()  # line ends stay as they are
        text = renamed(before, named, repo or named)
        if author and path.name in SIGNED:
            quoted = json.dumps(author.strip(), ensure_ascii=False)  # which YAML reads, too
            text = re.sub(SIGNED[path.name], lambda line, name=quoted: f"{line[1]} {name}", text)
        if text != before:
            write_atomically(path, text.encode())
            changed.append(path.relative_to(root).as_posix())
    return sorted(changed)


def renamed(text: str, old: str, new: str) -> str:
    """``text`` with links to the repository ``old`` (``user/name``) led to ``new``."""
    link = rf"\b(github(?:\.com)?/){re.escape(old)}(?![\w-]|\.(?!git\b)\w)"
    return re.sub(link, lambda found: found[1] + new, text)
