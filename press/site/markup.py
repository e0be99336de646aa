"""The built pages, mended: films wait, screen readers find names; and one page of them all."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urldefrag, urljoin

from bs4 import BeautifulSoup

MENDED = (
    # Sphinx's last frame of a film stands before the figure of the film itself. With scripts the
    # film is words until book.js makes an image of it, so nothing is loaded.
    (
        r'(<img alt="[^"]*" class="still" src="[^"]*" />)\s*(<figure [^>]*>)\s*'
        r'(<img alt="[^"]*" class="film" src="[^"]*" />)',
        r"\2\n\1\n<noscript>\3</noscript>",
    ),
    # A role that the elements around it do not allow.
    (r'(<div class="citation" id="[^"]*") role="doc-biblioentry"', r'\1 role="listitem"'),
    # Labels other than the words that are seen: who speaks to the page says what is seen.
    (r'(<button class="[^"]*search-button-field[^"]*" title="[^"]*") aria-label="[^"]*"', r"\1"),
    (r'(<i class="theme-switch [^>]*data-mode="\w+")\s+title="[^"]*"', r"\1"),
    (r'<summary aria-label="Toggle hidden content">', "<summary>"),
)
# A parameter a line, as definitions of nothing.
PARAMETERS = re.compile(r'<dl>\s*(?P<lines>(?:<dd><em class="sig-param">.*?</dd>\s*)+)</dl>')
WHOLE = "whole-book.html"
FIRST_ALONE = (  # what the theme puts around the first page's text for that page alone
    ".bd-sidebar-secondary, .prev-next-footer, .dropdown-download-buttons, #jb-print-docs-body, "
    "link[rel=next], link[rel=prev]"
)


def mended(page: str) -> str:
    """The HTML of a page as built, mended."""
    for built, better in MENDED:
        page = re.sub(built, better, page)
    return PARAMETERS.sub(lambda one: f"<div>{one['lines']}</div>".replace("dd>", "div>"), page)


def merged(site: Path, pages: Sequence[str]) -> bytes:
    """The named pages of a site, in that order, as one page that lies beside ``index.html``.

    pages: without ``.html``; the first one frames the others. Headings of the others sink by a
    level, folded cells are open, and ids begin with their page's name. A page with a program of
    its own (``explorer``) is left out: links still lead to it.
    """
    read = {
        page: BeautifulSoup((site / f"{page}.html").read_bytes(), "html.parser") for page in pages
    }
    read = {page: soup for page, soup in read.items() if not soup.select("article script[src]")}
    slugs = {page: page.replace("/", "-") for page in read}
    for page, soup in read.items():
        _readdress(soup, page, slugs)
    (first, frame), *others = read.items()
    whole = frame.select_one("article.bd-article")
    whole["id"] = slugs[first]
    for page, soup in others:
        article = soup.select_one("article.bd-article")
        for heading in article.find_all(re.compile("^h[1-5]$")):
            heading.name = f"h{int(heading.name[1]) + 1}"
        article.name, article["id"], article["class"] = "section", slugs[page], ["page"]
        whole.append(article)
        for script in soup.head.find_all("script"):  # MathJax is on pages with equations alone
            if script not in frame.head.find_all("script"):
                frame.head.append(script)
    for one in whole.find_all("details"):
        one["open"] = ""
    for film in whole.find_all("img", src=lambda source: source and source.endswith(".gif")):
        film["loading"] = "lazy"
    frame.title.string = f"{whole.h1.find(string=True)}: the whole book"
    for one in frame.select(FIRST_ALONE):
        one.decompose()
    return str(frame).encode()


def _readdress(soup, page: str, slugs: Mapping[str, str]) -> None:
    """Let addresses hold on the merged page: ids are its own, links between pages stay on it."""
    for one in soup.select("article.bd-article [id]"):
        one["id"] = f"{slugs[page]}--{one['id']}"
    for name in ("href", "src"):
        for one in soup.find_all(**{name: True}):
            if not one[name].startswith("#") or one.find_parent("article"):
                one[name] = _address(one[name], page, slugs)


def _address(address: str, page: str, slugs: Mapping[str, str]) -> str:
    """Where an address of that page leads from the merged one."""
    address = urljoin(f"{page}.html", address)
    path, anchor = urldefrag(address)
    if path == WHOLE:
        return "#"
    target = path.removesuffix(".html")
    if target == path or target not in slugs:
        return address
    return f"#{slugs[target]}--{anchor}" if anchor else f"#{slugs[target]}"
