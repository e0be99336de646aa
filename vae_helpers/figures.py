"""Every picture of the book: arrays and tensors in, a ``Figure`` out.

Figures are made without pyplot, so none lingers; captions and alt texts stand in the chapters.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import matplotlib
import numpy as np
import torch
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import MaxNLocator, NullLocator
from torch import Tensor

from vae_helpers.metrics.differences import Difference
from vae_helpers.results import Estimate
from vae_helpers.training import SCHEDULES, History

WIDTH = 7.0  # inches: 700 pixels at the book's resolution, the width of a page
# Seaborn's palette "colorblind", without the second that importing seaborn takes.
CODES = "0173b2 de8f05 029e73 d55e00 cc78bc ca9161 fbafe4 949494 ece133 56b4e9"
COLORS = [to_rgb(f"#{code}") for code in CODES.split(" ")]
MARKERS = "osv^DPX*<>"
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
DASHES = ("-", "--", ":", "-.")  # beside colour, so that colour is never the only code
TERMS = {"total": "total", "reconstruction": "reconstruction", "kl": "KL"}
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
matplotlib.rcParams.update(STYLE)


def drawable(text: str) -> str:
    """``text`` with a question mark in a diamond for each letter that the figures' font lacks.

    matplotlib would draw a box, and warn of it below every figure that an author signs.
    """
    return "".join(letter if ord(letter) in _letters() else REPLACEMENT for letter in text)


@cache
def _letters() -> frozenset[int]:
    return frozenset(font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap())


def _axes(rows: int, columns: int, height: float, **options) -> tuple[Figure, np.ndarray]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    # The lowest line is kept free for the signature.
    figure.get_layout_engine().set(rect=(0, 0.16 / height, 1, 1 - 0.16 / height))
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def _picture(axes: Axes, image, **options) -> None:
    axes.imshow(
        np.asarray(image).squeeze(),
        **({"vmin": 0, "vmax": 1, "interpolation": "nearest"} | options),
    )
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


# --- data --------------------------------------------------------------------------------------


def image_grid(images: Tensor, names: Sequence[str], columns: int = 5) -> Figure:
    """Images ``(N, 1, 28, 28)`` in [0, 1] in rows of ``columns``, each with its name below."""
    rows = -(-len(images) // columns)
    figure, axes = _axes(rows, columns, height=0.3 + 1.6 * rows)
    for ax, image, name in zip(axes.flat[: len(images)], images, names, strict=True):
        _picture(ax, image)
        ax.set_xlabel(name)
    for ax in axes.flat[len(images) :]:
        ax.axis("off")
    return figure


def class_counts(counts: Mapping[str, np.ndarray], names: Sequence[str]) -> Figure:
    """Bars: how many images each class has ``(classes,)``, one bar per split."""
    figure, axes = _axes(1, 1, height=4.2)
    ax, height = axes[0, 0], 0.8 / len(counts)
    for i, (split, count) in enumerate(counts.items()):
        where = np.arange(len(names)) + (i - (len(counts) - 1) / 2) * height
        bars = ax.barh(where, count, height, label=split, color=COLORS[i])
        ax.bar_label(bars, fmt="{:,.0f}", padding=3, size=8)
    ax.set(yticks=range(len(names)), yticklabels=names, xlabel="images")
    ax.margins(x=0.12)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    figure.legend(loc="outside upper right", ncols=len(counts))
    return figure


def intensities(counts: np.ndarray, names: Sequence[str]) -> Figure:
    """Pixel intensities from byte counts ``(classes, 256)``: over all, and by class in 16 bins."""
    import seaborn as sns  # a second, which most figures do without

    figure, axes = _axes(1, 2, height=3.8)
    every, by_class = axes[0]
    share = counts.sum(0) / counts.sum()
    every.bar(np.arange(256) / 255, share, width=1 / 255, color=COLORS[0])
    every.set(yscale="log", xlabel="pixel intensity", ylabel="share of all pixels")
    bins = counts.reshape(len(names), 16, 16).sum(2)
    sns.heatmap(
        bins / np.maximum(bins.sum(1, keepdims=True), 1),  # a class without images is blank
        ax=by_class,
        cmap="viridis",
        norm=LogNorm(),
        yticklabels=names,
        xticklabels=False,
        cbar_kws={"label": "share of the class's pixels"},
    )
    by_class.set_xlabel("pixel intensity, 0 to 1")
    by_class.tick_params(labelsize=9)
    return figure


def class_statistics(means: np.ndarray, variances: np.ndarray, names: Sequence[str]) -> Figure:
    """Mean and variance image of each class, ``(classes, 28, 28)`` each, on common scales."""
    half = -(-len(names) // 2)
    figure, axes = _axes(4, half, height=6.1)
    top = np.nanmax(variances)
    for i, name in enumerate(names):
        row, column = 2 * (i // half), i % half
        _picture(axes[row, column], means[i])
        _picture(axes[row + 1, column], variances[i], vmax=top, cmap="magma")
        axes[row + 1, column].set_xlabel(name)
    for row in range(4):
        axes[row, 0].set_ylabel(("mean", "variance")[row % 2])
    return figure


def distance_matrix(distances: np.ndarray, names: Sequence[str]) -> Figure:
    """Distances between classes ``(classes, classes)`` as an annotated heat map."""
    import seaborn as sns  # a second, which most figures do without

    figure, axes = _axes(1, 1, height=5.4)
    sns.heatmap(
        distances,
        ax=axes[0, 0],
        annot=True,
        fmt=".1f",
        cmap="viridis_r",
        annot_kws={"size": 9},
        xticklabels=names,
        yticklabels=names,
        cbar_kws={"label": "distance between mean images"},
    )
    axes[0, 0].tick_params(axis="x", rotation=40)
    return figure


# --- model -------------------------------------------------------------------------------------


def data_flow(latent: int) -> Figure:
    """The VAE as boxes and arrows, for a latent space of ``latent`` dimensions."""
    figure, axes = _axes(1, 1, height=2.9)
    ax = axes[0, 0]
    ax.set(xlim=(0, 16), ylim=(0, 5.6), aspect="equal")
    ax.axis("off")

    def box(x, y, width, text, color):
        patch = FancyBboxPatch((x, y - 0.6), width, 1.2, boxstyle="round,pad=0.05", fc=color)
        patch.set(alpha=0.25, ec="none")
        ax.add_patch(patch)
        ax.text(x + width / 2, y, text, ha="center", va="center", size=10)

    def arrow(start, end):
        ax.annotate("", xy=end, xytext=start, arrowprops={"arrowstyle": "-|>", "color": "0.3"})

    box(0.1, 3, 1.7, "image x\n1×28×28", COLORS[7])
    box(2.6, 3, 2.1, "encoder\n$q(z\\,|\\,x)$", COLORS[0])
    box(5.5, 4.3, 1.9, f"μ\n{latent}", COLORS[2])
    box(5.5, 1.7, 1.9, f"log σ²\n{latent}", COLORS[2])
    box(8.3, 3, 2.4, "z = μ + σ⊙ε\nsample", COLORS[1])
    box(8.3, 0.7, 2.4, "ε ~ N(0, I)", COLORS[7])
    box(11.5, 3, 1.9, "decoder\n$p(x\\,|\\,z)$", COLORS[0])
    box(14.1, 3, 1.8, "logits\n1×28×28", COLORS[7])
    for start, end in (
        ((1.9, 3), (2.5, 3)),
        ((4.8, 3.2), (5.4, 4.1)),
        ((4.8, 2.8), (5.4, 1.9)),
        ((7.5, 4.1), (8.2, 3.3)),
        ((7.5, 1.9), (8.2, 2.7)),
        ((9.5, 1.4), (9.5, 2.3)),
        ((10.8, 3), (11.4, 3)),
        ((13.5, 3), (14.0, 3)),
    ):
        arrow(start, end)
    return figure


def gradient_spread(samples: Mapping[str, Tensor]) -> Figure:
    """Spread of single-sample gradients ``(count, d)`` by estimator: a dot per dimension."""
    figure, axes = _axes(1, 1, height=2.6)
    for i, gradients in enumerate(samples.values()):
        spread = gradients.std(0).numpy()
        axes[0, 0].plot(spread, np.full(len(spread), i), "o", color=COLORS[i], alpha=0.6)
    axes[0, 0].set(xscale="log", xlabel="standard deviation of one sample's gradient (nats)")
    axes[0, 0].set(yticks=range(len(samples)), yticklabels=samples, ylim=(-0.6, len(samples) - 0.4))
    axes[0, 0].invert_yaxis()
    return figure


# --- loss --------------------------------------------------------------------------------------


def pixel_losses(p: np.ndarray, curves: Mapping[str, Mapping[float, np.ndarray]]) -> Figure:
    """What one pixel costs, by prediction ``p``: a panel per likelihood, a curve per true x."""
    figure, axes = _axes(1, len(curves), height=3.2)
    for ax, (name, by_pixel) in zip(axes[0], curves.items(), strict=True):
        for i, (x, cost) in enumerate(by_pixel.items()):
            ax.plot(p, cost, DASHES[i], color=COLORS[i], label=f"x = {x:g}")
            ax.plot(p[cost.argmin()], cost.min(), "o", color=COLORS[i])
        ax.set(xlabel=f"{name}\nprediction p")
    axes[0, 0].set_ylabel("−log p(x), nats")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def divergences(
    closed: Mapping[str, tuple[np.ndarray, np.ndarray]],
    sampled: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
) -> Figure:
    """KL to N(0, 1) by one parameter a panel: the closed form's curve, Monte Carlo ± 2 s.e."""
    figure, axes = _axes(1, len(closed), height=3.0, sharey=True)
    for ax, (label, (at, kl)) in zip(axes[0], closed.items(), strict=True):
        ax.plot(at, kl, color=COLORS[0], label="closed form")
        where, mean, error = sampled[label]
        ax.errorbar(where, mean, 2 * error, fmt="o", ms=4, color=COLORS[1], label="Monte Carlo")
        ax.set_xlabel(label)
    axes[0, 0].set_ylabel("KL, nats")
    axes[0, 0].legend()
    return figure


