"""The look of every figure, whatever matplotlib's settings are, and what all of them start from."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import wraps

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

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
    """Decorate a function that draws a figure: it does so in ``style``.

    Where the function is one of this library, the figure's gid is ``figures.`` and its name.
    """

    @wraps(draw)
    @style()
    def drawn(*args, **options):
        figure = draw(*args, **options)
        # A page's own drawing has no address.
        if draw.__module__.startswith(__package__.split(".")[0]):
            figure.set_gid(f"figures.{draw.__name__}")
        return figure

    return drawn


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


def legend(figure: Figure, *axes: Axes) -> None:
    """Name what is drawn in ``axes`` above all panels, or, where that is much, beside them."""
    found = [zip(*ax.get_legend_handles_labels(), strict=True) for ax in axes]
    names = {name: handle for pairs in found for handle, name in pairs}
    if len(names) > 9:
        figure.legend(names.values(), names, loc="outside right upper", fontsize=8)
        return
    lines = 1 if sum(len(name) + 8 for name in names) <= 84 else -(-len(names) // 3)
    figure.legend(names.values(), names, loc="outside upper center", ncols=-(-len(names) // lines))


def name_rows(ax: Axes, names: Iterable[str]) -> None:
    """Name the rows of ``ax`` at 0, 1, …, the first one on top."""
    names = list(names)
    ax.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.4, -0.6))
    ax.grid(axis="y", visible=False)
