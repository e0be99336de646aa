"""Numbers by name: bars, matrices, spreads and intervals."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from vae_helpers.figures.style import COLORS, legend, name_rows, panel, panels, styled
from vae_helpers.metrics.differences import Difference, Estimate


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
    names = sorted(first, key=lambda name: -_value(first[name])) if ranked else list(first)
    figure, ax = panel(0.8 + 0.28 * max(len(names), 2))
    thick = 0.8 / len(groups)
    for i, (group, numbers) in enumerate(groups.items()):
        at = np.arange(len(names)) + (i - (len(groups) - 1) / 2) * thick
        values = [_value(numbers[name]) for name in names]
        errors = [getattr(numbers[name], "error", None) or 0 for name in names]
        drawn = ax.barh(at, values, thick, xerr=errors if any(errors) else None, color=COLORS[i])
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


def _value(number: Estimate | float) -> float:
    return getattr(number, "value", number)


@styled
def matrix(
    values: ArrayLike, names: Sequence[str], *, log: bool = False, fmt: str = ".1f", **labels: str
) -> Figure:
    """A number for each two names: those of the rows, from the top, and the same of the columns.

    log: colours are logarithmic. labels: ``xlabel``, ``ylabel``, and ``label`` of a colour bar.
    """
    figure, ax = panel(5.6)
    values, label = np.asarray(values), labels.pop("label", "")
    options = {"norm": LogNorm(), "cmap": "Blues"} if log else {"cmap": "viridis_r"}
    _heat_map(
        ax, values + 0.5 * log, annot=values, fmt=fmt, annot_kws={"size": 9}, cbar=bool(label),
        cbar_kws={"label": label}, xticklabels=names, yticklabels=names, **options,
    )  # fmt: skip
    ax.set(**labels)
    ax.set_xticks(ax.get_xticks(), names, rotation=45, ha="right")
    return figure


def _heat_map(ax: Axes, values: np.ndarray, **options) -> None:
    import seaborn as sns  # a second, which most figures do without

    sns.heatmap(values, ax=ax, **options)


@styled
def intensities(counts: np.ndarray, names: Sequence[str]) -> Figure:
    """Pixel intensities from byte counts ``(classes, 256)``: over all, and by class in 16 bins."""
    figure, axes = panels(1, 2, height=3.8)
    every, by_class = axes[0]
    every.bar(np.arange(256) / 255, counts.sum(0) / counts.sum(), width=1 / 255, color=COLORS[0])
    every.set(yscale="log", xlabel="pixel intensity", ylabel="share of all pixels")
    bins = counts.reshape(len(names), 16, 16).sum(2)
    shares = bins / np.maximum(bins.sum(1, keepdims=True), 1)  # a class without images is blank
    _heat_map(
        by_class, shares, cmap="viridis", norm=LogNorm(), yticklabels=names, xticklabels=False,
        cbar_kws={"label": "share of the class's pixels"},
    )  # fmt: skip
    by_class.set_xlabel("pixel intensity, 0 to 1")
    by_class.tick_params(labelsize=9)
    return figure


@styled
def spreads(
    series: Mapping[str, Mapping[str, ArrayLike]], *, centred: bool = True, **options
) -> Figure:
    """Values of each row as dots: panel → row → values.

    centred: less their mean, the first one a ring, over a grey bar that reaches one standard
    deviation to either side. options: of all axes, such as ``xscale="log"``.
    """
    rows = list(next(iter(series.values())))
    figure, axes = panels(1, len(series), height=0.9 + 0.3 * len(rows), sharey=True)
    for ax, (label, by_row) in zip(axes[0], series.items(), strict=True):
        for at, values in enumerate(np.asarray(by_row[row]) for row in rows):
            if centred:
                values, spread = values - values.mean(), values.std(ddof=1)
                ax.barh(at, 2 * spread, left=-spread, height=0.5, color="0.85")
                ax.plot(values[0], at, "o", ms=7, mfc="none", mew=1.5, color=COLORS[3])
                ax.axvline(0, color="0.4", lw=1)
            dots = values[1:] if centred else values
            ax.plot(dots, np.full(len(dots), at), "o", ms=5, color=COLORS[0], alpha=0.8)
        ax.set(xlabel=label, **options)
        name_rows(ax, rows)
    return figure


@styled
def intervals(
    differences: Mapping[str, Difference], survives: Mapping[str, bool], xlabel: str
) -> Figure:
    """A difference with its interval a row, and a line at none; filled markers are survivors."""
    figure, ax = panel(0.9 + 0.26 * len(differences))
    for at, (name, one) in enumerate(differences.items()):
        color = COLORS[0] if survives[name] else COLORS[3]
        ax.plot([one.low, one.high], [at, at], "-", color=color, lw=2)
        ax.plot(one.value, at, "o", color=color, mfc=color if survives[name] else "white", mew=1.5)
    ax.axvline(0, color="0.4", lw=1)
    ax.set(xlabel=xlabel)
    name_rows(ax, differences)
    return figure
