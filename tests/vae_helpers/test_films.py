"""Films: what their frames show, and their files."""

import math
from dataclasses import replace
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from PIL import Image

from vae_helpers import films, latent
from vae_helpers.data import garments
from vae_helpers.figures.pictures import pixels
from vae_helpers.figures.style import COLORS, MARKERS, style
from vae_helpers.films import TrainingFilm, read_comment, training_film, walk_film, write_gif
from vae_helpers.models import build_vae

SHAPES = ((1, 28, 28), (3, 32, 32), (3, 17, 23))
CRIMSON = (220, 20, 60)


def watched(shape=(1, 28, 28), frames=5, images=8) -> TrainingFilm:
    """A film of three points, one a class, that go out along their own directions."""
    directions = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-0.5, -1.0]])
    out = torch.linspace(0, 2, frames)[:, None, None]
    pictures = torch.arange(images).view(images, 1, 1, 1).expand(images, *shape) * 20
    return TrainingFilm(
        epochs=torch.linspace(0.5, 4, frames),
        positions=out * directions,
        labels=torch.tensor([0, 1, 2]),
        classes=("a shirt", "trousers", "a shoe"),
        losses=torch.tensor([250.0, 240.0, 20.0]) - torch.arange(frames)[:, None],
        originals=pictures.byte(),
        reconstructions=torch.stack([(pictures + i) / 255 for i in range(frames)]),
        beta=0.5,
    )


@pytest.fixture
def filmed(monkeypatch):
    """A list that gets the figure of each film, and its ``show``, which brings it to a frame."""
    made, photographs = [], films._photographs

    def kept(figure, show, *args):
        made.append(SimpleNamespace(figure=figure, show=show))
        return photographs(figure, show, *args)

    monkeypatch.setattr(films, "_photographs", kept)
    return made


def seen(figure, axes, position) -> tuple[int, int]:
    """Row and column of a frame where a position of these axes is drawn."""
    x, y = axes.transData.transform(position)
    return round(figure.bbox.height - 1 - y), round(x)


def around(frame: np.ndarray, place: tuple[int, int]) -> np.ndarray:
    y, x = place
    return frame[y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3).astype(float).mean(0)


def tone(which: int) -> np.ndarray:
    """A class's colour, as lightly as it is drawn on white."""
    return 255 - 0.7 * (255 - 255 * np.array(COLORS[which]))


# --- a training ---------------------------------------------------------------------------------


@pytest.mark.shows("training_film")
def test_points_of_each_class_lie_where_their_codes_are(filmed):
    film = watched()
    frames = training_film([film])
    (made,) = filmed
    plane = made.figure.axes[0]
    assert plane.get_xlim() == plane.get_ylim() == pytest.approx((-2.2, 2.2))
    for i, positions in enumerate(film.positions):
        made.show(i)
        for which, points in enumerate(plane.collections):
            assert points.get_offsets().tolist() == [positions[which].tolist()]
        if i:  # at first all lie on each other
            for which, position in enumerate(positions):
                place = seen(made.figure, plane, position)
                apart = [np.abs(around(frames[i], place) - tone(k)).sum() for k in range(3)]
                assert which == np.argmin(apart)


def test_classes_differ_in_colour_and_marker_and_are_named(filmed):
    training_film([watched(), watched()])
    figure = filmed[0].figure
    for plane in (figure.axes[0], figure.axes[1]):
        colours = [to_rgb(points.get_facecolor()[0]) for points in plane.collections]
        assert colours == COLORS[:3]
        shapes = [points.get_paths()[0].vertices.tolist() for points in plane.collections]
        assert len({str(shape) for shape in shapes}) == 3
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.texts] == ["a shirt", "trousers", "a shoe"]
    assert [to_rgb(one.get_facecolor()[0]) for one in legend.legend_handles] == COLORS[:3]


def test_more_classes_than_colours_can_be_drawn(filmed):
    film = watched()
    names = tuple(f"class {i}" for i in range(len(MARKERS) + 2))
    assert len(training_film([replace(film, classes=names)])) == 5
    assert len(filmed[0].figure.axes[0].collections) == len(names)


def test_a_dashed_circle_has_radius_2(filmed):
    training_film([watched()])
    (circle,) = filmed[0].figure.axes[0].patches
    assert (circle.get_radius(), circle.center, circle.get_linestyle()) == (2, (0, 0), "--")
    box = filmed[0].figure.axes[0].get_window_extent()
    assert box.width == pytest.approx(box.height)


