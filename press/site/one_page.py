"""The whole book on one page, merged from the rendered ones: to search through and to print."""

import posixpath
from collections.abc import Sequence
from pathlib import Path

WHOLE = "whole-book.html"
FIRST_ALONE = (  # what the theme puts around the first page's text for that page alone
    ".bd-sidebar-secondary, .prev-next-footer, .dropdown-download-buttons, #jb-print-docs-body, "
    "link[rel=next], link[rel=prev]"
)
REFERRING = ("for", "aria-labelledby", "aria-describedby", "aria-controls")  # to ids, besides href


def merged(site: Path, pages: Sequence[str]) -> bytes:
    """The named pages of a site, in that order, as one page that lies beside ``index.html``.

    pages: without ``.html``; the first one frames the others. Headings of the others sink by a
    level, folded cells are open, and ids begin with their page's name. A page with a program of
    its own (``explorer``) is left out: links still lead to it.
    """
    from bs4 import BeautifulSoup

    read = {
        page: BeautifulSoup((site / f"{page}.html").read_bytes(), "html.parser") for page in pages
    }
    read = {page: soup for page, soup in read.items() if not soup.select("article script[src]")}
    for page, soup in read.items():
        _readdress(soup, page, read)
    (first, frame), *others = read.items()
    whole = frame.select_one("article.bd-article")
    whole["id"] = _slug(first)
    for page, soup in others:
        article = soup.select_one("article.bd-article")
        for level in range(5, 0, -1):
            for heading in article.find_all(f"h{level}"):
                heading.name = f"h{level + 1}"
        article.name, article["id"], article["class"] = "section", _slug(page), ["page"]
        whole.append(article)
        known = {str(one) for one in frame.head.find_all("script")}
        for script in soup.head.find_all("script"):  # MathJax is on pages with equations alone
            if str(script) not in known:
                frame.head.append(script)
    for one in whole.find_all("details"):
        one["open"] = ""
    for film in whole.find_all("img", src=lambda source: source and source.endswith(".gif")):
        film["loading"] = "lazy"
    frame.title.string = f"{whole.h1.find(string=True)}: the whole book"
    for one in frame.select(FIRST_ALONE):
        one.decompose()
    return str(frame).encode()


def _slug(page: str) -> str:
    return page.replace("/", "-")


def _readdress(soup, page: str, pages: Sequence[str]) -> None:
    """Let addresses hold on the merged page: ids are its own, links between pages stay on it."""
    for one in soup.select("article.bd-article [id]"):
        one["id"] = f"{_slug(page)}--{one['id']}"
    for name in REFERRING:
        for one in soup.select(f"article.bd-article [{name}]"):
            one[name] = " ".join(f"{_slug(page)}--{id}" for id in one[name].split())
    for name in ("href", "src"):
        for one in soup.find_all(**{name: True}):
            inside = name == "href" and one.name == "a" and one.find_parent("article") is not None
            one[name] = _address(one[name], page, pages, inside)


def _address(address: str, page: str, pages: Sequence[str], inside: bool) -> str:
    path, _, anchor = address.partition("#")
    if ":" in path or path.startswith("//") or not (path or inside):
        return address
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), path)) if path else ""
    target = path.removesuffix(".html") if path else page
    if path == WHOLE:
        return "#"
    if target in pages and (not path or path.endswith(".html")):
        return f"#{_slug(target)}--{anchor}" if anchor else f"#{_slug(target)}"
    return f"{path}#{anchor}" if anchor else path
