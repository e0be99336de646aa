"""Every figure: its size, its bytes, and that nothing on it is cut off or printed over."""

import io
import itertools
import math
import warnings
from dataclasses import dataclass
from functools import cache

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from vae_helpers import eda, figures, losses, runs
from vae_helpers.data import FASHION_CLASSES, garments
from vae_helpers.metrics.differences import Difference
from vae_helpers.results import Estimate
from vae_helpers.training import History

SIGNATURE = 0.11  # inches from the bottom that the author's name takes, see report.show
DPI = 100


# --- contents, as the chapters have them --------------------------------------------------------


def clothes(missing: int | None = None):
    """A hundred garments, of all classes but the missing one."""
    images = garments(100, seed=1)
    return images if missing is None else images.subset(images.labels != missing)


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


def class_counts(data):
    counts = eda.class_counts(data)
    return figures.class_counts({"train": 6_000 * np.sign(counts), "test": counts}, data.classes)


def loss_curves(epochs: int, **labels: str):
    made = history(epochs)
    return figures.loss_curves({label: (made, split) for label, split in labels.items()})


def gradient_spread(dimensions: int):
    names = ("reparameterized", "score function", "score function, baseline")
    generator = torch.Generator().manual_seed(0)
    return figures.gradient_spread(
        {
            name: 30**i * torch.randn((50, dimensions), generator=generator)
            for i, name in enumerate(names)
        }
    )


def pixel_losses():
    p = torch.linspace(0.005, 0.995, 199)[:, None]
    curves = {
        name: {
            x: losses.reconstruction_nll(torch.logit(p), torch.full_like(p, x), name).numpy()
            for x in (0.0, 0.25, 0.5, 1.0)
        }
        for name in losses.LIKELIHOODS
    }
    return figures.pixel_losses(p[:, 0].numpy(), curves)


def divergences():
    at, points = np.linspace(0.1, 2.5, 50), np.linspace(0.1, 2.5, 9)
    closed = {"μ, at σ = 1": (at, at**2 / 2), "σ, at μ = 0": (at, (at**2 - 1) / 2 - np.log(at))}
    sampled = {
        label: (points, np.interp(points, *curve), 0.05 * points) for label, curve in closed.items()
    }
    return figures.divergences(closed, sampled)


def evidence_bound():
    at = np.linspace(-0.6, 2, 100)
    names = ("a quarter of the true variance", "the true variance", "four times it")
    curves = {name: -1.5 - i - (at - 0.7) ** 2 for i, name in enumerate(names)}
    return figures.evidence_bound(at, curves, evidence=-1.5)


def densities():
    z = np.linspace(-3, 3, 100)
    labels = ("prior", "β = 0.25", "β = 1", "β = 4")
    return figures.densities(
        z, {label: np.exp(-((1 + i) * z**2)) for i, label in enumerate(labels)}
    )


def learning_rates(epochs: int):
    return figures.learning_rates(
        {"constant": ("constant", 1e-3, epochs), "one-cycle": ("one-cycle", 4e-3, epochs)}
    )


def picture_rows(names, columns: int = 8):
    pixels, _ = garments(columns, seed=2)[:]
    return figures.picture_rows(
        {name: pixels if name == "original" else (255 * pixels).byte() for name in names}
    )