def test_codes_beyond_the_axes_are_drawn_at_their_edge(filmed):
    film = watched()
    early = film.positions.clone()
    early[0, 0] = torch.tensor([50.0, 0.5])  # within the first epoch
    (first, *_) = training_film([replace(film, positions=early)])
    (made,) = filmed
    plane = made.figure.axes[0]
    made.show(0)
    assert plane.collections[0].get_offsets()[0] == pytest.approx((2.2, 0.5))
    place = seen(made.figure, plane, (2.2, 0.5))
    assert around(first, place) == pytest.approx(tone(0), abs=25)


@pytest.mark.parametrize("shape", SHAPES)
def test_originals_stand_over_their_reconstructions(shape, filmed):
    film = watched(shape)
    frames = training_film([film])
    (made,) = filmed
    strip = made.figure.axes[1]
    for i, frame in enumerate(frames):
        assert frame.dtype == np.uint8
        assert frame.shape == frames[0].shape
        for column in range(8):
            x = column * (shape[2] + 1) + shape[2] // 2
            for row in range(2):
                y = row * (shape[1] + 1) + shape[1] // 2
                place = frame[seen(made.figure, strip, (x, y))]
                assert np.abs(place.astype(int) - (20 * column + row * i)).max() <= 1
    assert (frames[0].shape[1], frames[0].shape[2]) == (480, 3)


def test_colours_of_pictures_are_their_own(filmed):
    film = watched((3, 8, 8))
    colour = torch.tensor([255, 128, 0], dtype=torch.uint8)
    originals = colour[None, :, None, None].expand(8, 3, 8, 8)
    frame = training_film([replace(film, originals=originals)])[0]
    place = seen(filmed[0].figure, filmed[0].figure.axes[1], (4, 4))
    assert (frame[place] == colour.numpy()).all()


def test_fewer_pictures_fill_the_row(filmed):
    training_film([watched(images=2)])
    picture = filmed[0].figure.axes[1].images[0].get_array()
    assert picture.shape == (2 * 28 + 1, 2 * 28 + 1)


def test_several_trainings_stand_side_by_side_on_common_axes(filmed):
    film = watched()
    far = replace(film, positions=3 * film.positions)
    frames = training_film([film, far, far])
    assert frames[0].shape[1] == 720
    planes = filmed[0].figure.axes[:3]
    assert {plane.get_xlim() for plane in planes} == {planes[0].get_ylim()}
    assert planes[0].get_xlim()[1] == pytest.approx(1.1 * 6)
    lefts, widths = zip(*((p.bbox.x0, p.bbox.width) for p in planes), strict=True)
    assert lefts == tuple(sorted(lefts))
    assert widths == pytest.approx([widths[0]] * 3)
    for plane, one in zip(planes, (film, far, far), strict=True):
        assert plane.collections[1].get_offsets()[0].tolist() == one.positions[-1, 1].tolist()