def evidence_bound(at: np.ndarray, bounds: Mapping[str, np.ndarray], evidence: float) -> Figure:
    """ELBO curves over the posterior's mean ``at``, below the evidence log p(x)."""
    figure, axes = _axes(1, 1, height=3.0)
    for i, (label, bound) in enumerate(bounds.items()):
        axes[0, 0].plot(at, bound, DASHES[i], color=COLORS[i], label=label)
    axes[0, 0].axhline(evidence, color="0.2", lw=1.2)
    axes[0, 0].annotate(
        "log p(x)", (at[0], evidence), xytext=(2, 3), textcoords="offset points", size=10
    )
    axes[0, 0].set(xlabel="mean of q(z|x)", ylabel="ELBO, nats", ylim=(evidence - 6, evidence + 1))
    figure.legend(loc="outside upper center", ncols=len(bounds))
    return figure


def densities(at: np.ndarray, curves: Mapping[str, np.ndarray]) -> Figure:
    """Densities over one latent dimension; the first curve is drawn as the reference."""
    figure, axes = _axes(1, 1, height=3.0)
    for i, (label, density) in enumerate(curves.items()):
        color, width = (("0.4", 1.2), (COLORS[i - 1], 2))[i > 0]
        axes[0, 0].plot(at, density, DASHES[i % 4], color=color, lw=width, label=label)
    axes[0, 0].set(xlabel="z", ylabel="density", ylim=(0, None))
    axes[0, 0].legend()
    return figure