def codes(count: int = 300, d: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.randn((count, d), generator=torch.Generator().manual_seed(seed))


def latent_maps(count: int, classes: int):
    labels = torch.arange(300) % classes
    names = ("PCA", "t-SNE", "UMAP")[:count]
    centres = 6 * codes(classes, seed=1)[labels]
    return figures.latent_maps({n: codes() + centres for n in names}, labels, FASHION_CLASSES)


def corruption_scores():
    steps = (0.0, 0.1, 0.5, 1.0)
    scores = {
        features: {
            kind: {s: scale * (1 + s) for s in steps} for kind in ("blur", "noise", "shuffle")
        }
        for features, scale in (("untrained", 0.001), ("trained", 100.0))
    }
    return figures.corruption_scores(scores, {"untrained": 0.0015, "trained": 120.0})


def size_bias():
    curve = {n: Estimate(8 + 2_000 / n, 0.2) for n in (500, 1_000, 2_000, 5_000, 10_000)}
    limits = {"samples of the VAE": 8.0, "training images": 8.0}
    return figures.size_bias(dict.fromkeys(limits, curve), limits)


def sweep():
    curve = {s: Estimate(1 + s, 0.1) for s in (0.0, 0.5, 1.0, 2.0)}
    labels = ("diversity, L2", "sharpness", "Fréchet distance", "confidence")
    return figures.sweep(dict.fromkeys(labels, curve), "σ", mark=1.0)


def reliability():
    bins = {"confidence": torch.linspace(0.1, 0.95, 10), "count": torch.full((10,), 50)}
    before = bins | {"accuracy": torch.linspace(0.05, 0.85, 10)}
    return figures.reliability(before, bins | {"accuracy": torch.linspace(0.1, 0.94, 10)})


def hundred(count: int = 64) -> torch.Tensor:
    return garments(count, seed=7)[:][0]


def curves_by_setting(settings, series: int):
    curve = {s: Estimate(240 + 10 / (1 + s), 0.3) for s in settings}
    labels = ("−ELBO, nats", "Fréchet distance", "KL (rate), nats", "mutual information, nats")
    named = {f"series {i}": curve for i in range(series)}
    return figures.curves_by_setting(dict.fromkeys(labels, named), "latent dimensions")


def rate_distortion(count: int):
    names = ("conv16-one-cycle", "dense20-validated", "dense2-beta-0.5", "residual32")
    points = {f"{names[i % 4]}{i}": (6.0 + i, 255 - 3.0 * i + 0.02 * i * i) for i in range(count)}
    return figures.rate_distortion(points, [(5 + i, 258 - 3.1 * i) for i in range(6)])


def latent_plane():
    values = torch.linspace(5, 60, 41 * 41).view(41, 41)
    labels = torch.arange(300) % 10
    around = 2 * math.pi * labels / 10
    places = 2 * torch.stack([around.cos(), around.sin()], dim=1) + 0.1 * codes()
    return figures.latent_plane(values, 3.0, places, labels, FASHION_CLASSES, "sharpness, %")


EPOCHS = [f"epoch {epoch}" for epoch in (1, 2, 5, 10, 25)]
FIGURES = {
    "image_grid": lambda: figures.image_grid(clothes()[:10][0], FASHION_CLASSES),
    "image_grid with a class missing": lambda: figures.image_grid(
        clothes(3)[:9][0], FASHION_CLASSES[:9]
    ),
    "image_grid of one image": lambda: figures.image_grid(clothes()[:1][0], FASHION_CLASSES[:1]),
    "class_counts": lambda: class_counts(clothes()),
    "class_counts with a class missing": lambda: class_counts(clothes(3)),
    "class_counts of 70,000": lambda: figures.class_counts(
        {"train": np.full(10, 6_000), "test": np.full(10, 1_000)}, FASHION_CLASSES
    ),
    "intensities": lambda: figures.intensities(eda.intensity_counts(clothes()), FASHION_CLASSES),
    "intensities with a class missing": lambda: figures.intensities(
        eda.intensity_counts(clothes(3)), FASHION_CLASSES
    ),
    "class_statistics": lambda: figures.class_statistics(
        *eda.class_images(clothes()), FASHION_CLASSES
    ),
    "class_statistics with a class missing": lambda: figures.class_statistics(
        *eda.class_images(clothes(3)), FASHION_CLASSES
    ),
    "distance_matrix": lambda: figures.distance_matrix(
        eda.class_distances(clothes()), FASHION_CLASSES
    ),
    "distance_matrix with a class missing": lambda: figures.distance_matrix(
        eda.class_distances(clothes(3)), FASHION_CLASSES
    ),
    "data_flow": lambda: figures.data_flow(16),
    "data_flow of many dimensions": lambda: figures.data_flow(1024),
    "gradient_spread": lambda: gradient_spread(16),
    "gradient_spread of one dimension": lambda: gradient_spread(1),
    "pixel_losses": pixel_losses,
    "divergences": divergences,
    "evidence_bound": evidence_bound,
    "densities": densities,
    "loss_curves": lambda: loss_curves(25, training="train", test="test"),
    "loss_curves of three splits": lambda: loss_curves(
        30, training="train", validation="validation", test="test"
    ),
    "loss_curves of one epoch": lambda: loss_curves(
        1, training="train", validation="validation", test="test"
    ),
    "loss_curves of two epochs": lambda: loss_curves(2, training="train", test="test"),
    "loss_curves of four runs": lambda: figures.loss_curves(
        {
            f"{name}, {split}": (history(25, start=start), split)
            for name, start in (("constant rate", 500), ("one-cycle", 900))
            for split in ("train", "test")
        }
    ),
    "learning_rates": lambda: learning_rates(25),
    "learning_rates of one epoch": lambda: learning_rates(1),
    "picture_rows": lambda: picture_rows(["original", *EPOCHS]),
    "picture_rows of one row": lambda: picture_rows(EPOCHS[:1]),
    "picture_rows of long names": lambda: picture_rows(["reconstruction, β = 0.25", "untrained"]),
    "kl_dimensions": lambda: figures.kl_dimensions(torch.linspace(0.2, 3, 16)),
    "kl_dimensions of many": lambda: figures.kl_dimensions(torch.linspace(0, 3, 32)),
    "kl_dimensions of one": lambda: figures.kl_dimensions(torch.tensor([4.2])),
    "kl_dimensions all collapsed": lambda: figures.kl_dimensions(torch.zeros(4)),
    "loss_curves of one term": lambda: figures.loss_curves(
        {"VAE, training": (history(25), "train"), "VAE, validation": (history(25), "validation")},
        terms=["reconstruction"],
    ),
    "picture_grid": lambda: figures.picture_grid(hundred()),
    "picture_grid with a last row half full": lambda: figures.picture_grid(hundred(40)),
    "picture_blocks": lambda: figures.picture_blocks(
        {f"μ = 0, σ = {s}": hundred() for s in (0.1, 0.5, 1.0, 2.0)}
    ),
    "picture_quarters": lambda: figures.picture_quarters(
        {f"autoencoder, mixture of ten {i}": hundred(16) for i in range(4)}
    ),
    "manifold": lambda: figures.manifold(hundred(225)),
    "latent_maps": lambda: latent_maps(3, 10),
    "latent_maps of one space": lambda: latent_maps(1, 10),
    "latent_maps of three classes": lambda: latent_maps(3, 3),
    "latent_maps of mixed classes": lambda: figures.latent_maps(
        {"VAE": codes(), "autoencoder": 9 * codes(seed=1)},
        torch.arange(300) % 2,
        ["codes", "draws"],
    ),
    "code_densities": lambda: figures.code_densities(codes(2_000, 16)),
    "lengths": lambda: figures.lengths(
        {
            label: codes(500, 16).norm(dim=1).numpy()
            for label in ("σ = 0.1", "σ = 0.5", "σ = 1", "μ of test images")
        },
        16,
    ),
    "distances": lambda: figures.distances(
        {
            f"{name}, {what}": codes(500, 3, i).norm(dim=1)
            for i, (name, what) in enumerate(
                itertools.product(("VAE", "autoencoder"), ("codes", "draws"))
            )
        },
        "distance to the nearest code, in medians of held-out codes",
    ),
    "class_bars": lambda: figures.class_bars(
        {name: Estimate(10.0 + i, 0.3) for i, name in enumerate(FASHION_CLASSES)}, "nats per image"
    ),
    "error_images": lambda: figures.error_images(
        codes(10, 784).abs().view(10, 28, 28) / 9, FASHION_CLASSES
    ),
    "error_images with a class missing": lambda: figures.error_images(
        codes(9, 784).abs().view(9, 28, 28), FASHION_CLASSES[:9]
    ),
    "likelihood_bounds": lambda: figures.likelihood_bounds(
        {k: Estimate(240 - i, 2.0) for i, k in enumerate((1, 10, 100, 1_000))}
    ),
    "confusion_matrix": lambda: figures.confusion_matrix(
        torch.diag(torch.full((10,), 950)) + 5, FASHION_CLASSES
    ),
    "reliability": reliability,
    "corruption_scores": corruption_scores,
    "size_bias": size_bias,
    "sweep": sweep,
    "gallery": lambda: figures.gallery(
        {
            name: (hundred(8), hundred(8))
            for name in ("test images", *(f"dense20-validated {i}" for i in range(11)))
        },
        ("reconstructions", "samples"),
    ),
    "gallery of two rows": lambda: figures.gallery(
        {name: (hundred(8), hundred(8)) for name in ("test images", "collapsed")},
        ("reconstructions", "samples"),
    ),
    "picture_table": lambda: figures.picture_table(
        {f"z = (-{i}.5, 0)": hundred(10) for i in range(5)}, FASHION_CLASSES
    ),
    "picture_table of eleven columns": lambda: figures.picture_table(
        {name: hundred(11) for name in FASHION_CLASSES[:6]}, ("original", *FASHION_CLASSES)
    ),
    "picture_table of one row": lambda: figures.picture_table(
        {"T-shirt/top": hundred(10)}, FASHION_CLASSES
    ),
    "rate_distortion": lambda: rate_distortion(11),
    "rate_distortion of two models": lambda: rate_distortion(2),
    "curves_by_setting": lambda: curves_by_setting((2, 4, 8, 16, 32, 64), 1),
    "curves_by_setting of three series": lambda: curves_by_setting((0.01, 0.1, 1, 10, 100), 3),
    "curves_by_setting of nine settings": lambda: curves_by_setting(
        (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100), 1
    ),
    "spreads": lambda: figures.spreads(
        {
            label: {
                name: [scale * (at + 2 + step) for step in (0, -0.5, 0.2, 0.9, -1)]
                for at, name in enumerate(("dense2-beta-0.5", "conv16-one-cycle", "residual32"))
            }
            for label, scale in (("−ELBO, nats", 1.0), ("Fréchet distance", 10.0))
        }
    ),
    "intervals": lambda: figures.intervals(
        {
            f"conv16-one-cycle − dense{at}": Difference(at - 4.0, at - 5.0, at - 3.0, 0.01)
            for at in range(15)
        },
        {f"conv16-one-cycle − dense{at}": at != 4 for at in range(15)},
        "difference of −ELBO, nats",
    ),
    "kl_spectra": lambda: figures.kl_spectra(
        {f"β = {beta:g}": torch.linspace(3, 0.2, 10) / beta for beta in (0.5, 1, 4)}
    ),
    "kl_spectra of a collapsed model": lambda: figures.kl_spectra({"β = 400": torch.zeros(10)}),
    "latent_plane": latent_plane,
    "latent_plane of classes in one place": lambda: figures.latent_plane(
        torch.full((41, 41), torch.nan).fill_diagonal_(1.0),
        3.0,
        0.1 * codes(),
        torch.arange(300) % 4,
        FASHION_CLASSES,
        "sharpness, %",
    ),
    "compression": lambda: figures.compression(
        {
            name: [(at * 10 ** (0.2 * step), 15.0 + at + step) for step in range(5)]
            for at, name in enumerate(
                (
                    "dense2",
                    "conv16-one-cycle",
                    "residual32",
                    "64 principal components",
                    "JPEG files",
                    "JPEG without headers",
                ),
                start=1,
            )
        },
        {"PNG": 4.6},
    ),
    "two_scores": lambda: figures.two_scores(
        {
            name: (Estimate(235.0 + 2 * at, 0.8), Estimate(12.0 * 1.3**at, 0.3))
            for at, name in enumerate(
                (*runs.RUNS, "another") if len(runs.RUNS) < 15 else list(runs.RUNS)[:15]
            )
        },
        ("−ELBO, nats", "Fréchet distance"),
        0.5,
    ),
    "beta_schedules": lambda: figures.beta_schedules(
        {
            "constant": lambda at: 1.0,
            "linear": losses.linear_warmup(1.0, 0.5),
            "cyclical": losses.cyclical(1.0),
        }
    ),
}


def test_every_figure_of_the_module_is_tested_here():
    made = {
        name
        for name, member in vars(figures).items()
        if callable(member) and getattr(member, "__annotations__", {}).get("return") is Figure
    }
    assert made == {name.split()[0] for name in FIGURES}


# --- what is drawn ------------------------------------------------------------------------------


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def pixels(content: bytes) -> np.ndarray:
    return matplotlib.image.imread(io.BytesIO(content), format="png")


@dataclass(frozen=True)
class Drawn:
    """One figure after it was drawn, and all that was noticed meanwhile."""

    figure: Figure
    png: bytes
    warned: list[str]
    pyplot: list[int]  # the figures that pyplot had got to know
    texts: list[tuple[str, Bbox, float]]  # every text that is seen, its box and rotation
    box: Bbox  # around everything, in inches


@cache
def drawn(name: str) -> Drawn:
    known = set(plt.get_fignums())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure = FIGURES[name]()
        content = png(figure)
    renderer = FigureCanvasAgg(figure).get_renderer()
    return Drawn(
        figure=figure,
        png=content,
        warned=[str(one.message) for one in caught],
        pyplot=sorted(set(plt.get_fignums()) - known),
        texts=[
            (text.get_text(), text.get_window_extent(renderer), text.get_rotation())
            for text in seen(figure)
        ],
        box=figure.get_tightbbox(renderer),
    )


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
            if not ax.axison:
                hidden |= set(axis.findobj(Text))
    texts = figure.findobj(Text)
    return [t for t in texts if t.get_visible() and t.get_text().strip() and t not in hidden]


EVERY = pytest.mark.parametrize("name", FIGURES)


@EVERY
def test_a_figure_has_the_books_width_and_is_unknown_to_pyplot(name):
    assert drawn(name).figure.get_size_inches()[0] == figures.WIDTH
    assert drawn(name).pyplot == []


@EVERY
def test_the_png_has_the_size_that_the_figure_says(name):
    width, height = drawn(name).figure.get_size_inches()
    assert pixels(drawn(name).png).shape[:2] == (math.floor(height * DPI + 1e-6), width * DPI)


@pytest.mark.parametrize("name", [name for name in FIGURES if " " not in name])
def test_the_same_content_gives_the_same_bytes(name):
    assert drawn(name).png == png(FIGURES[name]())


@EVERY
def test_drawing_warns_of_nothing(name):
    # A warning is printed to stderr, which chapters are compared by.
    assert drawn(name).warned == []


@EVERY
def test_nothing_is_cut_off_and_the_signatures_line_stays_free(name):
    width, height = drawn(name).figure.get_size_inches()
    box = drawn(name).box

    assert box.x0 >= -0.01
    assert box.x1 <= width + 0.01
    assert box.y0 >= SIGNATURE
    assert box.y1 <= height + 0.01
    assert not [
        text
        for text, at, _ in drawn(name).texts
        if min(at.x0, at.y0) < -1 or at.x1 > width * DPI + 1 or at.y1 > height * DPI + 1
    ]


@EVERY
def test_no_text_is_printed_over_another(name):
    # The box of a slanted text is larger than the text; slanted ones are left out.
    straight = [(text, at.padded(-1)) for text, at, turn in drawn(name).texts if turn % 90 == 0]
    pairs = itertools.combinations(straight, 2)
    assert not [(one, other) for (one, at), (other, there) in pairs if at.overlaps(there)]


@EVERY
def test_something_is_drawn(name):
    image = pixels(drawn(name).png)[..., :3]
    assert (image < 0.99).any(axis=2).mean() > 0.005
    assert image.std() > 0.01


# --- that it shows the content ------------------------------------------------------------------


@pytest.mark.parametrize("functions", [("loss_curves", "loss_curves of one epoch"),
                                       ("kl_dimensions", "kl_dimensions of one"),
                                       ("class_counts", "class_counts with a class missing"),
                                       ("intensities", "intensities with a class missing"),
                                       ("data_flow", "data_flow of many dimensions")])  # fmt: skip
def test_other_content_gives_another_picture_of_the_same_size(functions):
    one, other = (drawn(name) for name in functions)
    assert pixels(one.png).shape == pixels(other.png).shape
    assert one.png != other.png


def test_pixels_keep_their_own_scale():
    # A dark image must not be stretched to white, nor a bright row darken another.
    dark, white = torch.full((1, 1, 28, 28), 0.25), torch.ones((1, 1, 28, 28))
    for row, level in (("dark", 0.25), ("white", 1.0)):
        figure = figures.picture_rows({"dark": dark, "white": (255 * white).byte()})
        line = [ax for ax in figure.axes if ax.get_ylabel() == row]
        shown = line[0].images[0]
        assert float(shown.norm(shown.get_array()).mean()) == pytest.approx(level)


def test_variances_share_one_scale():
    means, variances = eda.class_images(clothes())
    figure = figures.class_statistics(means, variances, FASHION_CLASSES)
    limits = {ax.images[0].get_clim() for ax in figure.axes if ax.images}
    assert limits == {(0, 1), (0, variances.max())}


def test_loss_curves_begin_their_axes_after_the_first_fall():
    figure = loss_curves(25, training="train")
    total = figure.axes[0]
    values = history(25).curve("train")

    assert list(total.lines[0].get_ydata()) == values
    assert list(total.lines[0].get_xdata()) == list(range(1, 26))
    low, high = total.get_ylim()
    assert low < min(values) < values[1] < high < values[0]


def test_curves_differ_in_dashes_as_well_as_in_colour():
    figure = loss_curves(5, a="train", b="validation", c="test")
    lines = figure.axes[0].lines
    assert len({line.get_linestyle() for line in lines}) == 3
    assert len({line.get_color() for line in lines}) == 3


def test_kl_dimensions_stand_in_falling_order_under_their_own_names():
    ax = figures.kl_dimensions(torch.tensor([0.5, 3.0, 0.001, 1.0])).axes[0]
    assert [bar.get_height() for bar in ax.patches] == pytest.approx([3.0, 1.0, 0.5, 0.001])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "3", "0", "2"]


