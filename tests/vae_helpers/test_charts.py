"""Charts: lines, bars, numbers and points are the data's, each under its own name and colour."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch
from matplotlib.text import Text

from vae_helpers import figures
from vae_helpers.figures.style import DASHES
from vae_helpers.training import History


@dataclass(frozen=True)
class Number:
    """What figures ask of an ``Estimate``."""

    value: float
    error: float | None = None


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


def row_names(ax) -> list[str]:
    return [text.get_text() for text in ax.get_yticklabels()]


def colour(drawn) -> tuple[float, ...]:
    """That of what is drawn for one name, or of its sign in a legend."""
    drawn = getattr(drawn, "lines", getattr(drawn, "patches", [drawn]))[0]  # of a container
    if isinstance(drawn, StepPatch):
        return to_rgb(drawn.get_edgecolor())
    found = drawn.get_color() if hasattr(drawn, "get_color") else drawn.get_facecolor()
    return to_rgb(found[0] if isinstance(drawn, LineCollection) else found)


def colours_of(ax) -> dict[str, tuple[float, ...]]:
    handles, names = ax.get_legend_handles_labels()
    return dict(zip(names, map(colour, handles), strict=True))


LEGENDS = {
    "curves": lambda: figures.curves(
        {y: {"a": {1: 2}, "r": ([0, 1], [0, 1]), "b": {1: Number(3, 0.1)}} for y in "uvw"},
        "x",
        reference="r",
    ),
    "curves of many names": lambda: figures.curves({"y": {f"{i}": {i: i} for i in range(12)}}),
    "loss_curves": lambda: loss_curves(3, training="train", held="validation", test="test"),
    "histograms": lambda: figures.histograms(
        {"one": codes(50)[:, 0].abs(), "other": codes(50).abs(), "third": codes(50)[:, 1].abs()},
        "z",
        density={"law": np.ones_like},
    ),
    "bars": lambda: figures.bars(
        {"train": {"a": 2, "b": 1}, "test": {"a": Number(1, 0.1), "b": Number(2, 0.1)}},
        "x",
        marks={"active": 1.5},
    ),
}


@pytest.mark.fault(
    "panels of one figure have different lines, or the same ones in another order",
    "every name has one colour in all of them, and the legend has them all",
)
def test_names_keep_their_colours_where_panels_have_other_lines():
    series = {"u": {"a": {1: 2}, "b": {1: 3}}, "v": {"c": {1: 4}, "b": {1: 5}}, "w": {"a": {1: 6}}}
    figure = figures.curves(series, "x", columns=3)
    (legend,) = figure.legends
    said = dict(zip(legend_names(figure), map(colour, legend.legend_handles), strict=True))
    assert said == dict(zip("abc", figures.COLORS, strict=False))
    for ax, lines in zip(figure.axes, series.values(), strict=True):
        assert colours_of(ax) == {name: said[name] for name in lines}
        assert {name: y for name, (_, [y]) in lines_of(ax).items()} == {
            name: points[1] for name, points in lines.items()
        }


@pytest.mark.parametrize("drawn", LEGENDS)
def test_a_legend_has_the_colour_that_each_name_has_in_every_panel(drawn):
    figure = LEGENDS[drawn]()
    (legend,) = figure.legends
    said = dict(zip(legend_names(figure), map(colour, legend.legend_handles), strict=True))
    assert len(set(said.values())) == min(len(said), 10)
    for ax in filter(lambda ax: ax.axison, figure.axes):
        assert colours_of(ax) == said


# --- curves -------------------------------------------------------------------------------------


@pytest.mark.shows("curves")
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


@pytest.mark.shows("curves")
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
    panels = {y: {"a": {1: 5, 10: 7}} for y in "uv"}
    figure = figures.curves(panels, "x", levels={"floor": 4.5}, marks={"prior": 2.0})
    for ax, word in zip(figure.axes, ("prior", ""), strict=True):  # crossed at the same place
        level, mark = ax.lines[-2:]
        assert set(level.get_ydata()) == {4.5}
        assert set(mark.get_xdata()) == {2.0}
        named = {text.get_text(): text.xy for text in ax.texts}
        assert named["floor"][1] == 4.5
        assert named[word][0] == 2.0


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
        return {
            text.get_text(): x
            for text, x in zip(ax.get_xticklabels(), ax.get_xticks(), strict=True)
        }

    assert ticks((64, 0.01, 1)) == {"0.01": 0.01, "1": 1, "64": 64}
    assert "$" in "".join(ticks(range(1, 9)))  # powers of ten


def test_whole_numbers_are_ticked_at_whole_numbers():
    (ax,) = figures.curves({"y": {"a": {1: 5, 3: 7}}}, "x").axes
    assert set(ax.get_xticks()) >= {1, 2, 3}
    assert all(x == int(x) for x in ax.get_xticks())


def test_options_are_those_of_every_panel():
    series = {y: {"a": {1: 5, 3: 7}} for y in "uv"}
    figure = figures.curves(series, "x", yscale="log", xscale="log", ylim=(0.1, 9), xlim=(0.5, 4))
    for ax in figure.axes:
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        assert (*ax.get_xlim(), *ax.get_ylim()) == (0.5, 4, 0.1, 9)


def test_loss_curves_draw_each_term_of_each_split():
    figure = loss_curves(25, training="train", held="validation")
    assert [ax.get_ylabel() for ax in figure.axes] == ["total", "reconstruction", "KL"]
    for ax, term in zip(figure.axes, ("total", "reconstruction", "kl"), strict=True):
        epochs = list(range(1, 26))
        assert lines_of(ax) == {
            "training": (epochs, history(25).curve("train", term)),
            "held": (epochs, history(25).curve("validation", term)),
        }
        assert ax.get_xlabel() == "epoch"
    assert figure.get_supylabel() == "nats per image"
    (only,) = figures.loss_curves({"a": (history(3), "test")}, terms=["kl"]).axes
    assert only.get_ylabel() == "KL"
    assert lines_of(only)["a"][1] == history(3).curve("test", "kl")
    (single,) = figures.loss_curves({"a": (history(1), "test")}, terms=["kl"]).axes
    assert lines_of(single)["a"] == ([1], history(1).curve("test", "kl"))


@pytest.mark.shows("loss_curves")
def test_each_line_of_losses_is_of_its_own_history():
    runs = {"fast": (history(9, start=90.0), "test"), "slow": (history(9), "test")}
    ax = figures.loss_curves(runs).axes[0]
    low, high = ax.get_ylim()
    for name, (made, split) in runs.items():
        values = made.curve(split)
        assert lines_of(ax)[name][1] == values
        assert low < min(values[1:]) < max(values[1:]) < high


def test_loss_curves_begin_their_axes_after_the_first_fall():
    values = history(25).curve("train")
    low, high = loss_curves(25, training="train").axes[0].get_ylim()
    assert low < min(values) < values[1] < high < values[0]


@pytest.mark.shows("histograms")
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


@pytest.mark.shows("histograms")
def test_no_bin_of_a_histogram_is_lost_or_moved():
    values = torch.tensor([0.0, 0, 0.51, 2, 4, 4])
    figure = figures.histograms({"a": values}, "x", xlim=(0, 5), yscale="log")
    (ax,) = figure.axes
    assert (ax.get_ylabel(), ax.get_xlim(), ax.get_yscale()) == ("density", (0, 5), "log")
    density, edges, _ = ax.patches[0].get_data()
    assert (edges[0], edges[-1], len(edges)) == (0, 4, len(density) + 1)
    shares = {float(edges[i]): share for i, share in enumerate(density * np.diff(edges)) if share}
    assert shares == pytest.approx({0: 2 / 6, 0.5: 1 / 6, 2: 1 / 6, 3.95: 2 / 6})


def test_each_column_of_codes_is_a_thin_line_within_the_span():
    many = codes(5_000, 3) * torch.tensor([0.5, 1.0, 0.1])
    figure = figures.histograms({"codes": many}, "z", span=(-4, 4))
    lines = figure.axes[0].lines
    assert legend_names(figure) == ["codes"]
    assert len({line.get_color() for line in lines}) == 1  # they are one name's
    for line, sd in zip(lines, (0.5, 1.0, 0.1), strict=True):
        x, density = line.get_xdata(), line.get_ydata()
        assert -4 < x[0] < x[-1] < 4
        assert (density * x).sum() * (x[1] - x[0]) == pytest.approx(0, abs=0.02)
        assert math.sqrt((density * x**2).sum() * (x[1] - x[0])) == pytest.approx(sd, rel=0.05)


# --- charts -------------------------------------------------------------------------------------


@pytest.mark.shows("bars")
def test_bars_are_as_long_as_their_numbers_beside_their_names():
    groups = {"train": {"a": 6_000, "b": 5_000}, "test": {"b": 0.5, "a": 1_000}}
    figure = figures.bars(groups, "images")
    (ax,) = figure.axes
    assert legend_names(figure) == list(groups)
    assert ax.get_xlabel() == "images"
    assert row_names(ax) == ["a", "b"]
    assert ax.get_yticks().tolist() == [0, 1]
    assert ax.yaxis_inverted()  # the first one on top
    middles = []
    for bars, (group, numbers), color in zip(
        ax.containers, groups.items(), figures.COLORS, strict=False
    ):
        assert bars.get_label() == group
        assert [bar.get_width() for bar in bars] == [numbers["a"], numbers["b"]]
        middles += [bar.get_y() + bar.get_height() / 2 for bar in bars]
        assert {bar.get_facecolor()[:3] for bar in bars} == {color}
    np.testing.assert_allclose(middles, [-0.2, 0.8, 0.2, 1.2])  # the first group above the other
    assert [text.get_text() for text in ax.texts] == ["6,000", "5,000", "1,000", "0.50"]
    np.testing.assert_allclose([text.xy[1] for text in ax.texts], middles)


def test_ranks_are_those_of_the_first_group_for_all_of_them():
    groups = {"one": {"a": 1, "b": 3, "c": 2}, "other": {"a": 7, "b": 5, "c": 6}}
    (ax,) = figures.bars(groups, "x", ranked=True).axes
    assert row_names(ax) == ["b", "c", "a"]
    for bars, numbers in zip(ax.containers, groups.values(), strict=True):
        assert [bar.get_width() for bar in bars] == [numbers[name] for name in "bca"]
    assert [text.get_text() for text in ax.texts] == [f"{n}.00" for n in (3, 2, 1, 5, 6, 7)]


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


@pytest.mark.shows("matrix")
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


@pytest.mark.parametrize("log", [True, False])
def test_a_matrix_is_dark_where_much_is_and_its_bar_says_what(log):
    counts = np.array([[1, 10, 100], [0, 0, 0], [0, 0, 100]])
    figure = figures.matrix(counts, list("abc"), log=log, fmt="d", label="images")
    ax, bar = figure.axes
    assert bar.get_ylabel() == "images"
    (mesh,) = ax.collections
    assert mesh.get_clim() == (0.5 * log, 100 + 0.5 * log)
    assert bar.get_ylim() == pytest.approx(mesh.get_clim())
    assert isinstance(mesh.norm, LogNorm) == log
    figure.draw_without_rendering()
    light = mesh.get_facecolors()[:, :3].sum(1)
    assert light[0] > light[1] > light[2]
    assert len(figures.matrix(counts, list("abc"), log=log, fmt="d").axes) == 1


# --- a latent space -----------------------------------------------------------------------------


@pytest.mark.shows("latent_maps")
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
        assert ax.get_aspect() == 1  # as far apart across as up
        assert [line.get_color() for line in ax.lines] == figures.COLORS[:3]
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


def test_maps_whose_classes_lie_apart_name_them_at_each_ones_own_medians():
    labels = torch.arange(60) % 3
    maps = {f"{sign}": codes(60) + sign * 20 * labels[:, None] for sign in (1, -1)}
    figure = figures.latent_maps(maps, labels, ["a", "b", "c"])
    assert not figure.legends
    for ax, found in zip(figure.axes, maps.values(), strict=True):
        for text, label in zip(sorted(ax.texts, key=Text.get_text), range(3), strict=True):
            median = found[labels == label].median(0).values
            assert text.get_position() == pytest.approx(median.tolist())
    together = maps | {"0": codes(60)}  # one crowded map is enough for a legend
    figure = figures.latent_maps(together, labels, ["a", "b", "c"])
    assert legend_names(figure) == ["a", "b", "c"]
    assert not any(ax.texts for ax in figure.axes)


@pytest.mark.shows("name_classes")
def test_a_name_that_another_one_would_cover_stands_below_it():
    figure, ax = figures.panel(4.0)
    ax.set(xlim=(0, 100), ylim=(0, 100))
    labels = torch.tensor([2, 5, 9]).repeat_interleave(3)
    spread = torch.tensor([[-1.0, -1.0], [0.0, 0.0], [40.0, 40.0]]).repeat(3, 1)  # median (0, 0)
    middles = torch.tensor([[50.0, 49.0], [50.0, 50.0], [10.0, 50.0]])
    codes = middles.repeat_interleave(3, dim=0) + spread
    figures.name_classes(ax, codes, labels, [f"class {i}" for i in range(10)])
    placed = {text.get_text(): text.get_position() for text in ax.texts}
    assert placed["class 5"] == (50, 50)
    assert placed["class 9"] == (10, 50)
    assert placed["class 2"] == (50, pytest.approx(45.5))