# --- training ----------------------------------------------------------------------------------


def loss_curves(
    curves: Mapping[str, tuple[History, str]], terms: Sequence[str] = tuple(TERMS)
) -> Figure:
    """Total, reconstruction and KL by epoch: one line per label, of (history, split)."""
    figure, axes = _axes(1, len(terms), height=3.4)
    for i, (label, (history, split)) in enumerate(curves.items()):
        for ax, term in zip(axes[0], terms, strict=True):
            name = TERMS[term]
            values = history.curve(split, term)
            ax.plot(
                range(1, len(values) + 1),
                values,
                DASHES[i % 4],
                color=COLORS[i],
                label=label,
                marker="o" if len(values) == 1 else None,
            )
            ax.set(xlabel="epoch", ylabel=name)
    figure.supylabel("nats per image", size="medium")
    for ax in axes[0]:
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
        # The first epochs fall from far above; the interesting part is what comes after them.
        later = [
            y for line in ax.lines for y in line.get_ydata()[min(1, len(line.get_ydata()) - 1) :]
        ]
        margin = 0.05 * (max(later) - min(later)) or 1
        ax.set_ylim(min(later) - margin, max(later) + margin)
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=min(3, len(curves)))
    return figure


def learning_rates(runs: Mapping[str, tuple[str, float, int]]) -> Figure:
    """The rate over training: one line per label, of (schedule, rate or peak, epochs)."""
    figure, axes = _axes(1, 1, height=2.4)
    progress = np.linspace(0, 1, 200)
    for i, (label, (schedule, lr, epochs)) in enumerate(runs.items()):
        rates = [SCHEDULES[schedule](p, lr) for p in progress]
        axes[0, 0].plot(progress * epochs, rates, DASHES[i], color=COLORS[i], label=label)
    axes[0, 0].set(xlabel="epoch", ylabel="learning rate", ylim=(0, None))
    axes[0, 0].legend()
    return figure


def picture_rows(rows: Mapping[str, Tensor]) -> Figure:
    """Rows of pictures ``(N, …, 28, 28)``, bytes or [0, 1], each row with its name."""
    columns = len(next(iter(rows.values())))
    figure, axes = _axes(len(rows), columns, height=0.3 + 0.77 * len(rows))
    for line, (name, pictures) in zip(axes, rows.items(), strict=True):
        top = 1 if pictures.is_floating_point() else 255
        for ax, picture in zip(line, pictures, strict=True):
            _picture(ax, picture, vmax=top)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    return figure


def kl_dimensions(kl: Tensor, active: float = 0.01) -> Figure:
    """Mean KL of each latent dimension ``(d,)``, largest first, with the threshold of activity."""
    figure, axes = _axes(1, 1, height=2.8)
    order = kl.argsort(descending=True)
    axes[0, 0].bar(range(len(kl)), kl[order].numpy(), color=COLORS[0])
    axes[0, 0].axhline(active, color=COLORS[3], lw=1.5, label=f"active above {active:g}")
    axes[0, 0].legend()
    axes[0, 0].set(xticks=range(len(kl)), xticklabels=[str(int(i)) for i in order])
    axes[0, 0].set(xlabel="latent dimension, ordered by KL", ylabel="KL, nats per image")
    axes[0, 0].grid(axis="x", visible=False)
    return figure


