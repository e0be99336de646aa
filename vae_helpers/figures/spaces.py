"""A model and its latent space: how data flows, and where the codes of images lie."""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from vae_helpers.figures.style import COLORS, MARKERS, panel, panels, styled

LABEL = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.8}


@styled
def data_flow(latent: int, shape: tuple[int, int, int] = (1, 28, 28)) -> Figure:
    """The VAE as boxes and arrows, for so many latent dimensions and images of that shape."""
    figure, ax = panel(2.9)
    ax.set(xlim=(0, 16), ylim=(0, 5.6), aspect="equal")
    ax.axis("off")
    size = "×".join(map(str, shape))
    boxes = {
        name: ax.text(
            x, y, text, size=10, ha="center", va="center",
            bbox={"boxstyle": "round,pad=0.5", "fc": COLORS[color], "ec": "none", "alpha": 0.25},
        )
        for name, x, y, text, color in (
            ("image", 1, 3, f"image x\n{size}", 7),
            ("encoder", 3.6, 3, "encoder\n$q(z\\,|\\,x)$", 0),
            ("mean", 6.4, 4.3, f"μ\n{latent}", 2),
            ("variance", 6.4, 1.7, f"log σ²\n{latent}", 2),
            ("code", 9.5, 3, "z = μ + σ⊙ε\nsample", 1),
            ("noise", 9.5, 0.7, "ε ~ N(0, I)", 7),
            ("decoder", 12.5, 3, "decoder\n$p(x\\,|\\,z)$", 0),
            ("logits", 15, 3, f"logits\n{size}", 7),
        )
    }  # fmt: skip
    arrows = "image-encoder encoder-mean encoder-variance mean-code variance-code noise-code"
    for pair in f"{arrows} code-decoder decoder-logits".split():
        start, end = (boxes[name] for name in pair.split("-"))
        look = {"arrowstyle": "-|>", "color": "0.3", "patchA": start.get_bbox_patch()}
        look |= {"patchB": end.get_bbox_patch(), "shrinkA": 2, "shrinkB": 2}
        ax.annotate("", end.get_position(), start.get_position(), arrowprops=look)
    return figure


@styled
def latent_maps(maps: Mapping[str, Tensor], labels: Tensor, names: Sequence[str]) -> Figure:
    """Codes ``(N, 2)`` coloured by class, a panel per name.

    Each class is named at its median, or, where these lie close together, in a legend.
    """
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
        ax.text(x, y, names[i], size=9, ha="center", va="center", bbox=LABEL)


def _crowded(codes: Tensor, labels: Tensor) -> bool:
    medians = torch.stack([codes[labels == label].median(0).values for label in labels.unique()])
    return len(medians) > 1 and bool(torch.pdist(medians).min() < 0.5 * codes.std(0).max())


@styled
def latent_plane(
    values: Tensor, reach: float, codes: Tensor, labels: Tensor, names: Sequence[str], label: str
) -> Figure:
    """A value over the latent plane ``(n, n)`` from −reach to reach, with the classes' medians.

    Rows of ``values`` run from the top, as ``latent.plane`` lays them out; NaN is left white. The
    classes' names stand at the medians of codes ``(N, 2)``.
    """
    figure, ax = panel(5.6)
    drawn = ax.imshow(values.numpy(), extent=(-reach, reach, -reach, reach), cmap="viridis")
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach))
    _name_classes(ax, codes, labels, names)
    ax.set(xlabel="first latent dimension", ylabel="second latent dimension")
    ax.grid(False)
    figure.colorbar(drawn, label=label, shrink=0.9)
    return figure
