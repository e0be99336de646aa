"""Films: their frames, their files, and when they are drawn again."""

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from PIL import Image

from vae_helpers import animation, data, runs

NAMES = ("beta-0.1", "beta-0.5", "beta-1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("films")


@pytest.fixture
def smoke(monkeypatch, smoke_in, folder):
    """The smoke profile with one folder for all tests of this module."""
    monkeypatch.setenv("VAE_AUTHOR", "A. Nonymous")
    return smoke_in(folder)


def read(path):
    """What a GIF says of itself, and its frames with their durations."""
    pictures = list(iio.imiter(path, mode="RGB"))
    with Image.open(path) as film:
        durations = []
        for i in range(film.n_frames):
            film.seek(i)
            durations.append(film.info["duration"])
        return film.info, list(zip(pictures, durations, strict=True))


def test_a_film_follows_the_same_images_of_its_classes(smoke):
    one = runs.trained("beta-1")
    film, test = runs.film(one), data.load("test")
    followed = runs.film_images(test, one.run.classes)
    assert film.positions.shape == (len(film.steps), len(followed), 2)
    assert film.reconstructions.shape == (len(film.steps), 8, 1, 28, 28)
    assert set(followed.labels.tolist()) == {0, 1, 7}
    counts = followed.labels.bincount()
    assert len(set(counts[counts > 0].tolist())) == 1  # as many of each
    assert film.steps.tolist() == sorted(set(film.steps.tolist()))
    assert float(film.epochs[-1]) == one.run.epochs
    # The last frame is the trained model.
    with torch.inference_mode():
        mu, _ = one.model.encode(followed[:][0])
    assert torch.allclose(film.positions[-1], mu, atol=2e-3)
    total, reconstruction, kl = film.losses[-1].tolist()
    assert total == pytest.approx(reconstruction + one.run.beta * kl, rel=1e-5)


def test_frames_are_denser_early():
    run, steps = runs.RUNS["beta-1"], 141
    take = runs._snapshots(run, data.garments(300), steps)
    when = np.array(sorted(take.args[1]))
    assert when[0] == 1
    assert when[-1] == run.epochs * steps
    assert (when <= steps).sum() > len(when) / 2 > 30
    assert (np.diff(when)[1:] >= np.diff(when)[:-1] - 1).all()


def test_a_run_that_was_not_filmed_says_so(smoke):
    with pytest.raises(ValueError, match="'dense2' was not filmed; give it filmed=True"):
        runs.film(runs.trained("dense2"))


@pytest.mark.parametrize("names", [NAMES[:1], NAMES])
def test_a_film_is_a_small_looping_gif_that_holds_its_last_frame(smoke, names):
    path = animation.filmed(*names)
    assert path.name == ["vae_beta_side_by_side.gif", "vae_beta_0.1_evolution.gif"][len(names) == 1]
    info, found = read(path)
    assert info["loop"] == 0
    assert len(found) == len(runs.film(runs.trained(names[0])).steps)
    assert {duration for _, duration in found[:-1]} == {animation.FRAME}
    assert found[-1][1] == animation.LAST_FRAME
    assert path.stat().st_size < 1_500_000
    assert (found[0][0] != found[-1][0]).any()
    still = np.array(Image.open(path.with_suffix(".png")).convert("RGB"))
    assert (still == found[-1][0]).all()


def test_points_stand_where_the_axes_say(smoke):
    one, test = runs.trained("beta-1"), data.load("test")
    reach = 1.1 * float(runs.film(one).positions[-1].abs().max())
    _, to_pixels = animation._background(one.run, reach, 480, 710, 72, 574)
    corners = to_pixels(np.array([[-reach, -reach], [reach, reach], [0, 0]]))
    (left, bottom), (right, top), middle = corners
    assert 0 < left < right < 480
    assert 72 - 30 < top < bottom < 574
    assert middle.tolist() == pytest.approx([(left + right) / 2, (top + bottom) / 2])
    assert right - left == pytest.approx(bottom - top, abs=1)  # a circle is a circle
    picture = animation.frames([one], test)[-1]
    film = runs.film(one)
    x, y = to_pixels(film.positions[-1].numpy())[-1].round().astype(int)
    assert (picture[y - 1 : y + 2, x - 1 : x + 2] < 250).any()


def test_an_up_to_date_film_is_kept_and_a_stale_one_drawn_again(smoke, monkeypatch):
    path = animation.filmed(NAMES[0])
    before = path.stat().st_mtime_ns
    assert animation.filmed(NAMES[0]) == path
    assert path.stat().st_mtime_ns == before
    monkeypatch.setenv("VAE_AUTHOR", "Someone Else")
    animation.filmed(NAMES[0])
    assert path.stat().st_mtime_ns > before


def test_a_gif_of_other_origin_counts_as_stale(tmp_path):
    Image.new("P", (4, 4)).save(tmp_path / "foreign.gif")
    assert animation.read_digest(tmp_path / "foreign.gif") == ""


def test_colours_of_classes_survive_the_palette(tmp_path):
    canvas = np.full((40, 60, 3), 255, np.uint8)
    for i in range(3):
        canvas[:, 20 * i : 20 * i + 20] = (255 * np.array(animation.COLORS[i])).round()
    animation.write(tmp_path / "c.gif", [canvas, canvas], "digest")
    shown = read(tmp_path / "c.gif")[1][0][0]
    assert np.abs(shown.astype(int) - canvas).max() <= 8
    assert animation.read_digest(tmp_path / "c.gif") == "digest"
