"""What a figure shows, in a form that another drawing of it can be held against.

Words (kinds of marks, their colours, labels, texts) are the same wherever a figure is drawn: they
have a digest. Numbers (data, limits, pixels) differ a little from machine to machine: each array is
kept as its mean, its spread and a few random projections, which move with any of its values and
when two of them change places, and which are compared with a tolerance.
"""

import math
from collections.abc import Iterable, Iterator

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import Collection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, Patch
from matplotlib.spines import Spine
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter

from vae_helpers.files import digest_json

PROJECTIONS = 4


def described(figure: Figure) -> dict:
    """``words``, a digest, and ``numbers``: of each array its mean, spread and projections.

    Where things lie on the page does not count, nor do ticks that matplotlib chooses by the room
    that it has: another version of it may find other ones.
    """
    words, numbers = [], []
    for artist in _artists(figure):
        for said, arrays in _shown(artist):
            words.append([type(artist).__name__, *said])
            numbers += [_summary(one) for array in arrays for one in _parts(array)]
    return {"words": digest_json(words), "numbers": numbers}


def _artists(parent: Artist) -> Iterator[Artist]:
    """All that is seen in a figure, in the order in which it was made."""
    for artist in filter(Artist.get_visible, parent.get_children()):
        if isinstance(artist, Axis):
            yield artist.label
            if isinstance(artist.get_major_formatter(), FixedFormatter):  # names, or chosen numbers
                yield from artist.get_ticklabels()
        elif isinstance(artist, Legend):
            yield from artist.get_texts()
        elif not isinstance(artist, Spine | FancyArrowPatch):
            yield artist
            yield from _artists(artist)


def _shown(artist: Artist) -> Iterator[tuple[list, list]]:
    """What an artist says in words, and its arrays, where it shows something of its own."""
    label = "" if artist.get_label().startswith("_") else artist.get_label()
    if isinstance(artist, Text):
        if text := artist.get_text():
            places = [artist.get_position()] if _among_data(artist) else []
            yield [text, to_hex(artist.get_color())], places
    elif isinstance(artist, Line2D):
        look = [artist.get_linestyle(), str(artist.get_marker()), to_hex(artist.get_color())]
        yield [label, *look], [artist.get_xydata()]
    elif isinstance(artist, AxesImage):
        yield [], [artist.get_array(), artist.get_extent(), artist.get_clim()]
    elif isinstance(artist, Collection):
        outlines = [path.vertices for path in artist.get_paths()]
        yield [label], [artist.get_offsets(), artist.get_facecolor(), *outlines]
    elif isinstance(artist, Patch) and _among_data(artist):
        outline = artist.get_path().transformed(artist.get_patch_transform())
        yield [to_hex(artist.get_facecolor(), keep_alpha=True)], [outline.vertices]
    elif isinstance(artist, Axes):
        limits = [artist.get_xlim(), artist.get_ylim()] if artist.get_aspect() == "auto" else []
        yield [artist.get_xscale(), artist.get_yscale()], limits


def _among_data(artist: Artist) -> bool:
    return artist.axes and artist.get_transform().contains_branch(artist.axes.transData)


def _parts(array) -> Iterable[np.ndarray]:
    """The numbers of an array, those of points ``(N, 2)`` by axis; what is masked counts as −1."""
    values = np.nan_to_num(np.ma.filled(np.ma.asarray(array, float), -1), nan=-1)
    return values.T if values.ndim == 2 and values.shape[1] == 2 else [values.ravel()]


def _summary(values: np.ndarray) -> str:
    mean, length = (values.mean() if values.size else 0.0), math.sqrt(max(values.size, 1))
    centred = (values - mean) / length
    directions = np.random.default_rng(0).normal(size=(PROJECTIONS, values.size))
    found = [mean, np.linalg.norm(centred), *(directions @ centred)]
    return " ".join(f"{one:.6g}" for one in found)  # as a list, a line of the notebook each
