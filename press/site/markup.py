"""What the built pages lack: films that wait for the reader, names and roles for screen readers."""

import re

# Sphinx's last frame of a film and, after it, the figure of the film itself.
FILM = re.compile(
    r'(?P<still><img alt="[^"]*" class="still" src="[^"]*" />)\s*'
    r"(?P<figure><figure [^>]*>)\s*"
    r'(?P<film><img alt="[^"]*" class="film" src="[^"]*" />)'
)
# Roles that the elements around them, or their readers, do not allow.
BIBLIOGRAPHY = re.compile(r'(<div class="citation" id="[^"]*") role="doc-biblioentry"')
# Labels other than the words that are seen: who speaks to the page says what is seen.
SEARCH = re.compile(
    r'(<button class="[^"]*search-button-field[^"]*" title="[^"]*") aria-label="[^"]*"'
)
THEME = re.compile(r'(<i class="theme-switch [^>]*data-mode="\w+")\s+title="[^"]*"')
# A parameter a line, as definitions of nothing.
PARAMETERS = re.compile(r'<dl>\s*(?P<lines>(?:<dd><em class="sig-param">.*?</dd>\s*)+)</dl>')
FOLD = '<summary aria-label="Toggle hidden content">'


def mended(page: str) -> str:
    """The HTML of a page as built, mended."""
    # With scripts the film is words until book.js makes an image of it, so nothing is loaded.
    page = FILM.sub(r"\g<figure>\n\g<still>\n<noscript>\g<film></noscript>", page)
    page = BIBLIOGRAPHY.sub(r'\1 role="listitem"', page)
    page = PARAMETERS.sub(lambda one: f"<div>{one['lines']}</div>".replace("dd>", "div>"), page)
    page = page.replace(FOLD, "<summary>")
    page = SEARCH.sub(r"\1", page)
    return THEME.sub(r"\1", page)
