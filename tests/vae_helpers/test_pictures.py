"""Pictures: each in its place and upright, in its own colours, under its own name."""

import numpy as np
import pytest
import torch

from vae_helpers import figures, latent
from vae_helpers.figures.pictures import pixels

SHAPES = ((1, 28, 28), (3, 32, 32), (1, 17, 23), (3, 17, 23))


def levels(count: int, shape=(1, 28, 28)) -> torch.Tensor:
    """Pictures that are each of one grey, or of one colour, and all of them different."""
    values = torch.arange(count * shape[0]).view(count, shape[0], 1, 1) / (count * shape[0])
    return values.expand(count, *shape).clone()


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        (torch.zeros(4, 2, 8, 8), r"images of shape \(4, 2, 8, 8\); give \(N, C, H, W\)"),
        (torch.zeros(28, 28), r"images of shape \(28, 28\)"),
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


@pytest.mark.shows("picture_grid")
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


@pytest.mark.shows("picture_grid", "picture_rows", "manifold")
@pytest.mark.parametrize("shape", SHAPES)
def test_pictures_stand_upright_and_are_not_mirrored(shape):
    picture = torch.rand((1, *shape), generator=torch.Generator().manual_seed(0))
    expected = picture[0].permute(1, 2, 0).numpy()
    expected = expected[..., 0] if shape[0] == 1 else expected
    for figure in (
        figures.picture_grid(picture, columns=1),
        figures.picture_rows({"a": picture}),
        figures.manifold(picture),
    ):
        (ax,) = figure.axes
        np.testing.assert_allclose(shown(ax), expected)
        assert ax.images[0].origin == "upper"


@pytest.mark.shows("show_picture")
def test_a_picture_has_no_frame_and_another_one_takes_its_place():
    first, second = figures.pictures.pixels(levels(2))
    ax = figures.panel(2.0)[1]
    for picture in (first, second):
        figures.show_picture(ax, picture, cmap="magma")
        (drawn,) = ax.images
        np.testing.assert_allclose(shown(ax), picture)
        assert (drawn.get_clim(), drawn.get_cmap().name) == ((0, 1), "magma")
    assert not any(spine.get_visible() for spine in ax.spines.values())
    assert [*ax.get_xticks(), *ax.get_yticks()] == []


def test_pixels_keep_their_own_scale():
    # A dark image must not be stretched to white.
    (ax,) = figures.picture_grid(torch.full((1, 1, 28, 28), 0.25), columns=1).axes
    drawn = ax.images[0]
    assert drawn.to_rgba(drawn.get_array())[0, 0] == pytest.approx((0.25, 0.25, 0.25, 1), abs=0.01)


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


@pytest.mark.shows("picture_rows")
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


@pytest.mark.shows("manifold")
@pytest.mark.parametrize("shape", SHAPES)
def test_a_manifold_lies_as_its_axes_say(shape):
    places = latent.quantile_grid(3)
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
