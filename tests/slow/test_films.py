"""The book's stored films show what their models draw today, frame by frame and in their order."""

import json

import numpy as np
import pytest
from PIL import Image

from press import films
from press.settings import ROOT
from vae_helpers import films as drawing
from vae_helpers.films import FRAME, LAST_FRAME, read_comment, write_gif

STORED = sorted((ROOT / "assets" / "gifs").glob("*.gif"))
SCALE = 4  # pixels of a frame along each axis, for one that is compared
CLOSE = 1.0  # of 255: what a palette changes, on the average of a frame


def small(frame):
    image = Image.fromarray(frame)
    return np.asarray(image.reduce(SCALE), dtype=np.float32).ravel()


def read_frames(path):
    """The frames ``(H, W, 3)`` of a GIF as they were written: equal neighbours were merged."""
    found = []
    with Image.open(path) as film:
        for number in range(film.n_frames):
            film.seek(number)
            held = film.info["duration"]
            last = number == film.n_frames - 1
            times = (held - LAST_FRAME) / FRAME + 1 if last else held / FRAME
            found += [np.asarray(film.convert("RGB"))] * round(times)
    return found


def misplaced(found, drawn):
    """The numbers of frames that are not, of all drawn ones, the one in their place."""
    found, drawn = (np.stack(list(map(small, one))) for one in (found, drawn))
    wrong = []
    for i, one in enumerate(found):
        away = np.abs(drawn - one).mean(1)
        others = away[np.abs(drawn - drawn[i]).max(1) > 0]
        if away[i] > CLOSE or away[i] >= others.min():
            wrong.append(i)
    return wrong


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_a_stored_film_shows_what_its_models_draw(real_book, path, tmp_path):
    said = json.loads(read_comment(path))
    draw = getattr(drawing, said["function"].removeprefix("films."))
    drawn, found = films.frames(real_book, draw, said["of"]["runs"]), read_frames(path)
    assert len(found) == len(drawn)
    assert misplaced(found, drawn) == []
    with Image.open(path.with_suffix(".png")) as still:
        assert np.array_equal(still.convert("RGB"), found[-1])

    early, late = len(found) // 4, len(found) // 2
    found[early], found[late] = found[late], found[early]
    write_gif(tmp_path / "swapped.gif", found)
    assert misplaced(read_frames(tmp_path / "swapped.gif"), drawn) == [early, late]
