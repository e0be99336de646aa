"""Films: what their frames show, and their files."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from vae_helpers import films, latent
from vae_helpers.data import garments
from vae_helpers.figures import COLORS
from vae_helpers.films import TrainingFilm, read_comment, training_film, walk_film, write_gif
from vae_helpers.models import build_vae

SHAPES = ((1, 28, 28), (3, 32, 32), (3, 17, 23))
AXES = (26, 76, 450)  # left, top and length of a single film's axes, in pixels
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
        losses=torch.tensor([[250.0, 240.0, 20.0]]).repeat(frames, 1),
        originals=pictures.byte(),
        reconstructions=torch.stack([(pictures + i) / 255 for i in range(frames)]),
        beta=0.5,
    )


def at(position, reach: float) -> tuple[int, int]:
    """Row and column where a code is drawn in a single film."""
    left, top, length = AXES
    x, y = ((float(one) / reach + 1) / 2 for one in position)
    return round(top + length * (1 - y)), round(left + length * x)


def around(frame: np.ndarray, place: tuple[int, int]) -> np.ndarray:
    y, x = place
    return frame[y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3).astype(float).mean(0)


def tone(which: int) -> np.ndarray:
    """A class's colour, as lightly as it is drawn on white."""
    return 255 - 0.7 * (255 - 255 * np.array(COLORS[which]))


# --- a training ---------------------------------------------------------------------------------


def test_points_of_each_class_are_drawn_where_the_axes_say():
    film = watched()
    frames = training_film([film])
    reach = 1.1 * 2
    for frame, positions in zip(frames[1:], film.positions[1:], strict=True):
        for which, position in enumerate(positions):
            assert around(frame, at(position, reach)) == pytest.approx(tone(which), abs=25)
    # The circle has radius 2, and ticks stand at the axes' ends.
    on_circle = 2 / 2**0.5
    dashes = [at((on_circle * x, on_circle * y), reach) for x in (-1, 1) for y in (-1, 1)]
    assert min(frames[0][y - 3 : y + 4, x - 3 : x + 4].min() for y, x in dashes) < 200


def test_codes_beyond_the_axes_are_drawn_at_their_edge():
    film = watched()
    early = film.positions.clone()
    early[0, 0] = torch.tensor([50.0, 0.5])  # within the first epoch
    (first, *_) = training_film([replace(film, positions=early)])
    assert around(first, at((2.2, 0.5), 2.2)) == pytest.approx(tone(0), abs=25)


@pytest.mark.parametrize("shape", SHAPES)
def test_originals_stand_over_their_reconstructions(shape):
    film = watched(shape)
    tall = round(60 * shape[1] / shape[2])
    for i, frame in enumerate(training_film([film])):
        assert frame.dtype == np.uint8
        assert frame.shape == (72 + 480 + 22 + 2 * tall + 16, 480, 3)
        for column in range(8):
            place = frame[574 : 574 + 2 * tall, 60 * column : 60 * column + 60]
            assert (place[:tall] == 20 * column).all()
            assert (place[tall:] == 20 * column + i).all()


def test_colours_of_pictures_are_their_own():
    film = watched((3, 8, 8))
    colour = torch.tensor([255, 128, 0], dtype=torch.uint8)
    originals = colour[None, :, None, None].expand(8, 3, 8, 8)
    frame = training_film([replace(film, originals=originals)])[0]
    assert (frame[574:634] == colour.numpy()).all()


def test_fewer_pictures_fill_the_row():
    frames = training_film([watched(images=2)])
    assert (frames[0][574 : 574 + 240, 240:480] == 20).all()


def test_several_trainings_stand_side_by_side_on_common_axes():
    film = watched()
    wide = replace(film, positions=3 * film.positions)
    frames = training_film([film, wide])
    assert frames[0].shape[1] == 480
    left, right = np.split(frames[-1], 2, axis=1)
    places = []
    for half in (left, right):
        near = np.abs(half.astype(float) - tone(0)).sum(2) < 20
        near[:, :60] = False  # the legend
        across = np.nonzero(near[80:300])[1]
        places.append((across.min() + across.max()) / 2)
    middle = 26 + 210 / 2
    assert (places[1] - middle) == pytest.approx(3 * (places[0] - middle), abs=3)


