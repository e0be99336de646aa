"""Every figure: that it shows its data, in its own style, and that nothing is cut off or hidden."""

import io
import itertools
import math
import os
import subprocess
import sys
import warnings
from dataclasses import dataclass

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from vae_helpers import figures, latent
from vae_helpers.data import FASHION_CLASSES, garments
from vae_helpers.figures.pictures import pixels
from vae_helpers.figures.style import DASHES
from vae_helpers.losses import LIKELIHOODS
from vae_helpers.metrics.differences import Difference
from vae_helpers.training import History

SIGNATURE = 0.11  # inches from the bottom that an author's name takes
DPI = 100
SHAPES = ((1, 28, 28), (3, 32, 32), (1, 17, 23), (3, 17, 23))


@dataclass(frozen=True)
class Number:
    """What figures ask of an ``Estimate``."""

    value: float
    error: float | None = None


def hundred(count: int = 64) -> torch.Tensor:
    return garments(count, seed=7)[:][0]


def levels(count: int, shape=(1, 28, 28)) -> torch.Tensor:
    """Pictures that are each of one grey, or of one colour, and all of them different."""
    values = torch.arange(count * shape[0]).view(count, shape[0], 1, 1) / (count * shape[0])
    return values.expand(count, *shape).clone()


def codes(count: int = 300, d: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.randn((count, d), generator=torch.Generator().manual_seed(seed))


def history(epochs: int, splits=("train", "validation", "test"), start=500.0) -> History:
    return History(
        [
            {
                "epoch": epoch,
                "split": split,
                "total": 242 + i + start / epoch**2,
                "reconstruction": 226 + i + start / epoch**2,
                "kl": 16 - 10 / epoch - i / 10,
            }
            for epoch in range(1, epochs + 1)
            for i, split in enumerate(splits)
        ]
    )


def loss_curves(epochs: int, **splits: str) -> Figure:
    made = history(epochs)
    return figures.loss_curves({label: (made, split) for label, split in splits.items()})


def latent_maps(count: int, classes: int) -> Figure:
    labels = torch.arange(300) % classes
    centres = 6 * codes(classes, seed=1)[labels]
    maps = {name: codes() + centres for name in ("PCA", "t-SNE", "UMAP")[:count]}
    return figures.latent_maps(maps, labels, FASHION_CLASSES)


def latent_plane() -> Figure:
    around = 2 * math.pi * (labels := torch.arange(300) % 10) / 10
    places = 2 * torch.stack([around.cos(), around.sin()], dim=1) + 0.1 * codes()
    values = torch.linspace(5, 60, 41 * 41).view(41, 41)
    return figures.latent_plane(values, 3.0, places, labels, FASHION_CLASSES, "sharpness, %")


def swept(settings, lines: int, panels: int) -> Figure:
    curve = {s: Number(240 + 10 / (1 + s), 0.3) for s in settings}
    labels = ("−ELBO, nats", "Fréchet distance", "KL (rate), nats", "mutual information, nats")
    series = {f"series {i}": curve for i in range(lines)}
    return figures.curves(dict.fromkeys(labels[:panels], series), "latent dimensions", xscale="log")


def rate_distortion(count: int) -> Figure:
    names = ("conv16-one-cycle", "dense20-validated", "dense2-beta-0.5", "residual32")
    points = {f"{names[i % 4]}{i}": (6.0 + i, 255 - 3.0 * i + 0.02 * i * i) for i in range(count)}
    return figures.rate_distortion(points, [(5 + i, 258 - 3.1 * i) for i in range(6)])


def intervals(count: int) -> Figure:
    names = [f"conv16-one-cycle − dense{at}" for at in range(count)]
    found = {name: Difference(at - 4, at - 5, at - 3, 0.01) for at, name in enumerate(names)}
    return figures.intervals(found, {name: at != 4 for at, name in enumerate(names)}, "nats")


X = np.linspace(0, 1, 50)
LONG = ("a quarter of the true variance", "the true variance", "four times it")
CODERS = ("dense2", "conv16-one-cycle", "residual32", "64 principal components", "JPEG files")
CASES = {
    "bars": lambda: figures.bars(
        {"": {n: Number(10.0 + len(n), 0.3) for n in FASHION_CLASSES}},
        "nats per image",
        ranked=True,
    ),
    "bars of two groups": lambda: figures.bars(
        {
            "train": dict.fromkeys(FASHION_CLASSES, 6_000),
            "test": dict.fromkeys(FASHION_CLASSES, 10),
        },
        "images",
    ),
    "bars with a mark": lambda: figures.bars(
        {"KL": {f"dimension {i}": i / 8 for i in range(32)}}, "nats", marks={"active": 0.01}
    ),
    "curves": lambda: swept((2, 4, 8, 16, 32, 64), 1, 4),
    "curves of three series": lambda: swept((0.01, 0.1, 1, 10, 100), 3, 4),
    "curves of nine settings": lambda: swept((0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100), 1, 3),
    "curves with long names": lambda: figures.curves(
        {"ELBO, nats": {name: (X, X - i) for i, name in enumerate(LONG)}},
        "mean of q(z|x)",
        levels={"log p(x)": 1.2},
    ),
    "curves of many names": lambda: figures.curves(
        {"ratio, dB": {name: {0.1 + i: i, 9: 10 + i} for i, name in enumerate(CODERS)}},
        "bits per pixel",
        marks={"PNG, lossless": 4.6},
        xscale="log",
    ),
    "curves of fourteen points": lambda: figures.curves(
        {
            "Fréchet distance": {
                f"conditional-{i}": {Number(i, 0.2): Number(1.3**i, 0.3)} for i in range(14)
            }
        },
        "−ELBO, nats",
        height=4.6,
        joined=False,
    ),
    "curves by other axes": lambda: figures.curves(
        {
            (f"{name}\nprediction p", "−log p(x), nats"): {
                f"x = {x:g}": (X, (X - x) ** 2) for x in (0, 0.25, 0.5, 1)
            }
            for name in LIKELIHOODS
        },
        columns=4,
        height=3.2,
    ),
    "data_flow": lambda: figures.data_flow(1024, (3, 128, 128)),
    "histograms": lambda: figures.histograms(
        {
            f"{model}, {what}": codes(500, 3, i).norm(dim=1)
            for i, (model, what) in enumerate(
                itertools.product(("VAE", "autoencoder"), ("codes", "draws"))
            )
        },
        "distance to the nearest code, in medians of held-out codes",
    ),
    "image_grid": lambda: figures.image_grid(hundred(9), FASHION_CLASSES[:9]),
    "image_grid of two kinds": lambda: figures.image_grid(
        {"mean": hundred(10), "variance": hundred(10)}, FASHION_CLASSES, heat=["variance"]
    ),
    "image_grid of heat maps": lambda: figures.image_grid(
        {"mean squared error": hundred(10)}, FASHION_CLASSES, heat=["mean squared error"]
    ),
    "intensities": lambda: figures.intensities(
        np.random.default_rng(0).integers(0, 99, (10, 256)), FASHION_CLASSES
    ),
    "intervals": lambda: intervals(15),
    "latent_maps": lambda: latent_maps(3, 10),
    "latent_maps of one space": lambda: latent_maps(1, 10),
    "latent_maps of three classes": lambda: latent_maps(3, 3),
    "latent_plane": latent_plane,
    "loss_curves": lambda: loss_curves(30, training="train", validation="validation", test="test"),
    "loss_curves of one epoch": lambda: loss_curves(1, training="train", test="test"),
    "loss_curves of four runs": lambda: figures.loss_curves(
        {
            f"{name}, {split}": (history(25, start=start), split)
            for name, start in (("constant rate", 500), ("one-cycle", 900))
            for split in ("train", "test")
        }
    ),
    "manifold": lambda: figures.manifold(hundred(225)),
    "matrix": lambda: figures.matrix(
        torch.diag(torch.full((10,), 950)) + 5,
        FASHION_CLASSES,
        log=True,
        fmt="d",
        xlabel="predicted",
        ylabel="true",
    ),
    "matrix with a colour bar": lambda: figures.matrix(
        np.abs(np.subtract.outer(range(10), range(10))), FASHION_CLASSES, label="distance"
    ),
    "picture_grid": lambda: figures.picture_grid(hundred(40)),
    "picture_grid of blocks": lambda: figures.picture_grid(
        {f"autoencoder, mixture of ten {i}": hundred(16) for i in range(4)}, columns=4, across=2
    ),
    "picture_rows": lambda: figures.picture_rows(
        {"reconstruction, β = 0.25": hundred(8), "untrained": hundred(8)}
    ),
    "picture_rows of one row": lambda: figures.picture_rows({"epoch 1": hundred(10)}),
    "picture_rows under names": lambda: figures.picture_rows(
        {name: hundred(11) for name in FASHION_CLASSES[:6]}, ("original", *FASHION_CLASSES)
    ),
    "picture_rows in parts": lambda: figures.picture_rows(
        {f"dense20-validated {i}": hundred(16) for i in range(12)}, ("reconstructions", "samples")
    ),
    "rate_distortion": lambda: rate_distortion(11),
    "rate_distortion of two models": lambda: rate_distortion(2),
    "spreads": lambda: figures.spreads(
        {
            label: {
                name: [scale * (at + 2 + step) for step in (0, -0.5, 0.2, 0.9, -1)]
                for at, name in enumerate(("dense2-beta-0.5", "conv16-one-cycle", "residual32"))
            }
            for label, scale in (("−ELBO, nats", 1.0), ("Fréchet distance", 10.0))
        }
    ),
}
DRAWING = {
    name
    for name in figures.__all__
    if getattr(getattr(figures, name), "__annotations__", {}).get("return") in (Figure, "Figure")
}


def test_every_figure_is_tested_here():
    assert {name.split()[0] for name in CASES} == DRAWING


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


@pytest.mark.parametrize("name", CASES)
def test_a_figure_has_the_pages_width_and_all_of_it_can_be_read(name):
    known = plt.get_fignums()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # printed to stderr, which chapters are compared by
        figure = CASES[name]()
        content = figures.png(figure)
    assert plt.get_fignums() == known  # none lingers
    assert figure.get_gid() == f"figures.{name.split()[0]}"

    width, height = figure.get_size_inches()
    picture = matplotlib.image.imread(io.BytesIO(content), format="png")
    assert width == figures.WIDTH
    assert picture.shape[:2] == (math.floor(height * DPI + 1e-6), width * DPI)
    assert picture[..., :3].std() > 0.01  # something is drawn

    renderer = FigureCanvasAgg(figure).get_renderer()
    box = figure.get_tightbbox(renderer)
    assert box.x0 >= -0.01
    assert box.x1 <= width + 0.01
    assert box.y0 >= SIGNATURE
    assert box.y1 <= height + 0.01
    # The box of a slanted text is larger than the text; slanted ones are left out.
    straight = [
        (text.get_text(), text.get_window_extent(renderer).padded(-1))
        for text in seen(figure)
        if text.get_rotation() % 90 == 0
    ]
    pairs = itertools.combinations(straight, 2)
    assert not [(one, other) for (one, at), (other, there) in pairs if at.overlaps(there)]


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
    plain = CASES[name]()
    once, again = saved(plain), saved(plain)  # a layout may settle further
    with matplotlib.rc_context(HOSTILE):
        before = rc_params()
        figure = CASES[name]()
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


def test_a_png_keeps_the_colours_it_is_asked_to():
    colourful = torch.rand((1, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    figure = figures.picture_grid(colourful, columns=1)
    few, all_of_them = (
        matplotlib.image.imread(io.BytesIO(figures.png(figure, colors=colors)), format="png")
        for colors in (256, 0)
    )
    assert len(np.unique(few.reshape(-1, few.shape[-1]), axis=0)) <= 256
    assert len(np.unique(all_of_them.reshape(-1, 3), axis=0)) > 2_000
    assert figures.png(figure, dpi=50) != figures.png(figure)


def test_what_the_font_lacks_is_replaced():
    assert figures.drawable("Žofie Ødegård, β → ²") == "Žofie Ødegård, β → ²"
    assert figures.drawable("Ada 李 🎩") == "Ada � �"


def test_the_palette_is_seaborns():
    import seaborn

    assert seaborn.color_palette("colorblind", 10) == figures.COLORS


# --- pictures -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        (torch.zeros(4, 2, 8, 8), r"pictures of shape \(4, 2, 8, 8\); give \(N, C, H, W\)"),
        (torch.zeros(28, 28), r"pictures of shape \(28, 28\)"),
        (torch.full((1, 1, 8, 8), 1.5), "float32 from 1.5 to 1.5; give bytes, or"),
        (torch.full((1, 1, 8, 8), -0.1), "from -0.1 to -0.1"),
        (torch.full((1, 1, 8, 8), torch.nan), "from nan to nan"),
        (torch.full((1, 3, 8, 8), 200), "int64 from 200 to 200"),
    ],
)
def test_what_are_no_pictures_is_refused_with_what_it_was(pictures, message):
    with pytest.raises(ValueError, match=message):
        figures.picture_grid(pictures)


@pytest.mark.parametrize("shape", SHAPES)
def test_bytes_and_numbers_are_the_same_pictures_in_numpy_and_torch(shape):
    coded = (levels(4, shape) * 255).byte()
    expected = coded.double() / 255
    expected = expected[:, 0] if shape[0] == 1 else expected.permute(0, 2, 3, 1)
    for same in (coded, coded.numpy(), coded / 255, (coded / 255).numpy(), coded.double() / 255):
        np.testing.assert_allclose(pixels(same), expected, atol=1e-6)


def shown(ax) -> np.ndarray:
    return np.asarray(ax.images[0].get_array())


def where(ax, picture: torch.Tensor) -> tuple[float, float]:
    """The middle of the place where a picture of one colour is drawn."""
    colour = picture[:, 0, 0].numpy().squeeze()
    close = np.isclose(shown(ax), colour)
    y, x = np.nonzero(close if close.ndim == 2 else close.all(2))
    assert len(y) == picture[0].numel()
    return float(x.mean()), float(y.mean())


@pytest.mark.parametrize("shape", SHAPES)
def test_grids_of_pictures_read_left_to_right_and_top_down(shape):
    pictures, (_, height, width) = levels(6, shape), shape
    (ax,) = figures.picture_grid(pictures, columns=3).axes
    assert shown(ax).shape[:2] == (2 * height + 1, 3 * width + 2)
    for i, picture in enumerate(pictures):
        x, y = where(ax, picture)
        assert x == pytest.approx((i % 3) * (width + 1) + (width - 1) / 2)
        assert y == pytest.approx((i // 3) * (height + 1) + (height - 1) / 2)
    assert (shown(ax)[height] == 1).all()  # the line between
    colour_channels = shown(ax).shape[2:]
    assert colour_channels == (() if shape[0] == 1 else (3,))


@pytest.mark.parametrize("shape", SHAPES)
def test_pictures_stand_upright_and_are_not_mirrored(shape):
    picture = torch.rand((1, *shape), generator=torch.Generator().manual_seed(0))
    expected = picture[0].permute(1, 2, 0).numpy()
    expected = expected[..., 0] if shape[0] == 1 else expected
    for figure in (
        figures.picture_grid(picture, columns=1),
        figures.picture_rows({"a": picture}),
        figures.image_grid(picture, ["a"], columns=1),
        figures.manifold(picture),
    ):
        (ax,) = figure.axes
        np.testing.assert_allclose(shown(ax), expected)
        assert ax.images[0].origin == "upper"


def test_pixels_keep_their_own_scale():
    # A dark image must not be stretched to white.
    (ax,) = figures.picture_grid(torch.full((1, 1, 28, 28), 0.25), columns=1).axes
    drawn = ax.images[0]
    assert float(drawn.norm(drawn.get_array()).mean()) == pytest.approx(0.25)


def test_blocks_stand_in_their_order_under_their_names():
    pictures = levels(8)
    blocks = {name: pictures[2 * i : 2 * i + 2] for i, name in enumerate("abcd")}
    figure = figures.picture_grid(blocks, columns=2, across=2)
    assert [ax.get_title(loc="left") for ax in figure.axes] == list("abcd")
    for i, ax in enumerate(figure.axes):
        assert where(ax, pictures[2 * i])[0] < where(ax, pictures[2 * i + 1])[0]
    boxes = [ax.get_position() for ax in figure.axes]
    assert boxes[0].x0 < boxes[1].x0
    assert boxes[0].y0 > boxes[2].y0


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_of_pictures_stand_beside_their_names_and_under_those_of_columns(shape):
    pictures = levels(6, shape)
    rows = {"upper": pictures[:3], "lower": (255 * pictures[3:]).round() / 255}
    (ax,) = figures.picture_rows(rows, ["a", "b", "c"]).axes
    assert [text.get_text() for text in ax.get_yticklabels()] == ["upper", "lower"]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["a", "b", "c"]
    assert ax.xaxis.get_ticks_position() == "top"
    for i, picture in enumerate(torch.cat(list(rows.values()))):
        at = (ax.get_xticks()[i % 3], ax.get_yticks()[i // 3])
        assert where(ax, picture) == pytest.approx(at, abs=0.01)


def test_names_of_parts_stand_over_their_middles_and_white_between_parts():
    pictures = levels(8)
    (ax,) = figures.picture_rows({"a": pictures[:4], "b": pictures[4:]}, ["left", "right"]).axes
    (left, right), (upper, lower) = ax.get_xticks(), ax.get_yticks()
    places = [where(ax, picture) for picture in pictures]
    assert left == pytest.approx((places[0][0] + places[1][0]) / 2)
    assert right == pytest.approx((places[2][0] + places[3][0]) / 2)
    assert [y for _, y in places] == pytest.approx(4 * [upper] + 4 * [lower])
    assert places[2][0] - places[1][0] == 28 + 14


def test_rows_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match=r"\(8, 1, 28, 28\), \(9, 1, 28, 28\)"):
        figures.picture_rows({"a": levels(8), "b": levels(9)})


@pytest.mark.parametrize("shape", SHAPES)
def test_images_stand_over_their_own_names(shape):
    pictures, names = levels(7, shape), list("abcdefg")
    figure = figures.image_grid(pictures, names, columns=4)
    axes = [ax for ax in figure.axes if ax.get_visible()]
    assert [ax.get_xlabel() for ax in axes] == names
    for ax, picture in zip(axes, pictures, strict=True):
        where(ax, picture)


def test_images_without_names_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        figures.image_grid(levels(10), FASHION_CLASSES[:9])


def test_kinds_of_pictures_stand_below_each_other_and_heat_has_one_scale():
    means, spread = levels(5), 3 * levels(5, (3, 28, 28))
    means[3] = spread[3] = torch.nan  # a class without images
    kinds = {"mean": means, "variance": spread}
    figure = figures.image_grid(kinds, list("abcde"), columns=3, heat=["variance"])
    of = {(kind, name): None for name in "abcde" for kind in kinds}
    grid = np.array(figure.axes).reshape(4, 3)
    for i, name in enumerate("abcde"):
        upper, lower = grid[2 * (i // 3), i % 3], grid[2 * (i // 3) + 1, i % 3]
        of["mean", name], of["variance", name] = upper, lower
        assert (upper.get_xlabel(), lower.get_xlabel()) == ("", name)
    assert [ax.get_ylabel() for ax in grid[:, 0]] == ["mean", "variance"] * 2
    where(of["mean", "e"], means[4])
    assert (shown(of["mean", "d"]) == 1).all()  # white
    assert np.isnan(shown(of["variance", "d"])).all()
    np.testing.assert_allclose(shown(of["variance", "c"]), spread[2].mean(0))  # over channels
    limits = [of["variance", name].images[0].get_clim() for name in "abcde"]
    assert limits == 5 * [(0, pytest.approx(float(spread[4].mean(0).max())))]
    assert not grid[3, 2].get_visible()


def test_a_heat_map_alone_has_a_bar_that_says_what_it_means():
    errors = levels(5, (3, 17, 23))
    figure = figures.image_grid({"squared error": errors}, list("abcde"), heat=["squared error"])
    *axes, bar = figure.axes
    assert bar.get_ylabel() == "squared error"
    assert [ax.get_xlabel() for ax in axes] == list("abcde")
    np.testing.assert_allclose(shown(axes[4]), errors[4].mean(0))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_manifold_lies_as_its_axes_say(shape):
    places = latent.manifold(3)
    # Reddest to the right, brightest at the top: as a decoder that paints its latents would.
    painted = torch.special.ndtr(places).flip(1)[:, : min(2, shape[0])]
    pictures = torch.zeros(9, *shape)
    pictures[:, : painted.shape[1]] = painted[:, :, None, None]
    (ax,) = figures.manifold(pictures).axes
    assert ax.get_xlabel().startswith("first latent dimension")
    assert ax.get_ylabel().startswith("second latent dimension")
    across = [(text.get_position()[0], text.get_text()) for text in ax.get_xticklabels()]
    up = [(text.get_position()[1], text.get_text()) for text in ax.get_yticklabels()]
    assert [text for _, text in across] == ["17 %", "50 %", "83 %"]
    # The row that is labelled with a quantile shows the second dimension at that quantile.
    picture = shown(ax).reshape(*shown(ax).shape[:2], -1)
    for y, text in up:
        assert picture[int(y), 0, 0] == pytest.approx(int(text[:-2]) / 100, abs=0.01)
    if shape[0] == 3:
        for x, text in across:
            assert picture[0, int(x), 1] == pytest.approx(int(text[:-2]) / 100, abs=0.01)


# --- curves -------------------------------------------------------------------------------------


def lines_of(ax) -> dict[str, tuple[list[float], list[float]]]:
    """What is drawn in a panel: name in its legend → x and y."""
    handles, names = ax.get_legend_handles_labels()
    lines = [getattr(handle, "lines", [handle])[0] for handle in handles]
    return {
        name: (list(map(float, line.get_xdata())), list(map(float, line.get_ydata())))
        for name, line in zip(names, lines, strict=True)
    }


def legend_names(figure: Figure) -> list[str]:
    return [text.get_text() for one in figure.legends for text in one.get_texts()]


def test_each_line_of_each_panel_has_its_own_points():
    series = {
        "loss": {"a": {1: 5.0, 2: 4.0}, "b": {1: 7.0, 2: 6.0}},
        "distance": {"a": {1: 0.5, 2: 0.4}, "b": ([0, 3], [1, 2])},
        "rate": {"a": {2: 3.0}, "b": {1: 2.0}},
    }
    figure = figures.curves(series, "size")
    panels = figure.axes[:3]
    assert [ax.get_ylabel() for ax in panels] == ["loss", "distance", "rate"]
    assert [ax.get_xlabel() for ax in panels] == ["", "size", "size"]
    assert not figure.axes[3].axison
    assert lines_of(panels[0]) == {"a": ([1, 2], [5, 4]), "b": ([1, 2], [7, 6])}
    assert lines_of(panels[1]) == {"a": ([1, 2], [0.5, 0.4]), "b": ([0, 3], [1, 2])}
    assert lines_of(panels[2]) == {"a": ([2], [3]), "b": ([1], [2])}
    assert legend_names(figure) == ["a", "b"]


def test_lines_differ_in_dashes_and_markers_as_well_as_in_colour():
    (ax,) = figures.curves({"y": {name: {0: i, 1: 2} for i, name in enumerate("abcd")}}, "x").axes
    drawn = [container.lines[0] for container in ax.containers]
    for look in ("get_color", "get_marker", "get_linestyle"):
        assert len({getattr(line, look)() for line in drawn}) == 4


def test_more_names_than_colours_have_pairs_of_their_own():
    points = {f"model {i}": {i: i} for i in range(14)}
    figure = figures.curves({"y": points}, "x", joined=False)
    drawn = [container.lines[0] for container in figure.axes[0].containers]
    assert len({(line.get_color(), line.get_marker()) for line in drawn}) == 14
    assert {line.get_linestyle() for line in drawn} == {"None"}
    assert legend_names(figure) == list(points)


def test_errors_are_bars_of_their_own_axis_and_length():
    points = {Number(1.0, 0.5): Number(10.0, 2.0), Number(2.0): Number(20.0)}
    (ax,) = figures.curves({"y": {"a": points}}, "x", joined=False).axes
    across, up = (bars.get_segments() for bars in ax.containers[0].lines[2])
    np.testing.assert_allclose(across[0], [[0.5, 10], [1.5, 10]])
    np.testing.assert_allclose(up[0], [[1, 8], [1, 12]])
    np.testing.assert_allclose(up[1], [[2, 20], [2, 20]])
    assert lines_of(ax) == {"a": ([1, 2], [10, 20])}


def test_numbers_without_errors_have_no_bars():
    (ax,) = figures.curves({"y": {"a": {1: Number(2.0), 2: 3.0}}}, "x").axes
    assert ax.containers[0].lines[1:] == ((), ())


def test_the_reference_is_grey_and_takes_no_colour_from_the_others():
    lines = {"a": ([0, 1], [0, 2]), "diagonal": ([0, 1], [0, 1]), "b": ([0, 1], [0, 3])}
    figure = figures.curves({"y": lines}, "x", reference="diagonal")
    drawn = dict(zip(lines, figure.axes[0].lines, strict=True))
    assert drawn["diagonal"].get_color() == "0.4"
    assert [drawn[name].get_color() for name in "ab"] == figures.COLORS[:2]
    assert [drawn[name].get_linestyle() for name in "ab"] == list(DASHES[:2])
    assert lines_of(figure.axes[0])["diagonal"] == ([0, 1], [0, 1])


def test_levels_lie_and_marks_stand_where_they_are_named():
    (ax,) = figures.curves(
        {"y": {"a": {1: 5, 10: 7}}}, "x", levels={"floor": 4.5}, marks={"prior": 2.0}
    ).axes
    level, mark = ax.lines[-2:]
    assert set(level.get_ydata()) == {4.5}
    assert set(mark.get_xdata()) == {2.0}
    named = {text.get_text(): text.xy for text in ax.texts}
    assert named["floor"][1] == 4.5
    assert named["prior"][0] == 2.0


def test_panels_of_other_axes_say_what_changes_and_those_of_a_row_share_theirs():
    panels = {
        (kind, features): {"a": {0: 1, 1: 2 + top}}
        for features in ("raw", "learned")
        for top, kind in enumerate("uvw")
    }
    figure = figures.curves(panels, columns=3, sharey="row", ylim=(0, None))
    grid = np.array(figure.axes).reshape(2, 3)
    assert [[ax.get_xlabel() for ax in row] for row in grid] == [["", "", ""], ["u", "v", "w"]]
    assert [[ax.get_ylabel() for ax in row] for row in grid] == [
        ["raw", "", ""],
        ["learned", "", ""],
    ]
    for ax in figure.axes:
        bottom, top = ax.get_ylim()
        assert bottom == 0
        assert 4 < top < 5  # the row's highest point


def test_a_logarithmic_axis_is_ticked_where_few_settings_are():
    def ticks(settings):
        (ax,) = figures.curves({"y": {"a": dict.fromkeys(settings, 1)}}, "x", xscale="log").axes
        return [text.get_text() for text in ax.get_xticklabels()]

    assert ticks((0.01, 1, 64)) == ["0.01", "1", "64"]
    assert "$" in "".join(ticks(range(1, 9)))  # powers of ten


def test_loss_curves_draw_each_term_of_each_split():
    figure = loss_curves(25, training="train", held="validation")
    assert [ax.get_ylabel() for ax in figure.axes] == ["total", "reconstruction", "KL"]
    for ax, term in zip(figure.axes, ("total", "reconstruction", "kl"), strict=True):
        epochs = list(range(1, 26))
        assert lines_of(ax) == {
            "training": (epochs, history(25).curve("train", term)),
            "held": (epochs, history(25).curve("validation", term)),
        }
    (only,) = figures.loss_curves({"a": (history(3), "test")}, terms=["kl"]).axes
    assert only.get_ylabel() == "KL"
    assert lines_of(only)["a"][1] == history(3).curve("test", "kl")


def test_loss_curves_begin_their_axes_after_the_first_fall():
    values = history(25).curve("train")
    low, high = loss_curves(25, training="train").axes[0].get_ylim()
    assert low < min(values) < values[1] < high < values[0]


def test_rates_lie_across_and_distortions_up_with_lines_of_equal_sums():
    points = {"a": (5.0, 250.0), "b": (15.0, 235.0)}
    (ax,) = figures.rate_distortion(points, [(4, 256), (20, 230)]).axes
    assert "KL" in ax.get_xlabel()
    assert "reconstruction" in ax.get_ylabel()
    assert lines_of(ax) == {"a": ([5], [250]), "b": ([15], [235])}
    assert list(ax.lines[0].get_xdata()) == [4, 20]  # the path
    assert list(ax.lines[0].get_ydata()) == [256, 230]
    sums = [line.get_xdata() + line.get_ydata() for line in ax.lines if line.get_ls() == ":"]
    assert {f"{total[0]:g}" for total in sums} == {text.get_text() for text in ax.texts}
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    for text in ax.texts:
        x, y = text.xy
        assert x + y == pytest.approx(float(text.get_text()))
        assert left <= x <= right
        assert low <= y <= high
    assert all(np.ptp(total) < 1e-9 for total in sums)


def test_histograms_are_densities_of_their_own_numbers():
    narrow, wide = codes(2_000, 1)[:, 0].abs(), 2 * codes(2_000, 1, seed=1)[:, 0].abs()
    figure = figures.histograms(
        {"narrow": narrow, "wide": wide.numpy()}, "‖z‖", density={"twice": lambda x: 2 * x}
    )
    (ax,) = figure.axes
    assert ax.get_xlabel() == "‖z‖"
    for patch, values in zip(ax.patches, (narrow, wide), strict=True):
        density, edges, _ = patch.get_data()
        assert density @ np.diff(edges) == pytest.approx(1)
        middles = (edges[1:] + edges[:-1]) / 2
        assert density @ (middles * np.diff(edges)) == pytest.approx(float(values.mean()), rel=0.02)
        assert edges[0] == 0
        assert edges[-1] == pytest.approx(float(wide.max()))
    (held,) = ax.lines
    np.testing.assert_allclose(held.get_ydata(), 2 * held.get_xdata())
    assert legend_names(figure) == ["narrow", "wide", "twice"]


def test_each_column_of_codes_is_a_thin_line_within_the_span():
    many = codes(5_000, 3) * torch.tensor([0.5, 1.0, 0.1])
    figure = figures.histograms({"codes": many}, "z", span=(-4, 4))
    lines = figure.axes[0].lines
    assert legend_names(figure) == ["codes"]
    for line, sd in zip(lines, (0.5, 1.0, 0.1), strict=True):
        x, density = line.get_xdata(), line.get_ydata()
        assert -4 < x[0] < x[-1] < 4
        assert math.sqrt((density * x**2).sum() * (x[1] - x[0])) == pytest.approx(sd, rel=0.05)


# --- charts -------------------------------------------------------------------------------------


def row_names(ax) -> list[str]:
    return [text.get_text() for text in ax.get_yticklabels()]


def test_bars_are_as_long_as_their_numbers_beside_their_names():
    groups = {"train": {"a": 6_000, "b": 5_000}, "test": {"a": 1_000, "b": 0.5}}
    figure = figures.bars(groups, "images")
    (ax,) = figure.axes
    assert legend_names(figure) == list(groups)
    assert row_names(ax) == ["a", "b"]
    assert ax.yaxis_inverted()  # the first one on top
    for bars, (group, numbers), color in zip(
        ax.containers, groups.items(), figures.COLORS, strict=False
    ):
        assert bars.get_label() == group
        assert [bar.get_width() for bar in bars] == list(numbers.values())
        assert [round(bar.get_y() + bar.get_height() / 2) for bar in bars] == [0, 1]
        assert bars[0].get_facecolor()[:3] == color
    assert {text.get_text() for text in ax.texts} == {"6,000", "5,000", "1,000", "0.50"}


def test_ranked_bars_come_longest_first_with_their_errors_and_marks():
    numbers = {"a": Number(1.0, 0.1), "b": Number(3.0, 0.3), "c": Number(2.0, 0.2)}
    figure = figures.bars({"": numbers}, "nats", ranked=True, marks={"active": 0.01})
    (ax,) = figure.axes
    bars = next(one for one in ax.containers if hasattr(one, "patches"))
    assert row_names(ax) == ["b", "c", "a"]
    assert [bar.get_width() for bar in bars] == [3, 2, 1]
    segments = bars.errorbar.lines[2][0].get_segments()
    assert [end - start for (start, _), (end, _) in segments] == pytest.approx([0.6, 0.4, 0.2])
    assert legend_names(figure) == ["active"]
    assert set(ax.lines[-1].get_xdata()) == {0.01}


def test_a_matrix_has_its_rows_from_the_top_and_says_its_numbers():
    counts = torch.tensor([[90, 7, 0], [1, 95, 2], [3, 4, 80]])
    (ax,) = figures.matrix(
        counts, list("abc"), log=True, fmt="d", xlabel="predicted", ylabel="true"
    ).axes
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted", "true")
    columns = {
        text.get_text(): x for text, x in zip(ax.get_xticklabels(), ax.get_xticks(), strict=True)
    }
    rows = dict(zip(row_names(ax), ax.get_yticks(), strict=True))
    assert ax.yaxis_inverted()
    assert rows["a"] < rows["b"] < rows["c"]
    said = {tuple(np.round(text.get_position(), 1)): text.get_text() for text in ax.texts}
    colors = ax.collections[0].get_array().reshape(3, 3)
    for i, true in enumerate("abc"):
        for j, predicted in enumerate("abc"):
            at = (columns[predicted], rows[true])
            assert said[at] == str(int(counts[i, j]))
            assert colors[int(rows[true]), int(columns[predicted])] == counts[i, j] + 0.5


def test_intensities_are_shares_of_all_pixels_and_of_each_classs():
    counts = np.zeros((3, 256), int)
    counts[0, 0], counts[1, 255], counts[1, 16], counts[2, 40] = 6, 3, 1, 5
    every, by_class, _ = figures.intensities(counts, list("abc")).axes
    shares = {
        round(255 * (bar.get_x() + bar.get_width() / 2)): bar.get_height() for bar in every.patches
    }
    assert {at: share for at, share in shares.items() if share} == pytest.approx(
        {0: 6 / 15, 255: 3 / 15, 16: 1 / 15, 40: 5 / 15}
    )
    drawn = by_class.collections[0].get_array().filled(0).reshape(3, 16)
    assert row_names(by_class) == list("abc")
    assert by_class.yaxis_inverted()
    assert (drawn[0, 0], drawn[1, 15], drawn[1, 1], drawn[2, 2]) == (1, 0.75, 0.25, 1)


def test_spreads_are_off_their_means_and_the_first_one_is_a_ring():
    values = {"a": [3.0, 1.0, 2.0], "b": [10.0, 10.0, 40.0]}
    (ax,) = figures.spreads({"nats": values}).axes
    assert row_names(ax) == ["a", "b"]
    assert ax.yaxis_inverted()
    rings = [line for line in ax.lines if line.get_markerfacecolor() == "none"]
    dots = [line for line in ax.lines if line.get_marker() == "o" and line not in rings]
    assert [(float(ring.get_xdata()[0]), int(ring.get_ydata()[0])) for ring in rings] == [
        (1, 0),
        (-10, 1),
    ]
    assert [list(line.get_xdata()) for line in dots] == [[-1, 0], [-10, 20]]
    for bar, row in zip(ax.patches, values.values(), strict=True):
        assert (bar.get_x(), bar.get_width()) == pytest.approx(
            (-np.std(row, ddof=1), 2 * np.std(row, ddof=1))
        )


def test_uncentred_spreads_are_the_values_themselves():
    (ax,) = figures.spreads(
        {"sd": {"a": [1.0, 10.0], "b": [5.0]}}, centred=False, xscale="log"
    ).axes
    assert [list(line.get_xdata()) for line in ax.lines] == [[1, 10], [5]]
    assert [list(line.get_ydata()) for line in ax.lines] == [[0, 0], [1]]
    assert not ax.patches
    assert ax.get_xscale() == "log"


def test_survivors_are_filled_and_blue_and_the_others_hollow_and_red():
    found = {"sure": Difference(2.0, 1.0, 3.0, 0.01), "unsure": Difference(0.5, -1.0, 2.0, 0.4)}
    (ax,) = figures.intervals(found, {"sure": True, "unsure": False}, "nats").axes
    points = [line for line in ax.lines if line.get_marker() == "o"]
    spans = [line for line in ax.lines if line.get_marker() != "o"][:2]
    assert row_names(ax) == ["sure", "unsure"]
    assert ax.yaxis_inverted()
    assert [line.get_xdata()[0] for line in points] == [2.0, 0.5]
    assert [line.get_markerfacecolor() for line in points] == [figures.COLORS[0], "white"]
    assert [line.get_color() for line in points] == [figures.COLORS[0], figures.COLORS[3]]
    assert [tuple(line.get_xdata()) for line in spans] == [(1.0, 3.0), (-1.0, 2.0)]
    assert [tuple(line.get_ydata()) for line in spans] == [(0, 0), (1, 1)]


# --- a model's spaces ---------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_data_flow_says_the_shapes_and_points_from_image_to_logits(shape):
    (ax,) = figures.data_flow(12, shape).axes
    boxes = {text.get_text().split("\n")[0]: text for text in ax.texts if text.get_text()}
    size = "×".join(map(str, shape))
    assert boxes["image x"].get_text() == f"image x\n{size}"
    assert boxes["logits"].get_text() == f"logits\n{size}"
    assert boxes["μ"].get_text() == "μ\n12"
    assert boxes["log σ²"].get_text() == "log σ²\n12"
    named = {text.get_position(): name for name, text in boxes.items()}
    arrows = {
        (named[text.get_position()], named[tuple(text.xy)])
        for text in ax.texts
        if not text.get_text()
    }
    assert arrows == {
        ("image x", "encoder"),
        ("encoder", "μ"),
        ("encoder", "log σ²"),
        ("μ", "z = μ + σ⊙ε"),
        ("log σ²", "z = μ + σ⊙ε"),
        ("ε ~ N(0, I)", "z = μ + σ⊙ε"),
        ("z = μ + σ⊙ε", "decoder"),
        ("decoder", "logits"),
    }


@pytest.mark.parametrize("maps", [1, 3])
def test_each_class_has_its_own_codes_colour_marker_and_name(maps):
    labels = torch.tensor([7, 1, 1, 4, 7, 4, 4])
    names = [f"class {i}" for i in range(10)]
    points = {
        f"map {i}": codes(7, seed=i) + (0 if maps > 1 else 9 * labels[:, None]) for i in range(maps)
    }
    figure = figures.latent_maps(points, labels, names)
    assert [ax.get_xlabel() for ax in figure.axes] == list(points)
    for ax, found in zip(figure.axes, points.values(), strict=True):
        assert len({line.get_color() for line in ax.lines}) == 3
        assert len({line.get_marker() for line in ax.lines}) == 3
        for line, label in zip(ax.lines, (1, 4, 7), strict=True):
            np.testing.assert_array_equal(line.get_xydata(), found[labels == label])
    if maps == 1:  # named at their medians
        placed = {text.get_text(): text.get_position() for text in figure.axes[0].texts}
        for label in (1, 4, 7):
            median = points["map 0"][labels == label].median(0).values
            assert placed[f"class {label}"] == pytest.approx(median.tolist())
    else:
        (legend,) = figure.legends
        looks = {
            text.get_text(): (handle.get_color(), handle.get_marker())
            for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
        }
        assert looks == {
            f"class {label}": (line.get_color(), line.get_marker())
            for line, label in zip(figure.axes[0].lines, (1, 4, 7), strict=True)
        }


def test_the_plane_lies_as_its_axes_say():
    places = latent.plane(3.0, 7)
    values = places[:, 1].view(7, 7)  # the second dimension itself
    labels = torch.arange(10) % 2
    around = torch.where(labels[:, None] == 0, 2.0, -2.0) + torch.zeros(10, 2)
    ax, bar = figures.latent_plane(values, 3.0, around, labels, ["a", "b"], "what").axes
    (image,) = ax.images
    assert image.get_extent() == [-3, 3, -3, 3]
    assert image.origin == "upper"
    np.testing.assert_array_equal(image.get_array(), values)
    assert image.get_array()[0, 0] == 3  # on top
    assert {text.get_text(): text.get_position() for text in ax.texts} == {
        "a": (2, 2),
        "b": (-2, -2),
    }
    assert bar.get_ylabel() == "what"
