"""Numbers over other numbers: curves, measured points with their errors, histograms."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator
from torch import Tensor

from vae_helpers.figures.style import COLORS, DASHES, MARKERS, legend, panel, panels, styled
from vae_helpers.metrics.differences import Estimate
from vae_helpers.training import History

Points = Mapping[float, Estimate | float] | tuple[Sequence[float], Sequence[float]]

TERMS = {"total": "total", "reconstruction": "reconstruction", "kl": "KL"}
GREY = {"color": "0.4", "ls": "-", "lw": 1.2}


@styled
def curves(
    series: Mapping[str | tuple[str, str], Mapping[str, Points]],
    xlabel: str = "",
    *,
    columns: int = 2,
    height: float | None = None,
    joined: bool = True,
    reference: str | None = None,
    levels: Mapping[str, float] | None = None,
    marks: Mapping[str, float] | None = None,
    sharey: bool | str = False,
    **options,
) -> Figure:
    """Lines in panels: the label of a panel's y axis → the name of a line → its points.

    Points are a curve, as arrays x and y, or measured ones: from x to y, each of them a number or
    an ``Estimate``, whose error is a bar. Panels of other x axes are called (x label, y label).

    columns: panels in a row. height: of the figure, in inches.
    joined: lines go through measured points. reference: the line to hold others against; grey.
    levels, marks: horizontal and vertical lines, by name. sharey: see ``Figure.subplots``.
    options: of all axes, such as ``xscale="log"`` or ``ylim=(0, None)``.
    """
    columns = min(columns, len(series))
    rows = -(-len(series) // columns)
    height = height or 0.4 + rows * (2.2 if len(series) > 1 else 2.8)
    figure, axes = panels(rows, columns, height, sharex=bool(xlabel), sharey=sharey)
    labels = [(xlabel, label) if isinstance(label, str) else label for label in series]
    for ax, lines in zip(axes.flat, series.values(), strict=False):
        others = [name for name in lines if name != reference]
        for name, points in lines.items():
            k = None if name == reference else others.index(name)
            _draw(ax, k, points, name, joined)
    # Limits and scales come last: panels that share an axis have to know all that is drawn.
    for i, (ax, lines) in enumerate(zip(axes.flat, series.values(), strict=False)):
        across, up = labels[i]
        if across in [label[0] for label in labels[i + columns :: columns]]:
            across = ""  # it stands below
        if not xlabel and i % columns and labels[i - 1][1] == up:
            up = ""  # it stands to the left
        ax.set(xlabel=across, ylabel=up, **options)
        _tick_settings(ax, lines.values())
        for name, y in (levels or {}).items():
            ax.axhline(y, **GREY | {"ls": ":"})
            _name_line(ax, name, (1, y), ("axes fraction", "data"), (-2, 3), ha="right")
        for name, x in (marks or {}).items():
            ax.axvline(x, **GREY | {"ls": "--"})
            at = {"rotation": 90, "ha": "right", "va": "top"}
            name = name if i == 0 else ""  # the others are crossed at the same place
            _name_line(ax, name, (x, 0.98), ("data", "axes fraction"), (-4, 0), **at)
    for ax in axes.flat[len(series) :]:
        ax.axis("off")
    if max(map(len, series.values())) > 1:
        legend(figure, axes[0, 0])
    return figure


def _name_line(ax: Axes, name: str, at, coordinates, offset, **look) -> None:
    ax.annotate(name, at, offset, coordinates, "offset points", size=9, **look)


def _draw(ax: Axes, k: int | None, points: Points, name: str, joined: bool = True) -> None:
    """Draw the k-th line of a panel, or, without a number, the one that others are held against."""
    look = GREY | {"marker": "o"}
    if k is not None:  # an eleventh line has its own colour and marker, too
        look = {"color": COLORS[(k + k // 10) % 10], "ls": DASHES[k % 4], "marker": MARKERS[k % 10]}
    if not isinstance(points, Mapping):
        ax.plot(*points, **look | {"marker": ""}, label=name)
        return
    look = look | {"capsize": 2, "ms": 4 if len(points) > 1 else 6}
    look = look if joined else look | {"ls": ""}
    (x, xerr), (y, yerr) = _split(points.keys()), _split(points.values())
    ax.errorbar(x, y, yerr, xerr, **look, label=name)


def _split(numbers: Iterable[Estimate | float]) -> tuple[list[float], list[float] | None]:
    """Values and errors; no errors where there is none."""
    errors = [getattr(one, "error", None) or 0 for one in numbers]
    return [getattr(one, "value", one) for one in numbers], errors if any(errors) else None


def _tick_settings(ax: Axes, lines: Iterable[Points]) -> None:
    """Tick whole numbers only, or, on a logarithmic axis, the few that were measured."""
    settings = sorted(
        {x for points in lines if isinstance(points, Mapping) for x in _split(points)[0]}
    )
    if ax.get_xscale() == "log" and 0 < len(settings) <= 6:
        ax.set_xticks(settings, [f"{x:g}" for x in settings])
        ax.xaxis.set_minor_locator(NullLocator())
    elif ax.get_xscale() != "log" and settings and all(x == int(x) for x in settings):
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))


@styled
def rate_distortion(
    points: Mapping[str, tuple[float, float]], path: Sequence[tuple[float, float]] = ()
) -> Figure:
    """KL (rate) against reconstruction (distortion) in nats, each point with its name.

    Dotted lines join equal sums, that is, equal −ELBO. ``path`` is drawn as a curve below.
    """
    lines = {"": tuple(zip(*path, strict=True))} if path else {}
    lines |= {name: dict([pair]) for name, pair in points.items()}
    axes = {"distortion: reconstruction, nats": lines}
    figure = curves(axes, "rate: KL, nats per image", height=4.6, joined=False, reference="")
    (ax,) = figure.axes
    ax.margins(0.1)
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    for total in MaxNLocator(9).tick_values(left + low, right + high):
        at = max(total - high, left)  # where the line leaves the picture, on top or to the left
        if at < right and low + 0.05 * (high - low) < total - at:
            ax.plot([left, right], [total - left, total - right], ":", color="0.7", lw=1, zorder=0)
            offset = {"xytext": (3, -3), "textcoords": "offset points"}
            ax.annotate(f"{total:g}", (at, total - at), **offset, size=8, color="0.4", va="top")
    ax.set(xlim=(left, right), ylim=(low, high))
    return figure


@styled
def loss_curves(
    lines: Mapping[str, tuple[History, str]], terms: Sequence[str] = tuple(TERMS)
) -> Figure:
    """Total, reconstruction and KL by epoch: one line per label, of (history, split)."""
    figure, axes = panels(1, len(terms), height=3.4)
    for ax, term in zip(axes[0], terms, strict=True):
        later = []
        for k, (label, (history, split)) in enumerate(lines.items()):
            values = history.curve(split, term)
            epochs = range(1, len(values) + 1)
            _draw(ax, k, (epochs, values) if len(values) > 1 else {1: values[0]}, label)
            later += values[1:] or values
        ax.set(xlabel="epoch", ylabel=TERMS[term])
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
        # The first epochs fall from far above; the interesting part is what comes after them.
        margin = 0.05 * (max(later) - min(later)) or 1
        ax.set_ylim(min(later) - margin, max(later) + margin)
    figure.supylabel("nats per image", size="medium")
    legend(figure, axes[0, 0])
    return figure


@styled
def histograms(
    observed: Mapping[str, Tensor | np.ndarray],
    xlabel: str,
    *,
    span: tuple[float, float] | None = None,
    density: Mapping[str, Callable] | None = None,
    **options,
) -> Figure:
    """Densities of numbers ``(N,)`` by name, or, of ``(N, d)``, one thin line for each column.

    span: what is drawn, by default from 0 to the largest number. density: functions to hold them
    against, by name. options: see ``curves``.
    """
    figure, ax = panel(3.2)
    span = span or (0, max(float(values.max()) for values in observed.values()))
    edges = np.linspace(*span, 81)
    middles = (edges[:-1] + edges[1:]) / 2
    for k, (name, values) in enumerate(observed.items()):
        found = [
            np.histogram(one, edges, density=True)[0]
            for one in np.asarray(values).reshape(len(values), -1).T
        ]
        if values.ndim == 1:
            ax.stairs(*found, edges, color=COLORS[k], ls=DASHES[k % 4], lw=1.8, label=name)
        else:
            lines = ax.plot(middles, np.transpose(found), color=COLORS[k], lw=0.8, alpha=0.6)
            lines[0].set_label(name)
    for name, function in (density or {}).items():
        ax.plot(middles, function(middles), "--", color="0.1", lw=1.5, label=name)
    ax.set(xlabel=xlabel, ylabel="density", **options)
    legend(figure, ax)
    return figure
