"""How every figure looks: that all of it can be read, and that it does so in its own style."""

import ast
import inspect
import io
import itertools
import math
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from vae_helpers import figures, films
from vae_helpers.data import FASHION_CLASSES, garments
from vae_helpers.losses import LIKELIHOODS
from vae_helpers.training import History

SIGNATURE = 0.11  # inches from the bottom that an author's name takes
SIZES = (8, 13.5)  # points of letters, smallest and largest


@dataclass(frozen=True)
class Number:
    """What figures ask of an ``Estimate``."""

    value: float
    error: float | None = None


def hundred(count: int = 64) -> torch.Tensor:
    return garments(count, seed=7)[:][0]


def grey(count: int = 64) -> torch.Tensor:
    return garments(count, seed=7)[:][0]


def rgb(count: int, height: int = 32, width: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, 3, height, width), generator=generator, dtype=torch.uint8)


def codes(count: int = 300, d: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.randn((count, d), generator=torch.Generator().manual_seed(seed))


def history(epochs: int, start: float = 500.0) -> History:
    columns = ("epoch", "split", "total", "reconstruction", "kl")
    epochs = [
        (epoch, split, 242 + i + start / epoch**2, 226 + i + start / epoch**2, 16 - 10 / epoch)
        for epoch in range(1, epochs + 1)
        for i, split in enumerate(("train", "validation", "test"))
    ]
    return History([dict(zip(columns, values, strict=True)) for values in epochs])


def latent_maps(count: int, classes: int) -> Figure:
    labels = torch.arange(300) % classes
    centres = 6 * codes(classes, seed=1)[labels]
    maps = {name: codes() + centres for name in ("PCA", "t-SNE", "UMAP")[:count]}
    return figures.latent_maps(maps, labels, FASHION_CLASSES)


def swept(settings, lines: int, panels: int) -> Figure:
    curve = {s: Number(240 + 10 / (1 + s), 0.3) for s in settings}
    labels = ("−ELBO, nats", "Fréchet distance", "KL (rate), nats", "mutual information, nats")
    series = {f"series {i}": curve for i in range(lines)}
    return figures.curves(dict.fromkeys(labels[:panels], series), "latent dimensions", xscale="log")


X = np.linspace(0, 1, 50)
CODERS = ("dense2", "conv16-one-cycle", "residual32", "64 principal components", "JPEG files")
# Each figure with the longest names, the most panels and the most that it has to say in the book …
MOST = {
    "bars": lambda: figures.bars(
        {
            group: {name: Number(10_000.0 - size, 900.0) for name in FASHION_CLASSES}
            for group, size in (("Fashion-MNIST, train", 4_000), ("Fashion-MNIST, test", 9_000))
        },
        "images",
        ranked=True,
        marks={"active": 60},
    ),
    "curves": lambda: swept((2, 4, 8, 16, 32, 64), 3, 4),
    "curves with a legend beside them": lambda: figures.curves(
        {
            "Fréchet distance": {
                f"conditional-{i}": {Number(i, 0.2): Number(1.3**i, 0.3)} for i in range(14)
            }
        },
        "−ELBO, nats",
        height=4.6,
        joined=False,
        levels={"training images": 0.2},
    ),
    "curves in columns": lambda: figures.curves(
        {
            (f"{name}\nprediction p", "−log p(x), nats"): {
                f"x = {x:g}": (X, (X - x) ** 2) for x in (0, 0.25, 0.5, 1)
            }
            for name in LIKELIHOODS
        },
        columns=4,
        height=3.2,
    ),
    "histograms": lambda: figures.histograms(
        {
            f"{model}, {what}": codes(500, 3, i).norm(dim=1)
            for i, (model, what) in enumerate(
                itertools.product(("VAE", "autoencoder"), ("codes", "draws"))
            )
        },
        "distance to the nearest code, in medians of held-out codes",
    ),
    "latent_maps": lambda: latent_maps(3, 10),
    "loss_curves": lambda: figures.loss_curves(
        {
            f"{name}, {split}": (history(25, start=start), split)
            for name, start in (("constant rate", 500), ("one-cycle", 900))
            for split in ("train", "test")
        }
    ),
    "manifold": lambda: figures.manifold(grey(225)),
    "matrix": lambda: figures.matrix(
        torch.diag(torch.full((10,), 950)) + 5,
        FASHION_CLASSES,
        log=True,
        fmt="d",
        xlabel="predicted",
        ylabel="true",
        label="images",
    ),
    "picture_grid": lambda: figures.picture_grid(
        {f"autoencoder, mixture of ten {i}": grey(16) for i in range(4)}, columns=4, across=2
    ),
    "picture_rows": lambda: figures.picture_rows(
        {name: grey(11) for name in FASHION_CLASSES[:6]},
        ("original", *sorted(FASHION_CLASSES, key=len)),
    ),
    "picture_rows in parts": lambda: figures.picture_rows(
        {f"dense20-validated {i}": rgb(16) for i in range(12)}, ("reconstructions", "samples")
    ),
}
# … and with the fewest, as far as it can be told from another one.
FEWEST = {
    "bars": lambda: figures.bars({"": {"KL": 0.5}}, "nats"),
    "curves": lambda: figures.curves(
        {"ratio, dB": {name: {0.1 + i: i, 9: 10 + i} for i, name in enumerate(CODERS)}},
        "bits per pixel",
        marks={"PNG, lossless": 4.6},
        levels={"log p(x)": 12.5},
        xscale="log",
    ),
    "histograms": lambda: figures.histograms({"codes": codes(500)}, "z", span=(-4, 4)),
    "latent_maps": lambda: latent_maps(1, 10),
    "loss_curves": lambda: figures.loss_curves({"test": (history(1), "test")}),
    "manifold": lambda: figures.manifold(rgb(4, 17, 23)),
    "matrix": lambda: figures.matrix(np.eye(2), ["a", "b"]),
    "picture_grid": lambda: figures.picture_grid(rgb(3, 17, 23), columns=3),
    "picture_rows": lambda: figures.picture_rows({"epoch 1": rgb(10)}),
}
DRAWING = {
    name
    for name in figures.__all__
    if getattr(getattr(figures, name), "__annotations__", {}).get("return") in (Figure, "Figure")
}


def test_every_figure_is_looked_at_here():
    assert {name.split()[0] for name in MOST} == set(FEWEST) == DRAWING


def showing(path: Path) -> Iterator[str]:
    """What the tests of this file are marked to show, where they do call it."""
    for test in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for mark in getattr(test, "decorator_list", []):
            if ast.unparse(mark).startswith("pytest.mark.shows("):
                nodes = list(ast.walk(test))
                called = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
                called |= {node.id for node in nodes if isinstance(node, ast.Name)}
                yield from (name.value for name in mark.args if name.value in called)


def test_every_public_function_of_figures_and_films_has_a_test_of_what_it_shows():
    public = {name for name in figures.__all__ if callable(getattr(figures, name))}
    public |= {
        name
        for name, one in inspect.getmembers(films, inspect.isfunction)
        if one.__module__ == films.__name__ and not name.startswith("_")
    }
    tests = Path(__file__).parent
    files = ("test_charts.py", "test_films.py", "test_pictures.py", Path(__file__).name)
    assert public == {name for file in files for name in showing(tests / file)}


# --- how it looks -------------------------------------------------------------------------------


def seen(figure: Figure) -> list[Text]:
    """Every text of the figure but those of ticks and axes that are not drawn."""
    hidden = set()
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            slack = 1e-9 * (high - low)
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if not low - slack <= tick.get_loc() <= high + slack:
                    hidden |= {tick.label1, tick.label2}
            if not (ax.axison and ax.get_visible()):
                hidden |= set(axis.findobj(Text))
    texts = figure.findobj(Text)
    return [t for t in texts if t.get_visible() and t.get_text().strip() and t not in hidden]


@figures.style()  # the number of ticks depends on the size of letters
def faults(figure: Figure) -> list:
    """What of a figure cannot be read: what is cut off, hidden, too small or out of shape."""
    (width, height), renderer = figure.get_size_inches(), FigureCanvasAgg(figure).get_renderer()
    box = figure.get_tightbbox(renderer)
    inside = box.x0 >= -0.01 and box.x1 <= width + 0.01
    found = [] if inside and box.y0 >= SIGNATURE and box.y1 <= height + 0.01 else [box]
    texts = seen(figure)
    found += [text for text in texts if not SIZES[0] <= text.get_fontsize() <= SIZES[1]]
    # The box of a slanted text is larger than the text; slanted ones are left out.
    straight = [text for text in texts if text.get_rotation() % 90 == 0]
    plots = [ax for ax in figure.axes if ax.get_visible()]
    apart = [straight, [*plots, *figure.legends]]
    for group in apart:
        boxes = [(one, one.get_window_extent(renderer).padded(-1)) for one in group]
        pairs = itertools.combinations(boxes, 2)
        found += [(one, other) for (one, at), (other, there) in pairs if at.overlaps(there)]
    for ax in plots:
        for image in ax.images:
            high, wide = image.get_array().shape[:2]
            at = image.get_window_extent(renderer)
            if not math.isclose(at.height / at.width, high / wide, rel_tol=0.02):
                found.append((image, at))
    return found


@pytest.mark.parametrize(
    ("name", "draw"),
    [*MOST.items(), *FEWEST.items()],
    ids=[f"{name}, most" for name in MOST] + [f"{name}, fewest" for name in FEWEST],
)
def test_a_figure_has_the_pages_width_and_all_of_it_can_be_read(name, draw):
    known = plt.get_fignums()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # printed to stderr, which chapters are compared by
        figure = draw()
        figure.draw_without_rendering()  # names find room once pictures have their place
        FigureCanvasAgg(figure).draw()
    assert plt.get_fignums() == known  # none lingers
    assert figure.get_gid() == f"figures.{name.split()[0]}"
    width, height = figure.get_size_inches()
    assert width == figures.WIDTH
    picture = np.array(figure.canvas.buffer_rgba())[..., :3]
    assert picture.shape[:2] == (math.floor(height * 100 + 1e-6), width * 100)  # pixels
    assert picture.std() > 2  # something is drawn
    assert not faults(figure)


def test_what_cannot_be_read_is_found():
    def spoilt(change) -> list:
        figure = FEWEST["curves"]()
        change(figure)
        figure.draw_without_rendering()
        return faults(figure)

    assert not spoilt(lambda figure: None)
    assert spoilt(lambda figure: figure.axes[0].xaxis.label.set_size(22))
    assert spoilt(lambda figure: figure.axes[0].xaxis.label.set_size(4))
    assert spoilt(lambda figure: figure.legends[0].set_loc("center"))
    assert spoilt(lambda figure: figure.text(1.0, 0.5, "cut off"))
    assert spoilt(lambda figure: figure.axes[0].set_xticks([1, 1.01], ["one", "other"]))
    stretched = FEWEST["manifold"]()
    stretched.axes[0].set_aspect("auto")
    stretched.draw_without_rendering()
    assert faults(stretched)


# --- whose style --------------------------------------------------------------------------------

HOSTILE = {
    "text.usetex": True,  # would fail here, without LaTeX
    "text.hinting": "none",
    "text.color": "white",
    "mathtext.fontset": "cm",
    "font.family": "serif",
    "font.size": 20,
    "lines.linewidth": 5,
    "errorbar.capsize": 9,
    "image.cmap": "hot",
    "image.origin": "lower",
    "image.interpolation": "bicubic",
    "path.simplify": False,
    "path.sketch": (1, 100, 2),
    "axes.facecolor": "black",
    "axes.labelcolor": "white",
    "axes.unicode_minus": False,
    "axes.autolimit_mode": "round_numbers",
    "axes.formatter.limits": (0, 0),
    "axes.prop_cycle": matplotlib.cycler(color="rgb"),
    "xtick.minor.visible": True,
    "ytick.direction": "in",
    "ytick.labelsize": 30,
    "grid.color": "red",
    "legend.frameon": True,
    "legend.fontsize": 30,
    "figure.dpi": 50,
    "figure.autolayout": True,
    "figure.facecolor": "black",
    "figure.constrained_layout.h_pad": 1,
    "savefig.dpi": 30,
    "savefig.bbox": "tight",
    "savefig.facecolor": "black",
    "savefig.transparent": True,
}


def saved(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def rc_params() -> dict:
    return {key: value for key, value in matplotlib.rcParams.items() if key != "backend"}


@pytest.mark.parametrize("name", sorted(DRAWING))
def test_nobodys_matplotlibrc_changes_a_figure_and_no_figure_changes_anybodys(name):
    plain = FEWEST[name]()
    once, again = saved(plain), saved(plain)  # a layout may settle further
    with matplotlib.rc_context(HOSTILE):
        before = rc_params()
        figure = FEWEST[name]()
        assert saved(figure) == once
        assert rc_params() == before
    assert saved(figure) == again


def test_a_figure_drawn_before_anybodys_style_keeps_its_own():
    once, layout = saved(figure := swept((2, 4, 8), 2, 2)), figure.get_tightbbox().bounds
    FigureCanvasAgg(shown := swept((2, 4, 8), 2, 2)).draw()
    buffer = np.array(shown.canvas.buffer_rgba())
    figure, shown = swept((2, 4, 8), 2, 2), swept((2, 4, 8), 2, 2)
    with matplotlib.rc_context(HOSTILE):
        assert saved(figure) == once
        assert figure.get_tightbbox().bounds == layout
        # A window or a notebook draws on a canvas and saves nothing.
        FigureCanvasAgg(shown).draw()
        assert shown.get_tightbbox().bounds == layout
        assert np.array_equal(shown.canvas.buffer_rgba(), buffer)


@pytest.mark.shows("styled")
def test_a_pages_own_figure_has_the_style_and_no_address():
    @figures.styled
    def dots():
        figure, ax = figures.panel(2.0)
        ax.plot([1, 2], [0, 1], "o")
        figures.name_rows(ax, "ab")
        return figure

    once = saved(figure := dots())
    assert figure.get_gid() is None
    with matplotlib.rc_context(HOSTILE):
        assert saved(dots()) == once


def test_a_figure_that_fails_leaves_matplotlib_as_it_was():
    with matplotlib.rc_context(HOSTILE):
        before = rc_params()
        with pytest.raises(ValueError, match="pixels"):
            figures.picture_grid(torch.full((4, 1, 8, 8), 2.0))
        assert rc_params() == before


def test_with_a_matplotlibrc_of_ones_own_importing_and_drawing_change_nothing(tmp_path):
    (tmp_path / "matplotlibrc").write_text(
        "text.usetex: True\nfont.family: serif\naxes.facecolor: black\nsavefig.dpi: 30\n"
    )
    code = """
import sys, matplotlib
before = dict(matplotlib.rcParams.copy())
assert before["text.usetex"]
from vae_helpers import figures, films
assert dict(matplotlib.rcParams.copy()) == before
assert not {"seaborn", "matplotlib.pyplot", "scipy", "press"} & set(sys.modules), sys.modules
figure = figures.curves({"−ELBO": {"a": ([0, 1], [0, 1e-4])}}, "x")
figure.savefig(sys.argv[1], metadata={"Software": None})
"""
    subprocess.run(
        [sys.executable, "-c", code, tmp_path / "figure.png"],
        env=os.environ | {"MATPLOTLIBRC": str(tmp_path)},
        check=True,
    )
    figure = figures.curves({"−ELBO": {"a": ([0, 1], [0, 1e-4])}}, "x")
    assert (tmp_path / "figure.png").read_bytes() == saved(figure)


@pytest.mark.shows("style")
def test_the_style_begins_at_its_with_and_ends_after_it():
    with matplotlib.rc_context(HOSTILE):
        before = rc_params()
        with figures.style():
            assert matplotlib.rcParams["font.size"] == 11
            assert matplotlib.rcParams["lines.linewidth"] == 1.5  # matplotlib's own
        assert rc_params() == before


def test_the_palette_is_seaborns():
    import seaborn

    assert seaborn.color_palette("colorblind", 10) == figures.COLORS


@pytest.mark.shows("panels", "panel")
def test_a_figure_has_as_many_panels_as_it_was_asked_for_and_is_as_high():
    figure, axes = figures.panels(2, 3, height=4.0, sharex=True)
    assert figure.get_size_inches().tolist() == [figures.WIDTH, 4.0]
    assert axes.ravel().tolist() == figure.axes
    assert axes.shape == (2, 3)
    axes[0, 0].set_xlim(3, 5)
    assert axes[1, 0].get_xlim() == (3, 5)
    figure, ax = figures.panel(2.5)
    assert figure.get_size_inches().tolist() == [figures.WIDTH, 2.5]
    assert [ax] == figure.axes


@pytest.mark.shows("name_rows")
def test_the_first_name_stands_in_the_first_row_from_the_top():
    figure, ax = figures.panel(2.0)
    figures.name_rows(ax, iter("abc"))
    figure.draw_without_rendering()
    places = {text.get_text(): text.get_position()[1] for text in ax.get_yticklabels()}
    assert places == {"a": 0, "b": 1, "c": 2}
    heights = [ax.transData.transform((0, y))[1] for y in (-0.6, *places.values(), 2.6)]
    assert heights == sorted(heights, reverse=True)
    box = ax.get_window_extent()
    assert heights[0] == pytest.approx(box.y1)
    assert heights[-1] == pytest.approx(box.y0)
