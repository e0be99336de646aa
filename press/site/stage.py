"""What the site is made from, laid out in one folder as its pages' addresses will have it."""

import html
import re
from dataclasses import replace
from pathlib import Path

import yaml

from press.errors import BookError
from press.settings import Settings
from press.site import explorer, pages
from press.site.sources import listed, write

# Folders of the repository → where Sphinx has what is in them. Everything in ``extra`` comes to lie
# beside ``index.html``; what is in ``_static`` is loaded by every page.
FOLDERS = {
    "assets/static": "_static",
    "assets/explorer": "extra/explorer",
    "assets/gifs": "assets/gifs",
    "assets/pictures": "assets/pictures",
}
TEXTS = {".md", ".ipynb", ".yml", ".bib"}  # where the repository's name is substituted


def stage(settings: Settings, executed: Path) -> Path:
    """Lay the site's source out under ``_build/source/<profile>``; return that folder.

    Pages are those of ``_toc.yml``; chapters come from ``executed``. ``settings.repository``
    replaces the ``owner/name`` of ``_config.yml`` here, and nowhere else. A page named
    ``explorer`` gets its decoders. Only files that changed are written. Raises BookError when one
    is missing.
    """
    rename = _renaming(settings)
    staged = {}
    for name, path in _files(settings.root, executed).items():
        if not path.is_file():
            raise BookError(f"{path}: no such file, but _toc.yml or the site's build names it")
        content = path.read_bytes()
        staged[name] = rename(_moved(name, content)) if path.suffix in TEXTS else content
    staged["_config.yml"] = _escaped(staged["_config.yml"])
    if "explorer.md" in staged:
        own = replace(settings, profile="full", retrain=False)  # whatever was trained here
        scripts = explorer.scripts(own)
        staged |= {f"extra/explorer/{name}": content for name, content in scripts.items()}
    staged |= pages.finished(staged, settings)

    folder = settings.build / "source" / settings.profile
    for name, content in staged.items():
        write(folder / name, content)
    for path in folder.rglob("*"):
        if path.is_file() and path.relative_to(folder).as_posix() not in staged:
            path.unlink()
    return folder


def _files(root: Path, executed: Path) -> dict[str, Path]:
    """Where each file of the source comes from."""
    files = {name: root / name for name in ("_config.yml", "_toc.yml")}
    files["references.bib"] = root / "pages" / "references.bib"
    for page in listed(root):
        if page.startswith("chapters/"):
            files[f"{page}.ipynb"] = executed / f"{Path(page).name}.ipynb"
        else:
            files[f"{page.removeprefix('pages/')}.md"] = root / f"{page}.md"
    for path in (root / "pages").glob("*.html"):  # addresses of pages that were renamed
        files[f"extra/{path.name}"] = path
    for folder, place in FOLDERS.items():
        for path in (root / folder).rglob("*.*"):
            files[f"{place}/{path.relative_to(root / folder).as_posix()}"] = path
    return files


def _moved(name: str, content: bytes) -> bytes:
    """Let the relative links of a page hold where it lies now: pages move up, out of ``pages``."""
    text = content.decode()
    if name == "_toc.yml":
        text = text.replace(": pages/", ": ")
    elif name.endswith(".ipynb"):
        text = text.replace("../pages/", "../")
    elif name.endswith(".md"):
        text = re.sub(r"\.\./(?=chapters/|assets/)", "", text)
    return text.encode()


def _escaped(config: bytes) -> bytes:
    # The theme puts the author's name into its pages as HTML, where MathJax looks for $$ and \(.
    made = yaml.safe_load(config)
    author = html.escape(str(made["author"]), quote=False)
    made["author"] = f'<span class="mathjax_ignore">{author}</span>'
    return yaml.safe_dump(made, allow_unicode=True, sort_keys=False).encode()


def _renaming(settings: Settings):
    config = yaml.safe_load((settings.root / "_config.yml").read_text(encoding="utf-8"))
    written = config["repository"]["url"].removeprefix("https://github.com/")
    actual = settings.repository or written
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", actual):
        raise BookError(f"GITHUB_REPOSITORY is {actual!r}; give owner/name, or unset it")
    return lambda content: content.replace(written.encode(), actual.encode())
