"""From the laid out source to the site, strictly: by Sphinx, mended, and on one page as well."""

import hashlib
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from press.errors import BookError
from press.settings import ROOT, Settings
from press.site import api, markup, one_page
from press.site.execute import plain
from press.site.sources import listed, write
from vae_helpers.files import locked

TOOLS = ("jupyter-book", "Sphinx", "myst-nb", "sphinx-book-theme")


def render(staged: Path, settings: Settings) -> Path:
    """Build the site from a staged folder, strictly, and return its front page.

    Does nothing when the same content was built well before, and waits while another process
    builds it. Raises BookError with Sphinx's warnings when there is one; the last good site then
    stays in place.
    """
    with locked(staged.with_name(f"{settings.profile}.lock")):
        site = settings.build / ("smoke/html" if settings.smoke else "html")
        stamp, digest = staged.with_name(f"{settings.profile}.built"), _digest(staged)
        front = site / "index.html"
        if not (front.is_file() and stamp.is_file() and stamp.read_text() == digest):
            made = _built(staged, settings.build / "site" / settings.profile)
            shutil.rmtree(site, ignore_errors=True)
            site.parent.mkdir(parents=True, exist_ok=True)
            os.replace(made, site)
            write(stamp, digest.encode())
        return front


def _digest(staged: Path) -> str:
    sha = hashlib.sha256()
    for path in sorted(path for path in staged.rglob("*") if path.is_file()):
        sha.update(path.relative_to(staged).as_posix().encode() + path.read_bytes())
    sha.update(repr([version(tool) for tool in TOOLS]).encode())
    described = sorted((ROOT / "vae_helpers").rglob("*.py"))  # by the page of its functions
    for path in [*described, *(Path(module.__file__) for module in (api, markup, one_page))]:
        sha.update(path.read_bytes())
    return sha.hexdigest()


def _built(staged: Path, scratch: Path) -> Path:
    """The folder of a new site."""
    # Always from nothing: Sphinx does not repeat the warnings of pages it has read before.
    shutil.rmtree(scratch, ignore_errors=True)
    print("Rendering the site …", flush=True)
    script = "from jupyter_book.cli.main import main; main()"
    options = ["--path-output", str(scratch), "-n", "-W", "--keep-going", "-q"]
    built = subprocess.run(
        [sys.executable, "-c", script, "build", str(staged), *options],
        env={**os.environ, "PYTHONPATH": str(ROOT)},  # the package that its own page describes
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if built.returncode:
        raise BookError(f"the site's build failed:\n{plain(built.stdout)}")
    made = scratch / "_build" / "html"
    for page in made.rglob("*.html"):
        write(page, markup.mended(page.read_text(encoding="utf-8")).encode())
    read = [page for page in listed(staged) if page != "api"]  # which is looked up, not read
    write(made / one_page.WHOLE, one_page.merged(made, read))
    return made