def test_one_cycles_peak_is_drawn_at_three_tenths():
    constant, cycle = learning_rates(25).axes[0].lines
    assert set(constant.get_ydata()) == {1e-3}
    peak = np.argmax(cycle.get_ydata())
    assert cycle.get_xdata()[peak] == pytest.approx(7.5, abs=0.1)
    assert cycle.get_ydata()[peak] == pytest.approx(4e-3, rel=1e-3)


def test_the_spread_of_gradients_is_their_standard_deviation_by_dimension():
    samples = {"a": torch.randn((200, 4), generator=torch.Generator().manual_seed(0))}
    drawn_at = figures.gradient_spread(samples).axes[0].lines[0].get_xdata()
    np.testing.assert_allclose(drawn_at, samples["a"].std(0).numpy())


def test_image_grid_refuses_images_without_names():
    with pytest.raises(ValueError, match="shorter"):
        figures.image_grid(torch.zeros(10, 1, 28, 28), FASHION_CLASSES[:9])


def test_grids_of_pictures_read_left_to_right_and_top_down():
    images = torch.stack([torch.full((1, 28, 28), i / 10) for i in range(6)])
    shown = figures.picture_grid(images, columns=3).axes[0].images[0].get_array()
    assert shown.shape == (57, 86)
    assert [shown[0, 0], shown[0, 29], shown[0, 58]] == pytest.approx([0, 0.1, 0.2])
    assert [shown[29, 0], shown[29, 58]] == pytest.approx([0.3, 0.5])
    assert shown[28, 5] == 1  # the line between


