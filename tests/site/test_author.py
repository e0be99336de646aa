"""Whatever the author is called, every page shows that name and nothing else."""

import html
import shutil
from pathlib import Path

import pytest
import yaml

from press.settings import ROOT, read
from press.site.render import render

AUTHOR = r"""<b>Zoë</b> & "A$AP" $x$ $$y$$ \(z\) O'Brien \alpha {李} 🎩 # % --- ..."""


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """A book of one page by that author, with the book's own configuration."""
    root = tmp_path_factory.mktemp("book")
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    config["author"] = AUTHOR
    (root / "_config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (root / "_toc.yml").write_text("format: jb-book\nroot: pages/index\n")
    (root / "pages").mkdir()
    (root / "pages" / "references.bib").write_text("")
    (root / "pages" / "index.md").write_text("# A page\n\nSome math: $E = mc^2$.\n")
    for folder in ("static", "explorer"):
        shutil.copytree(ROOT / "assets" / folder, root / "assets" / folder)
    settings = read({}, root)
    return render(root, settings)


def test_nothing_of_the_name_is_read_as_html(page):
    text = page.read_text(encoding="utf-8")
    assert html.escape(AUTHOR, quote=False) in text
    assert "<b>Zo" not in text


def test_a_reader_sees_the_name_as_it_is_written(page, browser):
    tab = browser.new_page()
    tab.goto(page.as_uri())
    tab.wait_for_selector("mjx-container")  # the page's own math is set
    assert tab.inner_text(".component-author").strip() == f"By {AUTHOR}"
    assert tab.locator("mjx-container").count() == 1
