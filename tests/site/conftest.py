"""The site's pages in a real browser.

``make check`` runs them. The site they look at is rendered from the outputs stored in
``chapters/``, which ``make test`` compares with a new execution.
"""

import functools
import http.server
import os
import shutil
import threading
from pathlib import Path

import pytest

from press.settings import ROOT, read
from press.site.render import render


@pytest.fixture(scope="session")
def site() -> Path:
    """The folder of the rendered site."""
    settings = read({})
    return render(ROOT / "chapters", settings).parent


@pytest.fixture(scope="session")
def address(site):
    """The site's address on a server of this machine, under a sub-path as on GitHub Pages."""
    handler = functools.partial(_Quiet, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}{SUB_PATH}"
        server.shutdown()


SUB_PATH = "/fashion-mnist-vae"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def translate_path(self, path):
        inside = path.startswith(f"{SUB_PATH}/")
        return super().translate_path(path.removeprefix(SUB_PATH) if inside else "/outside")

    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def browser():
    """Chromium, driven by Playwright; $CHROMIUM names another one than that on the path.

    Where there is none, its tests are skipped, or fail with CHECKS_NEED_BROWSER=1, as CI has it.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    program = (
        os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    )
    if program is None:
        without = pytest.fail if os.environ.get("CHECKS_NEED_BROWSER") == "1" else pytest.skip
        without(
            "no Chromium on this machine: install the package chromium, or name it in $CHROMIUM"
        )
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=program, args=FLAGS)
        yield chromium
        chromium.close()


# Root (a container, CI) may not use Chromium's sandbox; the rest keeps it off the network.
FLAGS = [
    *(["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
