"""The look of every figure, whatever matplotlib's settings are, and what all of them start from."""

import io
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import cache, wraps

import matplotlib.style
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

WIDTH = 7.0  # inches: 700 pixels at 100 dpi, the width of a page
# Seaborn's palette "colorblind", without the second that importing seaborn takes.
CODES = "0173b2 de8f05 029e73 d55e00 cc78bc ca9161 fbafe4 949494 ece133 56b4e9"
COLORS = [to_rgb(f"#{code}") for code in CODES.split(" ")]
MARKERS = "osv^DPX*<>"
DASHES = ("-", "--", ":", "-.")  # beside colour, so that colour is never the only code
STYLE = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "image.cmap": "gray",
}


def style() -> AbstractContextManager:
    """A context with the figures' style on top of matplotlib's defaults, not of the user's own."""
    return matplotlib.style.context(STYLE, after_reset=True)


class StyledFigure(Figure):
    """A figure that has its style also when it is laid out, drawn and saved, later on."""

    draw = style()(Figure.draw)
    get_tightbbox = style()(Figure.get_tightbbox)
    savefig = style()(Figure.savefig)


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Decorate a function that draws a figure: it does so in ``style``, and the figure names it.

    The figure's gid is ``figures.`` and the function's name.
    """

    @wraps(draw)
    @style()
    def drawn(*args, **options):
        figure = draw(*args, **options)
        figure.set_gid(f"figures.{draw.__name__}")
        return figure

    return drawn


def png(figure: Figure, dpi: int = 100, colors: int = 256) -> bytes:
    """The figure as a PNG of its own fixed size, with so many colours at most; 0 keeps all."""
    drawn, packed = io.BytesIO(), io.BytesIO()
    figure.draw_without_rendering()  # names find room once pictures have their place
    figure.savefig(drawn, format="png", dpi=dpi)
    picture = Image.open(drawn).convert("RGB")
    # 256 colours are enough for greys and lines, and take a third of the bytes.
    (picture.quantize(colors) if colors else picture).save(packed, "PNG", optimize=True)
    return packed.getvalue()


def drawable(text: str) -> str:
    """``text`` with a question mark in a diamond for each letter that the figures' font lacks.

    matplotlib would draw a box, and warn of it below every figure that an author signs.
    """
    return "".join(letter if ord(letter) in _letters() else "\ufffd" for letter in text)


@cache
def _letters() -> frozenset[int]:
    return frozenset(font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap())


def panels(rows: int, columns: int, height: float, **options) -> tuple[Figure, np.ndarray]:
    """A figure ``height`` inches high, unknown to pyplot, and its axes ``(rows, columns)``."""
    figure = StyledFigure(figsize=(WIDTH, height), layout="constrained")
    # The lowest line is kept free for a signature.
    figure.get_layout_engine().set(rect=(0, 0.16 / height, 1, 1 - 0.16 / height))
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def panel(height: float) -> tuple[Figure, Axes]:
    """A figure with one pair of axes."""
    figure, axes = panels(1, 1, height)
    return figure, axes[0, 0]


def legend(figure: Figure, ax: Axes) -> None:
    """Name what is drawn in ``ax`` above all panels, or, where that is much, beside them."""
    handles, names = ax.get_legend_handles_labels()
    if len(names) > 9:
        figure.legend(handles, names, loc="outside right upper", fontsize=8)
        return
    lines = 1 if sum(len(name) + 8 for name in names) <= 84 else -(-len(names) // 3)
    figure.legend(handles, names, loc="outside upper center", ncols=-(-len(names) // lines))


def name_rows(ax: Axes, names: Iterable[str]) -> None:
    """Name the rows of ``ax`` at 0, 1, …, the first one on top."""
    names = list(names)
    ax.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.4, -0.6))
    ax.grid(axis="y", visible=False)