def test_a_signature_stands_at_the_bottom_and_a_mark_across():
    film = watched()
    plain = training_film([film])[0]
    signed = training_film([film], signature="Ada 🎩")[0]
    assert (plain[-14:] != signed[-14:]).any()
    assert (plain[:-14] == signed[:-14]).all()
    marked = training_film([film], mark="smoke run")[0]
    changed = (plain != marked).any(2)
    middle = slice(plain.shape[0] // 2 - 30, plain.shape[0] // 2 + 30)
    assert changed[middle].sum() == changed.sum() > 500
    assert (marked[middle] == CRIMSON).all(2).any()


def test_the_words_above_the_axes_change_with_epoch_and_losses():
    film = watched()
    one, other = (training_film([f])[2][:72] for f in (film, replace(film, losses=2 * film.losses)))
    assert (one[:36] == other[:36]).all()
    assert (one[36:] != other[36:]).any()
    later = training_film([film])[3][:72]
    assert (later[:36] != one[:36]).any()


# --- a walk -------------------------------------------------------------------------------------


def walked(shape, mark="", **changes):
    model = build_vae("dense", 3, shape)
    images = garments(40, seed=0)
    if shape != (1, 28, 28):
        pixels = torch.rand((40, *shape), generator=torch.Generator().manual_seed(0))
        images = replace(images, images=(255 * pixels).byte())
    return model, images, walk_film(model, images, "β = 1", mark=mark, **changes)


def tiles(frame: np.ndarray, shape, count: int = 3) -> list[np.ndarray]:
    tall = round(84 * shape[1] / shape[2])
    return [frame[46 : 46 + tall, 6 + 90 * i : 6 + 90 * i + 84] for i in range(count)]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_walk_moves_one_dimension_a_tile_in_the_order_of_their_kl(shape):
    model, images, frames = walked(shape)
    order, kl = latent.by_kl(model, images)
    codes = latent.aggregate(model, images)
    for frame, turn in ((frames[0], 0.0), (frames[-1], 3.0)):
        for tile, dimension in zip(tiles(frame, shape), order, strict=True):
            z = codes.mean(0, keepdim=True)
            z[:, dimension] += turn * codes.std(0)[dimension]
            picture = (255 * latent.decode(model, z)[0]).round().byte().permute(1, 2, 0).numpy()
            middle = tile[::, ::][tile.shape[0] // 2, tile.shape[1] // 2]
            y, x = (
                int((half + 0.5) * side / whole)
                for half, side, whole in (
                    (tile.shape[0] // 2, shape[1], tile.shape[0]),
                    (tile.shape[1] // 2, shape[2], 84),
                )
            )
            assert middle.tolist() == picture[y, x].repeat(3 // shape[0]).tolist()
    assert (kl.diff() <= 0).all()
    assert len(frames) == films.WALK
    before = tiles(frames[0], shape)
    after = tiles(frames[-1], shape)
    assert all((one == before[0]).all() for one in before)
    assert all((one != other).any() for one, other in zip(before, after, strict=True))


def test_a_walk_is_marked_and_signed():
    _, _, plain = walked((1, 28, 28))
    _, _, signed = walked((1, 28, 28), signature="Ada")
    assert (plain[0][-12:] != signed[0][-12:]).any()
    assert (plain[0][:-12] == signed[0][:-12]).all()
    _, _, marked = walked((1, 28, 28), mark="smoke run")
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


@pytest.mark.parametrize("colors", [0, 3])
def test_a_gif_loops_holds_its_last_frame_and_has_it_beside_it(tmp_path, colors):
    made = training_film([watched()])
    write_gif(tmp_path / "film.gif", made, "what it was made of", colors=colors)
    info, frames, durations = read(tmp_path / "film.gif")
    assert info["loop"] == 0
    assert durations == [films.FRAME] * 4 + [films.LAST_FRAME]
    still = np.array(Image.open(tmp_path / "film.png").convert("RGB"))
    assert (still == frames[-1]).all()
    for frame, shown in zip(made, frames, strict=True):
        assert np.abs(frame.astype(int) - shown).mean() < 3
    assert read_comment(tmp_path / "film.gif") == "what it was made of"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.gif", "film.png"]


def test_a_gif_of_other_origin_has_no_comment(tmp_path):
    Image.new("P", (4, 4)).save(tmp_path / "foreign.gif")
    assert read_comment(tmp_path / "foreign.gif") == ""


def canvas(colours) -> np.ndarray:
    return np.concatenate([np.full((40, 20, 3), colour, np.uint8) for colour in colours], axis=1)


def test_colours_of_classes_survive_the_palette(tmp_path):
    three = canvas([np.round(255 * np.array(color)) for color in COLORS[:3]])
    write_gif(tmp_path / "c.gif", [three, three[::-1]], colors=3)
    assert np.abs(read(tmp_path / "c.gif")[1][0].astype(int) - three).max() <= 8


def test_any_colour_survives_a_palette_of_the_frames_own(tmp_path):
    rare = canvas([(255, 0, 255), (1, 2, 3), (90, 200, 20), (250, 250, 0)])
    write_gif(tmp_path / "c.gif", [rare, rare[:, ::-1]])
    assert np.abs(read(tmp_path / "c.gif")[1][0].astype(int) - rare).max() <= 8
