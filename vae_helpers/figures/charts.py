"""Numbers by name, over other numbers, and by place: bars, curves with errors, maps of codes."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import ArrayLike
from torch import Tensor

from vae_helpers.data import checked_labels
from vae_helpers.figures.style import (
    COLORS,
    DASHES,
    MARKERS,
    legend,
    name_rows,
    panel,
    panels,
    styled,
)
from vae_helpers.metrics.differences import Estimate
from vae_helpers.training import History

Points = Mapping[float, Estimate | float] | tuple[Sequence[float], Sequence[float]]

TERMS = {"total": "total", "reconstruction": "reconstruction", "kl": "KL"}
GREY = {"color": "0.4", "ls": "-", "lw": 1.2}
LABEL = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.8}


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
    names = dict.fromkeys(name for lines in series.values() for name in lines)
    others = [name for name in names if name != reference]
    for ax, lines in zip(axes.flat, series.values(), strict=False):
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
        beside = {"textcoords": "offset points", "size": 9, "ha": "right"}
        for name, y in (levels or {}).items():
            ax.axhline(y, **GREY | {"ls": ":"})
            ax.annotate(name, (1, y), (-2, 3), ("axes fraction", "data"), **beside)
        beside |= {"rotation": 90, "va": "top"}
        for name, x in (marks or {}).items():
            ax.axvline(x, **GREY | {"ls": "--"})
            name = name if i == 0 else ""  # the others are crossed at the same place
            ax.annotate(name, (x, 0.98), (-4, 0), ("data", "axes fraction"), **beside)
    for ax in axes.flat[len(series) :]:
        ax.axis("off")
    if len(names) > 1:
        legend(figure, *axes.flat)
    return figure


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


def _split(numbers: Collection[Estimate | float]) -> tuple[list[float], list[float] | None]:
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


@styled
def bars(
    groups: Mapping[str, Mapping[str, Estimate | float]],
    xlabel: str,
    *,
    ranked: bool = False,
    marks: Mapping[str, float] | None = None,
) -> Figure:
    """Bars with their numbers: group, which has a colour → name → a number, or an ``Estimate``.

    ranked: longest first, by the first group. marks: vertical lines, by name.
    """
    first = next(iter(groups.values()))
    lengths = dict(zip(first, _split(first.values())[0], strict=True))
    names = sorted(first, key=lengths.get, reverse=True) if ranked else list(first)
    figure, ax = panel(0.8 + 0.28 * max(len(names), 2))
    thick = 0.8 / len(groups)
    for i, (group, numbers) in enumerate(groups.items()):
        at = np.arange(len(names)) + (i - (len(groups) - 1) / 2) * thick
        values, errors = _split([numbers[name] for name in names])
        drawn = ax.barh(at, values, thick, xerr=errors, color=COLORS[i])
        drawn.set_label(group if len(groups) > 1 else "_")
        labels = [f"{value:,.0f}" if abs(value) >= 10 else f"{value:.2f}" for value in values]
        ax.bar_label(drawn, labels, padding=4, size=9 if len(groups) == 1 else 8)
    name_rows(ax, names)
    for mark, x in (marks or {}).items():
        ax.axvline(x, color=COLORS[3], lw=1.5, label=mark)
    ax.set(xlabel=xlabel)
    ax.margins(x=0.12)
    if len(groups) > 1 or marks:
        legend(figure, ax)
    return figure


@styled
def matrix(
    values: ArrayLike, names: Sequence[str], *, log: bool = False, fmt: str = ".1f", **labels: str
) -> Figure:
    """A number for each two names: those of the rows, from the top, and the same of the columns.

    log: colours are logarithmic. labels: ``xlabel``, ``ylabel``, and ``label`` of a colour bar.
    """
    import seaborn as sns  # a second, which most figures do without

    figure, ax = panel(5.6)
    values, label = np.asarray(values), labels.pop("label", "")
    options = {"norm": LogNorm(), "cmap": "Blues"} if log else {"cmap": "viridis_r"}
    sns.heatmap(
        values + 0.5 * log, ax=ax, annot=values, fmt=fmt, annot_kws={"size": 9}, cbar=bool(label),
        cbar_kws={"label": label}, xticklabels=names, yticklabels=names, **options,
    )  # fmt: skip
    ax.set(**labels)
    ax.set_xticks(ax.get_xticks(), names, rotation=45, ha="right")
    return figure


@styled
def latent_maps(maps: Mapping[str, Tensor], labels: Tensor, names: Sequence[str]) -> Figure:
    """Codes ``(N, 2)`` coloured by class, a panel per name.

    Each class is named at its median, or, where these lie close together, in a legend.
    """
    checked_labels(labels, len(next(iter(maps.values()))), len(names))
    figure, axes = panels(1, len(maps), height=6.4 if len(maps) == 1 else 3.3)
    shown = [int(label) for label in labels.unique()]
    crowded = len(maps) > 1 and any(_crowded(codes, labels) for codes in maps.values())
    for ax, (title, codes) in zip(axes[0], maps.items(), strict=True):
        for i, label in enumerate(shown):
            mine = codes[labels == label].numpy()
            ax.plot(*mine.T, MARKERS[i], ms=2.5, color=COLORS[i], alpha=0.5, mew=0)
        ax.set(xlabel=title)
        ax.tick_params(labelsize=8)
        ax.set_aspect("equal", adjustable="datalim")
        if not crowded:
            name_classes(ax, codes, labels, names)
    if crowded:
        handles = [
            Line2D([], [], ls="", marker=MARKERS[i], color=COLORS[i], label=names[label])
            for i, label in enumerate(shown)
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=5, fontsize=9)
    return figure


def name_classes(ax: Axes, codes: Tensor, labels: Tensor, names: Sequence[str]) -> None:
    """Each class's name at its median, or as far below it as names above leave room."""
    checked_labels(labels, len(codes), len(names))
    medians = {int(i): codes[labels == i].median(0).values.tolist() for i in labels.unique()}
    width, height = (abs(b - a) for a, b in (ax.get_xlim(), ax.get_ylim()))
    placed = []  # middles and half widths
    for i, (x, y) in sorted(medians.items(), key=lambda item: -item[1][1]):
        half = 0.009 * width * len(names[i]) + 0.01 * width
        for other_x, other_y, other_half in placed:
            if abs(x - other_x) < half + other_half and abs(y - other_y) < 0.045 * height:
                y = other_y - 0.045 * height
        placed.append((x, y, half))
        ax.text(x, y, names[i], size=9, ha="center", va="center", bbox=LABEL)


def _crowded(codes: Tensor, labels: Tensor) -> bool:
    medians = torch.stack([codes[labels == label].median(0).values for label in labels.unique()])
    return len(medians) > 1 and bool(torch.pdist(medians).min() < 0.5 * codes.std(0).max())