def test_classes_differ_in_marker_as_well_as_in_colour():
    lines = latent_maps(1, 10).axes[0].lines
    assert len({line.get_marker() for line in lines}) == 10
    assert len({line.get_color() for line in lines}) == 10


def test_the_longest_bar_stands_first():
    by_class = {"a": Estimate(1.0, 0.1), "b": Estimate(3.0, 0.1), "c": Estimate(2.0, 0.1)}
    ax = figures.class_bars(by_class, "x").axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["b", "c", "a"]


def test_an_interval_that_does_not_survive_is_drawn_hollow():
    found = {"sure": Difference(2.0, 1.0, 3.0, 0.01), "unsure": Difference(0.5, -1.0, 2.0, 0.4)}
    drawn = figures.intervals(found, {"sure": True, "unsure": False}, "nats").axes[0]
    points = [line for line in drawn.lines if line.get_marker() == "o"]
    assert [line.get_markerfacecolor() == "white" for line in points] == [False, True]
    assert [tuple(line.get_xdata()) for line in drawn.lines if len(line.get_xdata()) == 2][:2] == [
        (1.0, 3.0),
        (-1.0, 2.0),
    ]


def test_the_line_of_sizes_meets_the_limit_at_infinity():
    ax = size_bias().axes[0]
    line = next(line for line in ax.lines if line.get_linestyle() == "--")
    assert line.get_xdata()[0] == 0
    assert line.get_ydata()[0] == pytest.approx(8)


def test_the_palette_is_seaborns():
    import seaborn

    assert seaborn.color_palette("colorblind", 10) == figures.COLORS
