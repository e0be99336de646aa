"""Built pages: what is mended in each, and all of them as one."""

import pytest
from bs4 import BeautifulSoup

from press.site.markup import mended, merged

STILL = '<img alt="The last frame." class="still" src="../_images/a.png" />'
FILM = '<img alt="A film." class="film" src="../_images/a.gif" />'


def test_a_film_stands_in_its_figure_after_its_last_frame_and_loads_nothing():
    page = f'<p>x</p>\n{STILL}\n<figure class="align-default" id="f">\n{FILM}\n<figcaption>'
    made = mended(page)
    assert made == (
        f'<p>x</p>\n<figure class="align-default" id="f">\n{STILL}\n'
        f"<noscript>{FILM}</noscript>\n<figcaption>"
    )
    assert mended(made) == made


def test_pictures_that_are_no_film_stay_as_they_are():
    for page in (STILL, f"{STILL}<p>text</p><figure>\n{FILM}", f"<figure>\n{FILM}</figure>"):
        assert mended(page) == page


def test_entries_of_the_bibliography_are_items_of_their_list():
    page = '<div role="list"><div class="citation" id="id4" role="doc-biblioentry">'
    assert mended(page) == '<div role="list"><div class="citation" id="id4" role="listitem">'


def test_parameters_are_lines_and_no_definitions():
    page = '(</span>\n\n<dl>\n<dd><em class="sig-param">a</em>,</dd>\n</dl>\n\n<dl><dt>t</dt></dl>'
    assert mended(page) == (
        '(</span>\n\n<div><div><em class="sig-param">a</em>,</div>\n</div>\n\n<dl><dt>t</dt></dl>'
    )


def test_buttons_are_called_what_is_seen_on_them():
    field = '<button class="btn search-button-field" title="Search" aria-label="Search" disabled>'
    assert mended(field) == '<button class="btn search-button-field" title="Search" disabled>'
    icon = '<i class="theme-switch fa-solid fa-sun     fa-lg" data-mode="light" title="Light">'
    assert mended(icon) == '<i class="theme-switch fa-solid fa-sun     fa-lg" data-mode="light">'
    fold = '<summary aria-label="Toggle hidden content">\n<p>Show code cell content</p>'
    assert mended(fold) == "<summary>\n<p>Show code cell content</p>"
    # A button that shows only a sign keeps its label.
    sign = '<button class="btn search-button" title="Search" aria-label="Search">'
    assert mended(sign) == sign


# --- the whole book on one page ----------------------------------------------------------------

PAGE = """\
<html><head><title>A — Book</title><link rel="stylesheet" href="{up}_static/a.css">
<link rel="next" href="x.html">{head}</head>
<body><nav><a href="{up}index.html">Book</a><a href="{up}chapters/01_a.html">A</a></nav>
<article class="bd-article">{body}</article>
<div class="bd-sidebar-secondary">contents</div><footer class="prev-next-footer">next</footer>
</body></html>
"""
MATHJAX = '<script src="../_static/mathjax.js"></script>'
INDEX = """\
<section id="book"><h1>Book</h1><a href="chapters/01_a.html">1</a>
<a href="chapters/01_a.html#why">why</a><a href="whole-book.html">all</a>
<a href="explorer.html">explorer</a></section>
"""
FIRST = """\
<section id="why"><h1>A</h1><h2>Why<a class="headerlink" href="#why">#</a></h2>
<img src="../_images/a.png"><img src="../assets/f.gif"><a href="02_b.html#why">next</a>
<a href="https://x.org/index.html#y">away</a><details><summary>s</summary>answer</details>
<input id="in"></section>
"""
SECOND = """\
<section id="why"><h1>B</h1><a href="../index.html">back</a><a href="01_a.ipynb">raw</a></section>
"""
PAGES = ("index", "chapters/01_a", "chapters/02_b", "explorer")


@pytest.fixture
def whole(tmp_path):
    """The merged page of a small site."""
    (tmp_path / "chapters").mkdir()
    for page, head, body in (
        ("index", "", INDEX),
        ("chapters/01_a", MATHJAX, FIRST),
        ("chapters/02_b", MATHJAX, SECOND),
        ("explorer", "", "<h1>E</h1><script src='run.js'></script>"),
    ):
        up = "../" * page.count("/")
        (tmp_path / f"{page}.html").write_text(PAGE.format(up=up, head=head, body=body), "utf-8")
    return BeautifulSoup(merged(tmp_path, PAGES), "html.parser")


def hrefs(soup):
    return [one["href"] for one in soup.find_all("a")]


def test_pages_follow_each_other_under_one_heading(whole):
    headings = [(one.name, one.find(string=True)) for one in whole.select("article h1, h2, h3")]
    assert headings == [("h1", "Book"), ("h2", "A"), ("h3", "Why"), ("h2", "B")]
    assert len(whole.find_all("article")) == 1
    assert whole.title.string == "Book: the whole book"


def test_links_between_pages_stay_on_the_page_and_lead_somewhere(whole):
    article = whole.article
    assert hrefs(article) == [
        "#chapters-01_a",
        "#chapters-01_a--why",
        "#",
        "explorer.html",
        "#chapters-01_a--why",
        "#chapters-02_b--why",
        "https://x.org/index.html#y",
        "#index",
        "chapters/01_a.ipynb",
    ]
    assert hrefs(whole.nav) == ["#index", "#chapters-01_a"]
    ids = [one["id"] for one in whole.find_all(id=True)]
    assert len(set(ids)) == len(ids)
    inside = [href[1:] for href in hrefs(whole) if href.startswith("#") and href != "#"]
    assert set(inside) <= set(ids)


def test_pictures_and_styles_are_found_from_the_front(whole):
    assert [one["src"] for one in whole.find_all("img")] == ["_images/a.png", "assets/f.gif"]
    assert [one.get("loading") for one in whole.find_all("img")] == [None, "lazy"]
    assert whole.find("link")["href"] == "_static/a.css"


def test_what_single_pages_need_is_brought_along_once(whole):
    assert [one["src"] for one in whole.head.find_all("script")] == ["_static/mathjax.js"]


def test_answers_are_open_and_what_belongs_to_one_page_is_gone(whole):
    assert whole.details.has_attr("open")
    assert "run.js" not in str(whole)
    assert not whole.select(".bd-sidebar-secondary, .prev-next-footer, link[rel=next]")
