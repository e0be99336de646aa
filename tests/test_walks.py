"""Films along latent dimensions: what they walk, and that they are drawn once."""

import pytest
import torch
from PIL import Image

from vae_helpers import data, latent, runs, walks
from vae_helpers.losses import kl_per_dimension


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("walks")


@pytest.fixture
def models(smoke_in, folder):
    return smoke_in(folder)


def test_a_walk_is_a_small_gif_with_its_last_frame_beside_it(models):
    path = walks.walked("dense10")
    assert path.name == "traversal_dense10.gif"
    assert path.stat().st_size < 1_500_000
    with Image.open(path) as film, Image.open(path.with_suffix(".png")) as still:
        assert film.n_frames == walks.FRAMES
        film.seek(film.n_frames - 1)
        assert film.convert("RGB").tobytes() == still.convert("RGB").tobytes()


def test_a_walk_is_drawn_again_only_for_another_model(models, monkeypatch):
    path = walks.walked("dense10")
    before = path.stat().st_mtime_ns
    walks.walked("dense10")
    assert path.stat().st_mtime_ns == before
    monkeypatch.setenv("VAE_AUTHOR", "Another author")
    walks.walked("dense10")
    assert path.stat().st_mtime_ns > before


def test_dimensions_come_in_the_order_of_their_kl(models):
    one, test = runs.trained("dense10"), data.load("test")
    order, kl = walks.ordered(one, test)
    assert sorted(order.tolist()) == list(range(10))
    assert (kl.diff() <= 0).all()
    expected = kl_per_dimension(*latent.encode(one.model, test)).mean(0)
    assert torch.equal(expected[order], kl)


def test_all_pictures_start_alike_and_end_apart(models):
    one, test = runs.trained("dense10"), data.load("test")
    made = walks.frames(one, test)
    tiles = [
        [
            frame[walks.HEADER + 16 : walks.HEADER + 16 + walks.TILE][:, x : x + walks.TILE]
            for x in (walks.GAP, 2 * walks.GAP + walks.TILE)
        ]
        for frame in (made[0], made[-1])
    ]
    assert (tiles[0][0] == tiles[0][1]).mean() > 0.9  # but for the words across a smoke run
    assert (tiles[1][0] != tiles[1][1]).any()
