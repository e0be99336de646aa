"""From executed chapters to the site: laid out, built strictly by Sphinx, and mended."""

import html
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import yaml

from press.errors import BookError
from press.images import FILES, obtain
from press.settings import REPOSITORY, ROOT, Settings
from press.site import chapters, explorer, markup, pages
from vae_helpers.errors import DataError
from vae_helpers.files import locked, write_atomically

# Folders of the repository → where Sphinx has what is in them. Everything in ``extra`` comes to lie
# beside ``index.html``; what is in ``_static`` is loaded by every page.
FOLDERS = {
    "assets/static": "_static",
    "assets/explorer": "extra/explorer",
    "assets/gifs": "assets/gifs",
    "assets/pictures": "assets/pictures",
}
BUILT_BY = ("constraints.txt", "press/site/*.py", "vae_helpers/**/*.py")  # besides what is staged


def make_site(settings: Settings) -> Path:
    """Execute what changed, render the site and return its front page.

    Where no dataset can be had, the full profile renders the outputs stored in ``chapters/``.
    Raises BookError when a chapter raises or the site's build warns.
    """
    settings, sources = replace(settings, record=False), chapters.sources(settings.root)
    executed = settings.build / "executed" / settings.profile
    stale = [one for one in sources if not chapters.fresh(one, executed, settings)]
    try:
        for name in FILES if stale and not settings.smoke else ():
            obtain(name, settings)
        chapters.execute(stale, executed, settings)
    except DataError as error:
        print(f"{error}\nThe site is rendered from the outputs stored in chapters/.")
        executed = settings.root / "chapters"
    return render(executed, settings)


def render(executed: Path, settings: Settings) -> Path:
    """Build the site from the chapters executed into a folder, and return its front page.

    Does nothing when the same content was built well before, and waits while another process
    builds it. Raises BookError with Sphinx's warnings when there is one; the last good site then
    stays in place.
    """
    staged = stage(executed, settings)
    digest = chapters.digest_of(ROOT, BUILT_BY, sorted(staged.items()))
    scratch = settings.build / "site" / settings.profile
    site = settings.build / ("smoke/html" if settings.smoke else "html")
    front, stamp = site / "index.html", scratch / "digest"
    with locked(scratch.with_suffix(".lock")):
        if not (front.is_file() and stamp.is_file() and stamp.read_text() == digest):
            # Always from nothing: Sphinx does not repeat the warnings of pages it has read before.
            shutil.rmtree(scratch, ignore_errors=True)
            for name, content in staged.items():
                write_atomically(scratch / "source" / name, content)
            made = _built(scratch, settings)
            shutil.rmtree(site, ignore_errors=True)
            site.parent.mkdir(parents=True, exist_ok=True)
            os.replace(made, site)
            write_atomically(stamp, digest.encode())
    return front


def _built(scratch: Path, settings: Settings) -> Path:
    """The folder of a new site, made from ``scratch/source``."""
    print("Rendering the site …", flush=True)
    script = "from jupyter_book.cli.main import main; main()"
    options = ["--path-output", str(scratch), "-n", "-W", "--keep-going", "-q"]
    built = subprocess.run(
        [sys.executable, "-c", script, "build", str(scratch / "source"), *options],
        env=os.environ | settings.environment(),  # the package that its own page describes
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if built.returncode:
        raise BookError(f"the site's build failed:\n{chapters.plain(built.stdout)}")
    made = scratch / "_build" / "html"
    for page in made.rglob("*.html"):
        write_atomically(page, markup.mended(page.read_text(encoding="utf-8")).encode())
    # All of it on one page, but for the library's, which is looked up.
    read = [page for page in chapters.listed(scratch / "source") if page != "api"]
    write_atomically(made / markup.WHOLE, markup.merged(made, read))
    return made


def stage(executed: Path, settings: Settings) -> dict[str, bytes]:
    """The files that Sphinx reads, laid out as the site's addresses are: path → content.

    Pages are those of ``_toc.yml``. ``settings.repository`` replaces the ``owner/name`` of
    ``_config.yml`` here, and nowhere else. A page named ``explorer`` gets its decoders. Raises
    BookError when a file is missing.
    """
    config = yaml.safe_load((settings.root / "_config.yml").read_text(encoding="utf-8"))
    written = config["repository"]["url"].removeprefix("https://github.com/")
    actual = settings.repository or written
    if not re.fullmatch(REPOSITORY, actual):
        raise BookError(f"GITHUB_REPOSITORY is {actual!r}; give owner/name, or unset it")
    staged = {}
    for name, path in _files(settings.root, executed).items():
        if not path.is_file():
            raise BookError(f"{path}: no such file, but _toc.yml or the site's build names it")
        staged[name] = path.read_bytes()
        if path.suffix in (".md", ".ipynb", ".yml", ".bib"):
            # Links hold where a page lies now: those of ``pages`` move up.
            text = staged[name].decode().replace(written, actual).replace("../pages/", "../")
            text = re.sub(r"\.\./(?=chapters/|assets/)", "", text) if path.suffix == ".md" else text
            staged[name] = text.encode()
    staged["_toc.yml"] = staged["_toc.yml"].replace(b": pages/", b": ")
    # The theme puts the author's name into its pages as HTML, where MathJax looks for $$ and \(.
    author = html.escape(str(config["author"]), quote=False)
    config["author"] = f'<span class="mathjax_ignore">{author}</span>'
    config["repository"]["url"] = url = f"https://github.com/{actual}"
    staged["_config.yml"] = yaml.safe_dump(config, allow_unicode=True, sort_keys=False).encode()
    if "explorer.md" in staged:  # gets the book's own decoders, whatever was trained here
        scripts = explorer.scripts(replace(settings, profile="full", retrain=False))
        staged |= {f"extra/explorer/{name}": content for name, content in scripts.items()}
    code = f"{url}/blob/{config['repository'].get('branch', 'main')}"
    return staged | pages.finished(staged, settings, code)


def _files(root: Path, executed: Path) -> dict[str, Path]:
    """Where each file of the source comes from."""
    files = {"_toc.yml": root / "_toc.yml", "references.bib": root / "pages" / "references.bib"}
    for page in chapters.listed(root):
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
