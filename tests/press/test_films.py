"""The book's films: their files, and when they are drawn again or refused."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from press import films, training
from press.book import Book
from press.errors import ResultError
from vae_helpers.films import read_comment

NAMES = ("beta-0.1", "beta-0.5", "beta-1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("films")


@pytest.fixture
def filmed(smoke, folder):
    """The book in the smoke profile, with one folder for all tests of this module."""
    return Book(replace(smoke, build=folder, author="A. Nonymous"))


@pytest.mark.parametrize("names", [NAMES[:1], NAMES])
def test_a_film_is_a_small_gif_of_all_frames_that_its_runs_kept(filmed, names):
    path = filmed.film(*names)
    assert path.parent == filmed.settings.assets / "gifs"
    assert path.name == ["vae_beta_side_by_side.gif", "vae_beta_0.1_evolution.gif"][len(names) == 1]
    assert path.stat().st_size < 1_500_000
    with Image.open(path) as film, Image.open(path.with_suffix(".png")) as still:
        # Equal frames are merged, as a smoke run's first ones may be.
        assert 1 < film.n_frames <= len(films.watched(filmed.experiment(names[0])).epochs)
        film.seek(film.n_frames - 1)
        assert np.array_equal(film.convert("RGB"), still.convert("RGB"))


def test_a_film_follows_the_classes_of_its_run(filmed):
    one = filmed.experiment("beta-1")
    film = films.watched(one)
    followed = training.film_images(one.test, one.run.classes)
    names = [film.classes[label] for label in film.labels]
    assert names == [followed.classes[label] for label in followed.labels]
    assert set(names) == set(one.run.classes)
    assert film.originals.shape[0] == film.positions.shape[1] == len(followed)
    assert float(film.epochs[-1]) == one.run.epochs
    assert film.beta == one.run.beta


def test_a_run_that_was_not_filmed_says_so(filmed):
    with pytest.raises(ValueError, match="'dense2' was not filmed"):
        filmed.film("dense2")


@pytest.mark.parametrize(
    "draw", [lambda book: book.film("beta-1"), lambda book: book.walk("dense2")]
)
def test_a_film_is_drawn_again_for_another_author_only(filmed, draw):
    path = draw(filmed)
    comment, before = read_comment(path), path.stat().st_mtime_ns
    assert draw(Book(filmed.settings)) == path
    assert path.stat().st_mtime_ns == before
    draw(Book(replace(filmed.settings, author="Someone Else")))
    assert path.stat().st_mtime_ns > before
    assert read_comment(path) != comment


def test_a_walk_is_a_small_gif_with_its_last_frame_beside_it(filmed):
    path = filmed.walk("dense2")
    assert path.name == "traversal_dense2.gif"
    assert path.stat().st_size < 1_500_000
    assert path.with_suffix(".png").is_file()


def test_a_stale_film_of_the_book_itself_is_refused_and_drawn_again_with_the_chapters(
    real_book, tmp_path
):
    # The book's own checkpoint, under another author, so that its stored film is stale.
    (tmp_path / "assets").mkdir()
    for name in ("checkpoints", "results"):
        (tmp_path / "assets" / name).symlink_to(real_book.settings.root / "assets" / name)
    elsewhere = replace(real_book.settings, root=tmp_path, author="Someone Else")
    with pytest.raises(ResultError, match="traversal_dense2.gif is missing; run `make chapters`"):
        Book(elsewhere).walk("dense2")
    path = Book(replace(elsewhere, record=True)).walk("dense2")
    assert Book(elsewhere).walk("dense2") == path
    with pytest.raises(ResultError, match="was made from other models, data or code"):
        Book(replace(elsewhere, author="A third one")).walk("dense2")