# --- grids of pictures -------------------------------------------------------------------------


def _mosaic(images: Tensor, columns: int, gap: int = 1) -> np.ndarray:
    """Images ``(N, 1, 28, 28)`` in [0, 1] as one picture with white lines between them."""
    rows = -(-len(images) // columns)
    side = 28 + gap
    picture = np.ones((rows * side - gap, columns * side - gap))
    for i, image in enumerate(np.asarray(images).squeeze(1)):
        down, across = side * (i // columns), side * (i % columns)
        picture[down : down + 28, across : across + 28] = image
    return picture


def picture_grid(images: Tensor, columns: int = 16) -> Figure:
    """Many images ``(N, 1, 28, 28)`` in [0, 1], left to right and top down."""
    rows = -(-len(images) // columns)
    figure, axes = _axes(1, 1, height=0.3 + rows * (WIDTH - 0.2) / columns)
    _picture(axes[0, 0], _mosaic(images, columns))
    return figure


def picture_blocks(blocks: Mapping[str, Tensor], columns: int = 16) -> Figure:
    """Blocks of images below each other, each ``(N, 1, 28, 28)`` with its name above it."""
    rows = -(-len(next(iter(blocks.values()))) // columns)
    figure, axes = _axes(len(blocks), 1, height=0.3 + len(blocks) * (0.3 + rows * 6.8 / columns))
    for ax, (name, images) in zip(axes[:, 0], blocks.items(), strict=True):
        _picture(ax, _mosaic(images, columns))
        ax.set_title(name, loc="left", size="medium", pad=3)
    return figure


def picture_quarters(blocks: Mapping[str, Tensor], columns: int = 4) -> Figure:
    """Four blocks of images in two rows of two, each with its name above it."""
    figure, axes = _axes(2, 2, height=7.3)
    for ax, (name, images) in zip(axes.flat, blocks.items(), strict=True):
        _picture(ax, _mosaic(images, columns))
        ax.set_title(name, loc="left", size="medium", pad=3)
    return figure


def manifold(images: Tensor) -> Figure:
    """The decoded grid of ``latent.manifold``, ``(columns², 1, 28, 28)``."""
    columns = round(len(images) ** 0.5)
    figure, axes = _axes(1, 1, height=7.0)
    picture = _mosaic(images, columns, gap=0)
    _picture(axes[0, 0], picture)
    ticks = 28 * np.array([0.5, columns / 2, columns - 0.5])
    quantiles = [0.5 / columns, 0.5, 1 - 0.5 / columns]
    axes[0, 0].set(xticks=ticks, xticklabels=[f"{100 * q:.0f} %" for q in quantiles])
    axes[0, 0].set(yticks=ticks, yticklabels=[f"{100 * (1 - q):.0f} %" for q in quantiles])
    axes[0, 0].set(xlabel="first latent dimension, quantile of the prior")
    axes[0, 0].set(ylabel="second latent dimension, quantile of the prior")
    return figure


# --- latent space ------------------------------------------------------------------------------


def latent_maps(maps: Mapping[str, Tensor], labels: Tensor, names: Sequence[str]) -> Figure:
    """Codes ``(N, 2)`` coloured by class, a panel per name.

    Each class is named at its median, or, where these lie close together, in a legend.
    """
    figure, axes = _axes(1, len(maps), height=6.4 if len(maps) == 1 else 3.3)
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
            _name_classes(ax, codes, labels, names)
    if crowded:
        handles = [
            Line2D([], [], ls="", marker=MARKERS[i], color=COLORS[i], label=names[label])
            for i, label in enumerate(shown)
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=5, fontsize=9)
    return figure


def _name_classes(ax: Axes, codes: Tensor, labels: Tensor, names: Sequence[str]) -> None:
    """Each class's name at its median, or as far below it as names above leave room."""
    medians = {int(i): codes[labels == i].median(0).values.tolist() for i in labels.unique()}
    width, height = (abs(b - a) for a, b in (ax.get_xlim(), ax.get_ylim()))
    placed = []  # middles and half widths
    for i, (x, y) in sorted(medians.items(), key=lambda item: -item[1][1]):
        half = 0.009 * width * len(names[i]) + 0.01 * width
        for other_x, other_y, other_half in placed:
            if abs(x - other_x) < half + other_half and abs(y - other_y) < 0.045 * height:
                y = other_y - 0.045 * height
        placed.append((x, y, half))
        ax.text(x, y, names[i], size=9, ha="center", va="center", bbox=_LABEL)


def _crowded(codes: Tensor, labels: Tensor) -> bool:
    medians = torch.stack([codes[labels == label].median(0).values for label in labels.unique()])
    return len(medians) > 1 and bool(torch.pdist(medians).min() < 0.5 * codes.std(0).max())


_LABEL = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.8}


def code_densities(codes: Tensor) -> Figure:
    """Each dimension of codes ``(N, d)`` as a thin density, over that of N(0, 1)."""
    figure, axes = _axes(1, 1, height=3.2)
    edges = np.linspace(-4, 4, 65)
    middle = (edges[:-1] + edges[1:]) / 2
    for i, column in enumerate(codes.numpy().T):
        density, _ = np.histogram(column, edges, density=True)
        label = "aggregate posterior, one line per dimension" if i == 0 else None
        axes[0, 0].plot(middle, density, color=COLORS[0], lw=0.8, alpha=0.6, label=label)
    normal = np.exp(-(middle**2) / 2) / np.sqrt(2 * np.pi)
    axes[0, 0].plot(middle, normal, "--", color="0.1", lw=2, label="prior N(0, 1)")
    axes[0, 0].set(xlabel="z", ylabel="density", ylim=(0, None))
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def lengths(observed: Mapping[str, np.ndarray], dimensions: int) -> Figure:
    """Histograms of ‖z‖ by name, over the prior's own density of ``dimensions`` dimensions."""
    from scipy.stats import chi

    figure, axes = _axes(1, 1, height=3.2)
    top = max(float(np.max(values)) for values in observed.values())
    edges = np.linspace(0, 1.02 * max(top, 2 * dimensions**0.5), 121)
    for i, (label, values) in enumerate(observed.items()):
        density, _ = np.histogram(values, edges, density=True)
        axes[0, 0].stairs(density, edges, color=COLORS[i], ls=DASHES[i % 4], lw=1.5, label=label)
    at = np.linspace(0, edges[-1], 300)
    axes[0, 0].plot(at, chi(dimensions).pdf(at), color="0.2", lw=1, label="the prior's shell")
    axes[0, 0].set(xlabel="‖z‖", ylabel="density", ylim=(0, 1.2))
    figure.legend(loc="outside upper center", ncols=5, fontsize=9)
    return figure


def distances(observed: Mapping[str, Tensor], xlabel: str) -> Figure:
    """Densities of positive numbers by name, on a common axis."""
    figure, axes = _axes(1, 1, height=3.2)
    edges = np.linspace(0, max(float(v.max()) for v in observed.values()), 80)
    for i, (label, values) in enumerate(observed.items()):
        density, _ = np.histogram(values.numpy(), edges, density=True)
        axes[0, 0].stairs(density, edges, color=COLORS[i], ls=DASHES[i % 4], lw=1.8, label=label)
    axes[0, 0].set(xlabel=xlabel, ylabel="density")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


# --- evaluation --------------------------------------------------------------------------------


def class_bars(by_class: Mapping[str, Estimate], xlabel: str) -> Figure:
    """A bar with its standard error for each class, longest first."""
    figure, axes = _axes(1, 1, height=3.6)
    order = sorted(by_class, key=lambda name: -by_class[name].value)
    values = [by_class[name].value for name in order]
    bars = axes[0, 0].barh(
        order, values, xerr=[by_class[name].error or 0 for name in order], color=COLORS[0]
    )
    axes[0, 0].bar_label(bars, fmt="{:.0f}", padding=6, size=9)
    axes[0, 0].set(xlabel=xlabel)
    axes[0, 0].margins(x=0.1)
    axes[0, 0].invert_yaxis()
    axes[0, 0].grid(axis="y", visible=False)
    return figure


def error_images(errors: Tensor, names: Sequence[str]) -> Figure:
    """Mean squared error of each pixel ``(classes, 28, 28)``, on one scale."""
    half = -(-len(names) // 2)
    figure, axes = _axes(2, half, height=3.7)
    for ax in axes.flat:
        ax.axis("off")
    for ax, image, name in zip(axes.flat, errors, names, strict=False):
        ax.axis("on")
        _picture(ax, image, vmax=float(errors.max()), cmap="magma")
        ax.set_xlabel(name)
    drawn = axes[0, 0].images[0]
    figure.colorbar(drawn, ax=axes, label="mean squared error", shrink=0.8)
    return figure


def likelihood_bounds(bounds: Mapping[int, Estimate]) -> Figure:
    """−log p(x) as bounded with K samples, by K."""
    figure, axes = _axes(1, 1, height=3.2)
    values = [bound.value for bound in bounds.values()]
    axes[0, 0].errorbar(
        list(bounds),
        values,
        [bound.error or 0 for bound in bounds.values()],
        fmt="o-",
        color=COLORS[0],
        capsize=3,
    )
    axes[0, 0].set(xscale="log", xlabel="importance samples K", ylabel="bound, nats per image")
    return figure


def confusion_matrix(counts: Tensor, names: Sequence[str]) -> Figure:
    """How many of each class (row) were called each class (column); the colours are logarithmic."""
    import seaborn as sns  # a second, which most figures do without

    figure, axes = _axes(1, 1, height=5.6)
    sns.heatmap(
        counts.numpy() + 0.5,
        ax=axes[0, 0],
        annot=counts.numpy(),
        fmt="d",
        cmap="Blues",
        norm=LogNorm(),
        cbar=False,
        annot_kws={"size": 9},
        xticklabels=names,
        yticklabels=names,
    )
    axes[0, 0].set(xlabel="predicted", ylabel="true")
    axes[0, 0].tick_params(axis="x", rotation=45)
    for label in axes[0, 0].get_xticklabels():
        label.set_ha("right")
    return figure


def reliability(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> Figure:
    """Accuracy by confidence, before and after calibration, as ``classifier.calibration`` gives."""
    figure, axes = _axes(1, 1, height=3.4)
    axes[0, 0].plot([0, 1], [0, 1], color="0.5", lw=1, label="perfect calibration")
    named = {"before": before, "after": after}
    for i, (label, bins) in enumerate(named.items()):
        many = bins["count"] >= 10  # fewer say nothing
        axes[0, 0].plot(
            bins["confidence"][many],
            bins["accuracy"][many],
            DASHES[i] + MARKERS[i],
            color=COLORS[i],
            label=label,
        )
    axes[0, 0].set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    figure.legend(loc="outside upper center", ncols=3)
    return figure


def corruption_scores(
    scores: Mapping[str, Mapping[str, Mapping[float, float]]], marks: Mapping[str, float]
) -> Figure:
    """Score against strength: a row per kind of features, a column per corruption.

    scores: features → corruption → strength → score; marks: features → the samples' score.
    """
    kinds = list(next(iter(scores.values())))
    figure, axes = _axes(len(scores), len(kinds), height=4.6, sharey="row", sharex="col")
    for row, (features, by_kind) in zip(axes, scores.items(), strict=True):
        for ax, kind in zip(row, kinds, strict=True):
            curve = by_kind[kind]
            ax.plot(list(curve), list(curve.values()), "o-", color=COLORS[0], ms=4)
            ax.axhline(marks[features], ls="--", color=COLORS[3], label="samples of the VAE")
        row[0].set_ylabel(features)
    for ax, kind in zip(axes[-1], kinds, strict=True):
        ax.set_xlabel(kind)
    for ax in axes.flat:
        ax.set_ylim(0, None)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center")
    return figure


def size_bias(curves: Mapping[str, Mapping[int, Estimate]], limits: Mapping[str, float]) -> Figure:
    """Fréchet distance against 1/N, a panel per name, with the line that meets N = ∞."""
    figure, axes = _axes(1, len(curves), height=3.2)
    for ax, (label, by_size) in zip(axes[0], curves.items(), strict=True):
        inverse = [1_000 / size for size in by_size]
        values = [one.value for one in by_size.values()]
        ax.errorbar(
            inverse,
            values,
            [one.error or 0 for one in by_size.values()],
            fmt="o",
            color=COLORS[0],
            capsize=3,
            label="mean ± sd",
        )
        slope, start = np.polyfit(inverse, values, 1)
        at = np.array([0, max(inverse)])
        ax.plot(at, start + slope * at, "--", color="0.4")
        ax.plot(0, limits[label], "s", color=COLORS[1], clip_on=False, label="N = ∞")
        ax.set(xlabel=f"{label}\n1,000 / N", ylabel="Fréchet distance", ylim=(0, None))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def sweep(panels: Mapping[str, Mapping[float, Estimate]], xlabel: str, mark: float) -> Figure:
    """Measured values against a setting, four panels, with a line where it equals ``mark``."""
    figure, axes = _axes(2, 2, height=4.8, sharex=True)
    for ax, (label, curve) in zip(axes.flat, panels.items(), strict=True):
        ax.errorbar(
            list(curve),
            [one.value for one in curve.values()],
            [one.error or 0 for one in curve.values()],
            fmt="o-",
            ms=4,
            color=COLORS[0],
        )
        ax.axvline(mark, ls="--", color="0.5", lw=1)
        ax.set(ylabel=label, ylim=(0, None))
    for ax in axes[-1]:
        ax.set_xlabel(xlabel)
    return figure


# --- comparisons -------------------------------------------------------------------------------


def gallery(rows: Mapping[str, tuple[Tensor, Tensor]], columns: tuple[str, str]) -> Figure:
    """Two strips of pictures ``(N, 1, 28, 28)`` a row, each row with its name, both columns too."""
    height = 0.4 + 0.4 * len(rows)
    figure, axes = _axes(1, 2, height=height)
    strips = zip(*rows.values(), strict=True)
    for ax, strip, title in zip(axes[0], strips, columns, strict=True):
        _picture(ax, _mosaic(torch.cat(strip), columns=len(strip[0])))
        ax.set_title(title, size="medium", pad=4)
    at = 13.5 + 29 * np.arange(len(rows))
    axes[0, 0].set_yticks(at, rows, size=9)
    axes[0, 0].tick_params(axis="y", length=0)
    return figure


def picture_table(rows: Mapping[str, Tensor], columns: Sequence[str]) -> Figure:
    """Rows of pictures ``(N, 1, 28, 28)``, each with its name, under ``columns`` of N names."""
    figure, axes = _axes(1, 1, height=0.9 + 6.0 * len(rows) / len(columns))
    _picture(axes[0, 0], _mosaic(torch.cat(list(rows.values())), columns=len(columns)))
    axes[0, 0].xaxis.tick_top()
    axes[0, 0].set_xticks(13.5 + 29 * np.arange(len(columns)), columns, size=8, rotation=30)
    for label in axes[0, 0].get_xticklabels():
        label.set_ha("left")
    axes[0, 0].set_yticks(13.5 + 29 * np.arange(len(rows)), rows, size=9)
    axes[0, 0].tick_params(length=0)
    return figure


def rate_distortion(
    points: Mapping[str, tuple[float, float]], path: Sequence[tuple[float, float]] = ()
) -> Figure:
    """KL (rate) against reconstruction (distortion) in nats, each point with its name.

    Grey lines join equal sums, that is, equal −ELBO. ``path`` is drawn as a curve below.
    """
    figure, axes = _axes(1, 1, height=4.6)
    ax = axes[0, 0]
    if path:
        ax.plot(*zip(*path, strict=True), "-", color="0.6", lw=1.5, zorder=1)
    rates, distortions = zip(*[*points.values(), *path], strict=True)
    for i, (name, (rate, distortion)) in enumerate(points.items()):
        color = COLORS[(i + i // 10) % 10]  # an eleventh model has its own pair, too
        ax.plot(rate, distortion, MARKERS[i % 10], color=color, label=name)
    ax.margins(0.1)
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    sums = np.add.outer(np.array(rates), 0) + np.array(distortions)
    for total in MaxNLocator(6).tick_values(sums.min(), sums.max()):
        ax.plot([left, right], [total - left, total - right], ":", color="0.7", lw=1, zorder=0)
        at = np.clip(total - high, left, right)  # where the line leaves the picture on top
        if low < total - at <= high:
            ax.annotate(
                f"{total:g}", (at, total - at), xytext=(3, -3), textcoords="offset points",
                size=8, color="0.4", va="top",
            )  # fmt: skip
    ax.set(xlim=(left, right), ylim=(low, high))
    ax.set(xlabel="rate: KL, nats per image", ylabel="distortion: reconstruction, nats")
    figure.legend(loc="outside right upper", fontsize=8)
    return figure


def compression(
    curves: Mapping[str, Sequence[tuple[float, float]]], lossless: Mapping[str, float]
) -> Figure:
    """Signal-to-noise ratio against bits per pixel: a curve of (bits, decibels) per coder.

    Dotted lines mark the bits of ``lossless`` coders.
    """
    figure, axes = _axes(1, 1, height=4.0)
    for i, (name, points) in enumerate(curves.items()):
        bits, decibels = zip(*sorted(points), strict=True)
        axes[0, 0].plot(
            bits, decibels, DASHES[i % 4] + MARKERS[i], ms=5, color=COLORS[i], label=name
        )
    for name, bits in lossless.items():
        axes[0, 0].axvline(bits, ls=":", color="0.4")
        axes[0, 0].annotate(
            f"{name}, lossless", (bits, 0.98), xycoords=("data", "axes fraction"), xytext=(-4, 0),
            textcoords="offset points", rotation=90, ha="right", va="top", size=9,
        )  # fmt: skip
    axes[0, 0].set(xscale="log", xlabel="bits per pixel", ylabel="signal-to-noise ratio, dB")
    figure.legend(loc="outside upper center", ncols=3, fontsize=10)
    return figure


def two_scores(
    points: Mapping[str, tuple[Estimate, Estimate]], labels: tuple[str, str], floor: float
) -> Figure:
    """Two scores of each model with their errors, each point with its name; both better if low.

    A dotted line marks the ``floor`` of the second one.
    """
    figure, axes = _axes(1, 1, height=4.6)
    for i, (name, (x, y)) in enumerate(points.items()):
        axes[0, 0].errorbar(
            x.value,
            y.value,
            xerr=x.error,
            yerr=y.error,
            fmt=MARKERS[i % 10],
            color=COLORS[(i + i // 10) % 10],  # an eleventh model has its own pair, too
            label=name,
        )
    axes[0, 0].axhline(floor, ls=":", color="0.4", label="floor")
    axes[0, 0].set(xlabel=labels[0], ylabel=labels[1], ylim=(0, None))
    figure.legend(loc="outside right upper", fontsize=8)
    return figure


def curves_by_setting(
    panels: Mapping[str, Mapping[str, Mapping[float, Estimate]]], xlabel: str, columns: int = 2
) -> Figure:
    """Measured values against a setting on a logarithmic axis: panel → series → setting → value.

    Bars are standard deviations over seeds.
    """
    rows = -(-len(panels) // columns)
    figure, axes = _axes(rows, columns, height=0.4 + 2.2 * rows, sharex=True)
    for ax, (label, series) in zip(axes.flat, panels.items(), strict=False):
        for i, (name, curve) in enumerate(series.items()):
            ax.errorbar(
                list(curve),
                [one.value for one in curve.values()],
                [one.error or 0 for one in curve.values()],
                fmt=MARKERS[i] + DASHES[i % 4],
                ms=4,
                capsize=2,
                color=COLORS[i],
                label=name,
            )
        ax.set(ylabel=label, xscale="log")
        settings = list(next(iter(series.values())))
        if len(settings) <= 6:
            ax.set_xticks(settings, [f"{at:g}" for at in settings])
            ax.xaxis.set_minor_locator(NullLocator())
    for ax in axes.flat[len(panels) :]:
        ax.axis("off")
    for ax in axes[-1]:
        ax.set_xlabel(xlabel)
    if len(next(iter(panels.values()))) > 1:
        handles = axes[0, 0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside upper center", ncols=4)
    return figure


def spreads(panels: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """How far each value is from its row's mean: panel → row → values, first one a ring.

    Grey bars reach one standard deviation to either side.
    """
    rows = list(next(iter(panels.values())))
    figure, axes = _axes(1, len(panels), height=0.9 + 0.3 * len(rows), sharey=True)
    for ax, (label, by_row) in zip(axes[0], panels.items(), strict=True):
        for at, values in enumerate(np.asarray(by_row[row]) for row in rows):
            off, spread = values - values.mean(), values.std(ddof=1)
            ax.barh(at, 2 * spread, left=-spread, height=0.5, color="0.85")
            ax.plot(off[1:], np.full(len(off) - 1, at), "o", ms=5, color=COLORS[0], alpha=0.8)
            ax.plot(off[0], at, "o", ms=7, mfc="none", mew=1.5, color=COLORS[3])
        ax.axvline(0, color="0.4", lw=1)
        ax.set(xlabel=label, yticks=range(len(rows)), ylim=(len(rows) - 0.4, -0.6))
        ax.set_yticklabels(rows)
        ax.grid(axis="y", visible=False)
    return figure


def intervals(
    differences: Mapping[str, Difference], survives: Mapping[str, bool], xlabel: str
) -> Figure:
    """A difference with its interval a row, and a line at none; filled markers are survivors."""
    figure, axes = _axes(1, 1, height=0.9 + 0.26 * len(differences))
    ax = axes[0, 0]
    for at, (name, one) in enumerate(differences.items()):
        color = COLORS[0] if survives[name] else COLORS[3]
        ax.plot([one.low, one.high], [at, at], "-", color=color, lw=2)
        ax.plot(one.value, at, "o", color=color, mfc=color if survives[name] else "white", mew=1.5)
    ax.axvline(0, color="0.4", lw=1)
    ax.set(xlabel=xlabel, yticks=range(len(differences)), ylim=(len(differences) - 0.4, -0.6))
    ax.set_yticklabels(differences)
    ax.grid(axis="y", visible=False)
    return figure


def kl_spectra(spectra: Mapping[str, Tensor]) -> Figure:
    """KL of each latent dimension ``(d,)`` in nats, largest first: a line per model."""
    figure, axes = _axes(1, 1, height=3.2)
    for i, (name, kl) in enumerate(spectra.items()):
        ordered = kl.sort(descending=True).values.clamp(min=1e-4)
        axes[0, 0].plot(
            range(1, len(kl) + 1), ordered, DASHES[i % 4] + MARKERS[i], color=COLORS[i], label=name
        )
    axes[0, 0].set(yscale="log", xlabel="latent dimensions, ordered by KL")
    axes[0, 0].set(ylabel="KL, nats per image")
    axes[0, 0].xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside upper center", ncols=4)
    return figure


def latent_plane(
    values: Tensor, reach: float, codes: Tensor, labels: Tensor, names: Sequence[str], label: str
) -> Figure:
    """A value over the latent plane ``(n, n)`` from −reach to reach, with the classes' medians.

    Rows of ``values`` run from the top, as ``latent.plane`` lays them out; NaN is left white. The
    classes' names stand at the medians of codes ``(N, 2)``.
    """
    figure, axes = _axes(1, 1, height=5.6)
    ax = axes[0, 0]
    drawn = ax.imshow(values.numpy(), extent=(-reach, reach, -reach, reach), cmap="viridis")
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach))
    _name_classes(ax, codes, labels, names)
    ax.set(xlabel="first latent dimension", ylabel="second latent dimension")
    ax.grid(False)
    figure.colorbar(drawn, label=label, shrink=0.9)
    return figure


def beta_schedules(schedules: Mapping[str, Callable[[float], float]]) -> Figure:
    """β over training's progress: a line per schedule."""
    figure, axes = _axes(1, 1, height=2.4)
    progress = np.linspace(0, 1, 401)
    for i, (name, schedule) in enumerate(schedules.items()):
        line = [schedule(at) for at in progress]
        axes[0, 0].plot(progress, line, DASHES[i % 4], color=COLORS[i], label=name)
    axes[0, 0].set(xlabel="progress of training", ylabel="β", ylim=(0, None))
    figure.legend(loc="outside upper center", ncols=4)
    return figure
