"""The two commands that make the book: its site, and the outputs stored in ``chapters/``.

Everything made on the way lies under ``_build``, and is made again only when something it depends
on changed.
"""

import base64
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import nbformat

from press.errors import BookError
from press.images import FILES, obtain
from press.settings import Settings
from press.site.execute import digests, execute, fresh
from press.site.render import render
from press.site.sources import chapters, outdated, write
from press.site.stage import stage
from vae_helpers.errors import DataError

COLLECTS = ".collected("  # in the source of a chapter that shows what others stored


def make(settings: Settings) -> Path:
    """Execute what changed, render the site and return its front page.

    Where no dataset can be had, the full profile renders the outputs stored in ``chapters/``.
    Raises BookError when a chapter raises or the site's build warns.
    """
    settings = replace(settings, record=False)
    sources = chapters(settings.root)
    executed = settings.build / "executed" / settings.profile
    wanted = digests(sources, settings)
    stale = [source for source in sources if not fresh(executed, source, wanted)]
    if stale and not settings.smoke and (missing := _missing_data(settings)):
        print(f"{missing}\nThe site is rendered from the outputs stored in chapters/.")
        if lacking := [one.stem for one in sources if not one.with_suffix(".ipynb").is_file()]:
            raise BookError(f"None are stored for {', '.join(lacking)}: make book PROFILE=smoke")
        if changed := outdated(settings.root):
            print(f"Older than their sources: {', '.join(changed)}.")
        executed = settings.root / "chapters"
    elif stale:
        execute(stale, executed, settings, digests=wanted)
    return render(stage(settings, executed), settings)


def refresh(names: Sequence[str], settings: Settings) -> None:
    """Execute all chapters (or the named ones) anew, recording their numbers, into ``chapters/``.

    Always in the full profile. The chapter that collects the numbers of the others follows
    whenever they change. Raises BookError for an unknown name, a missing dataset, or a chapter
    that raises; then nothing in ``chapters/`` changes.
    """
    settings = replace(settings, profile="full", retrain=False)
    sources = chapters(settings.root)
    if unknown := set(names) - {source.stem for source in sources}:
        raise BookError(f"no chapter {sorted(unknown)}; there are {[s.stem for s in sources]}")
    if missing := _missing_data(settings):
        raise BookError(f"{missing}\nOutputs are only ever stored from the full profile.")
    collecting = [one for one in sources if COLLECTS in one.read_text(encoding="utf-8")]
    others = [one for one in sources if one not in collecting and (not names or one.stem in names)]
    executed = settings.build / "executed" / "full"
    for some in filter(None, (others, collecting)):
        execute(some, executed, replace(settings, record=True))
    # Taken after the recording, which changed what chapters depend on.
    made = digests([*others, *collecting], settings)
    for source in (*others, *collecting):
        notebook = executed / f"{source.stem}.ipynb"
        write(source.with_suffix(".ipynb"), notebook.read_bytes())
        write(executed / f"{source.stem}.digest", made[source.stem].encode())
        save_pictures(notebook, settings.root / "assets" / "pictures")


def save_pictures(chapter: Path, folder: Path) -> None:
    """Save the figures tagged ``picture`` as ``folder/<name>.png``, for README and front page."""
    for cell in nbformat.read(chapter, 4).cells:
        if "picture" in cell.metadata.get("tags", []):
            name = cell.metadata["mystnb"]["figure"]["name"]
            image = next(out.data["image/png"] for out in cell.outputs if "data" in out)
            write(folder / f"{name}.png", base64.b64decode(image))


def _missing_data(settings: Settings) -> str | None:
    """None when the data is here (found or downloaded just now), else why it is not."""
    try:
        for name in FILES:
            obtain(name, settings)
    except DataError as error:
        return str(error)