def test_a_signature_stands_at_the_bottom_and_a_mark_across():
    film = watched()
    plain = training_film([film])[0]
    signed = training_film([film], signature="Ada 🎩, $x$")[0]
    changed = (plain != signed).any(2)
    assert changed[-16:, 300:].sum() == changed.sum() > 20
    marked = training_film([film], mark="smoke run")[0]
    changed = (plain != marked).any(2)
    middle = slice(plain.shape[0] // 2 - 30, plain.shape[0] // 2 + 30)
    assert changed[middle].sum() == changed.sum() > 500
    assert (marked[middle] == CRIMSON).all(2).any()


def test_the_words_above_the_axes_say_epoch_and_losses(filmed):
    film = watched()
    other = replace(film, beta=4.0, losses=film.losses / 2, epochs=film.epochs + 1)
    training_film([film, other])
    (made,) = filmed
    for i, epoch in enumerate((0.5, 1.4, 2.2, 3.1, 4.0)):
        made.show(i)
        first, second = (ax.get_title(loc="left") for ax in made.figure.axes[:2])
        assert first == (
            f"β = 0.5 · epoch {epoch}\ntotal {250 - i}.0 nats\n= {240 - i}.0 + 0.5 × {20 - i}.0"
        )
        assert second == (
            f"β = 4 · epoch {epoch + 1}\ntotal {125 - i / 2} nats\n"
            f"= {120 - i / 2} + 4 × {10 - i / 2}"
        )
    assert [ax.get_title(loc="left") for ax in made.figure.axes[2:]] == 2 * [
        "test images, reconstructions"
    ]


def test_each_training_has_its_own_points_and_pictures(filmed):
    film = watched()
    pale = {"originals": 255 - film.originals, "reconstructions": 1 - film.reconstructions}
    training_film([film, replace(film, positions=-film.positions, **pale)])
    (made,) = filmed
    (_, other, strip, pale_strip), picture = made.figure.axes, None
    for i in (1, 3, 0):
        made.show(i)
        for which, points in enumerate(other.collections):
            assert points.get_offsets().tolist() == [(-film.positions[i, which]).tolist()]
        picture, pale_picture = (ax.images[0].get_array() for ax in (strip, pale_strip))
        inked = picture != 1  # but for the white lines between pictures
        np.testing.assert_allclose(picture[inked] + pale_picture[inked], 1, atol=1e-6)


@pytest.mark.shows("training_film")
def test_a_film_shows_its_frames_in_their_order(filmed):
    film = watched()
    frames = training_film([film])
    (made,) = filmed
    for i in (3, 0, 4, 1, 2):
        with style():
            made.show(i)
            made.figure.canvas.draw()
        assert np.array_equal(np.array(made.figure.canvas.buffer_rgba())[..., :3], frames[i])


def test_what_stays_does_not_move():
    film = watched()
    still = replace(film, positions=film.positions[-1:].expand_as(film.positions))
    frames = training_film(
        [
            replace(
                still,
                reconstructions=film.reconstructions[:1].expand(5, *film.reconstructions.shape[1:]),
            )
        ]
    )
    assert all((frame[100:] == frames[0][100:]).all() for frame in frames)


def test_pictures_that_are_none_are_refused():
    film = watched()
    with pytest.raises(ValueError, match="pixels"):
        training_film([replace(film, reconstructions=film.reconstructions * 300)])
    with pytest.raises(ValueError, match="or 3, RGB"):
        training_film([watched((2, 8, 8))])


def test_drawing_leaves_settings_as_they_are_and_does_not_follow_them():
    film, before = watched(), dict(matplotlib.rcParams.copy())
    expected = training_film([film])[-1]
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 20, "figure.dpi": 50}):
        assert (training_film([film])[-1] == expected).all()
    assert dict(matplotlib.rcParams.copy()) == before


# --- a walk -------------------------------------------------------------------------------------


def walker(shape, latents=3):
    images = garments(40, seed=0)
    if shape != (1, 28, 28):
        pixels = torch.rand((40, *shape), generator=torch.Generator().manual_seed(0))
        images = replace(images, images=(255 * pixels).byte())
    return build_vae("dense", latents, shape), images


def walked(shape, latents=3, **options):
    return walk_film(*walker(shape, latents), "β = 1", **options)


@pytest.mark.shows("walk_film")
@pytest.mark.parametrize("shape", SHAPES)
def test_a_walk_moves_one_dimension_a_picture_in_the_order_of_their_kl(shape, filmed):
    model, images = walker(shape)
    frames = walk_film(model, images, "β = 1")
    (made,) = filmed
    shown = [axes for axes in made.figure.axes if axes.get_visible()]
    order, kl = latent.by_kl(model, images)
    codes = latent.aggregate(model, images)
    assert (kl.diff() <= 0).all()

    def words(i):
        made.show(i)
        return made.figure.get_suptitle()

    way = [float(words(i).split()[-2]) for i in range(films.WALK)]
    far, back = way.index(max(way)), way.index(min(way))
    assert (way[0], way[far], way[back], way[-1]) == (0, 3, -3, 3)
    assert way[: far + 1] == sorted(way[: far + 1])
    assert way[far : back + 1] == sorted(way[far : back + 1], reverse=True)
    assert way[back:] == sorted(way[back:])
    for i in (0, films.WALK - 1, 20):
        turn = 3 * math.sin(2.5 * math.pi * i / (films.WALK - 1))
        made.show(i)
        assert made.figure.get_suptitle() == f"β = 1    {turn:+.1f} σ"
        for axes, dimension, nats in zip(shown, order.tolist(), kl.tolist(), strict=True):
            assert axes.get_title() == f"z{dimension}: {nats:.2f} nats"
            z = codes.mean(0, keepdim=True)
            z[:, dimension] += turn * codes.std(0)[dimension]
            (picture,) = pixels(latent.decode(model, z))
            assert np.allclose(axes.images[0].get_array(), picture, atol=1e-4)
            y, x = shape[1] // 2, shape[2] // 2
            drawn = frames[i][seen(made.figure, axes, (x, y))]
            assert np.abs(drawn - 255 * picture[y, x]).max() <= 1
    assert len(frames) == films.WALK
    assert {frame.shape for frame in frames} == {(*frames[0].shape[:1], 500, 3)}


