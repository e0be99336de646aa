"""The front page's cards: one for each chapter, with a small picture of it."""

import base64
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageOps

from press.errors import BookError
from press.site.sources import outputs

THUMBNAIL = (320, 200)  # pixels
CARD = re.compile(
    r"^\| \[(?P<title>.+?)\]\((?P<page>.+?)\.ipynb(?:#(?P<figure>.+?))?\) \| (?P<question>.+?) \|$"
)
SHORT = re.compile(r".{40,}?(?=\.( |$))|.*")  # the first sentences of an alternative text


def cards(page: str, chapters: Mapping) -> tuple[str, dict[str, bytes]]:
    """The page with its table of chapters as cards, and their thumbnails.

    The table follows ``<!-- cards -->``; its rows are ``| [title](NN_name.ipynb) | question |``.
    A card shows the chapter's first figure, or that of ``NN_name.ipynb#fig-name``. Raises BookError
    for a row that names no chapter, or one without that figure.
    """
    before, after = page.split("<!-- cards -->\n", 1)
    table, *rest = after.strip("\n").split("\n\n", 1)
    made, pictures = ["`````{grid} 2 2 4 4", ":gutter: 2", ":class-container: chapters", ""], {}
    for row in table.splitlines()[2:]:
        found = CARD.match(row)
        if found is None or found["page"] not in chapters:
            raise BookError(f"index.md: the row {row!r} under <!-- cards --> names no chapter")
        name = Path(found["page"]).name
        image, alt = thumbnail(chapters[found["page"]], name, found["figure"])
        pictures[f"assets/thumbnails/{name}.webp"] = image
        made += [
            "````{grid-item-card}",
            f":img-top: assets/thumbnails/{name}.webp",
            f":img-alt: {json.dumps(alt, ensure_ascii=False)}",
            f":link: {found['page']}",
            ":link-type: doc",
            "",
            f"**{int(name[:2])} {found['title']}**",
            "",
            found["question"],
            "````",
        ]
    return "\n".join([before + made[0], *made[1:], "`````", "", *rest]), pictures


def thumbnail(chapter, name: str, chosen: str | None = None) -> tuple[bytes, str]:
    """The small picture of a chapter's card, as WebP, and its alternative text."""
    figures = {
        cell.metadata["mystnb"]["figure"]["name"]: cell
        for cell in chapter.cells
        if "figure" in cell.metadata.get("mystnb", {})
    }
    chosen = chosen or next(iter(figures), None)
    if chosen not in figures:
        raise BookError(f"{name}: has no figure {chosen!r} to show on its card")
    (picture, *_) = outputs([figures[chosen]], "image/png")
    image, packed = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB"), io.BytesIO()
    ImageOps.fit(image, THUMBNAIL, Image.Resampling.LANCZOS).save(packed, "WEBP", quality=80)
    alt = figures[chosen].metadata["mystnb"]["image"]["alt"]
    return packed.getvalue(), SHORT.match(alt)[0]
