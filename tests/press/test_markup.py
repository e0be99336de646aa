from press.site.markup import mended

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