def test_a_walk_has_as_many_rows_as_it_needs(filmed):
    walked((1, 28, 28), latents=7)
    visible = [axes.get_visible() for axes in filmed[0].figure.axes]
    assert visible == [True] * 7 + [False] * 3


def test_a_walk_is_marked_and_signed():
    plain = walked((1, 28, 28))
    signed = walked((1, 28, 28), signature="Ada")
    assert (plain[0][-12:] != signed[0][-12:]).any()
    assert (plain[0][:-12] == signed[0][:-12]).all()
    marked = walked((1, 28, 28), mark="smoke run")
    assert (marked[0] == CRIMSON).all(2).any()


def test_a_walk_leaves_a_model_in_training_as_it_was():
    model = build_vae("residual", 3)
    images = garments(40, seed=0)
    expected = walk_film(model.eval(), images)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert np.array_equal(walk_film(model.train(), images), expected)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# --- files --------------------------------------------------------------------------------------


def read(path):
    """What a GIF says of itself, and its frames with their durations."""
    frames, durations = [], []
    with Image.open(path) as film:
        info = dict(film.info)
        for i in range(film.n_frames):
            film.seek(i)
            frames.append(np.array(film.convert("RGB")))
            durations.append(film.info["duration"])
    return info, frames, durations


@pytest.mark.shows("write_gif", "read_comment")
def test_a_gif_loops_holds_its_last_frame_and_has_it_beside_it(tmp_path):
    made = training_film([watched()])
    write_gif(tmp_path / "film.gif", made, "what it was made of")
    info, frames, durations = read(tmp_path / "film.gif")
    assert info["loop"] == 0
    assert durations == [films.FRAME] * 4 + [films.LAST_FRAME]
    still = np.array(Image.open(tmp_path / "film.png").convert("RGB"))
    assert (still == frames[-1]).all()
    for i, shown in enumerate(frames):
        apart = [np.abs(frame.astype(int) - shown).mean() for frame in made]
        assert apart[i] == min(apart) < 3
    assert read_comment(tmp_path / "film.gif") == "what it was made of"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.gif", "film.png"]


def test_a_gif_of_other_origin_has_no_comment(tmp_path):
    Image.new("P", (4, 4)).save(tmp_path / "foreign.gif")
    assert read_comment(tmp_path / "foreign.gif") == ""


def canvas(colours) -> np.ndarray:
    return np.concatenate([np.full((40, 20, 3), colour, np.uint8) for colour in colours], axis=1)


def test_colours_of_classes_survive_the_palette(tmp_path):
    three = canvas([np.round(255 * np.array(color)) for color in COLORS[:3]])
    write_gif(tmp_path / "c.gif", [three, three[::-1]])
    assert np.abs(read(tmp_path / "c.gif")[1][0].astype(int) - three).max() <= 8


def test_any_colour_survives(tmp_path):
    rare = canvas([(255, 0, 255), (1, 2, 3), (90, 200, 20), (250, 250, 0)])
    write_gif(tmp_path / "c.gif", [rare, rare[:, ::-1]])
    assert np.abs(read(tmp_path / "c.gif")[1][0].astype(int) - rare).max() <= 8


def test_a_film_of_one_frame_can_be_written(tmp_path):
    write_gif(tmp_path / "c.gif", [canvas([(250, 0, 0), (255, 255, 255)])])
    assert len(read(tmp_path / "c.gif")[1]) == 1
    assert (tmp_path / "c.png").is_file()


def test_a_long_film_of_many_points_is_small(tmp_path):
    generator = torch.Generator().manual_seed(0)
    film = watched(frames=100)
    moving = torch.randn((600, 2), generator=generator) * torch.linspace(0.1, 2, 100)[:, None, None]
    write_gif(
        tmp_path / "c.gif",
        training_film([replace(film, positions=moving, labels=torch.arange(600) % 3)]),
    )
    assert (tmp_path / "c.gif").stat().st_size <= 1_500_000
