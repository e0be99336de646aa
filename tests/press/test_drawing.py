"""What a figure shows: the same in another drawing of it, and another after a mistake."""

import hashlib
from functools import partial

import numpy as np
import pytest
import torch

from chapters.conftest import difference, output_differs
from press.drawing import described
from press.report import png
from vae_helpers import figures
from vae_helpers.metrics.differences import Estimate

NAMES = ("Coat", "Shirt", "Bag", "Dress")
RANDOM = np.random.default_rng(0)
COUNTS = RANDOM.integers(0, 40, (4, 4)) + 900 * np.eye(4)
CODES = torch.tensor(RANDOM.normal(size=(300, 2))) + 4 * torch.arange(300)[:, None].remainder(4)
LABELS = torch.arange(300).remainder(4)
PICTURES = torch.tensor(RANDOM.random((6, 1, 8, 8)))
LINES = {"train": {1: 250.0, 2: 243.1, 3: 242.0}, "test": {1: 251.0, 2: 244.2, 3: 243.5}}


def bars(values):
    return figures.bars({"": dict(zip(NAMES, values, strict=True))}, "nats")


def lines(points=LINES, **options):
    return figures.curves({"−ELBO": points}, "epoch", **options)


# A figure, and what a mistake would have made of it.
MISTAKES = {
    "a matrix transposed": (
        lambda: figures.matrix(COUNTS, NAMES, fmt=".0f"),
        lambda: figures.matrix(COUNTS.T, NAMES, fmt=".0f"),
    ),
    "two lines swapped": (
        lines,
        lambda: lines({"train": LINES["test"], "test": LINES["train"]}),
    ),
    "a point moved": (lines, lambda: lines(LINES | {"test": LINES["test"] | {3: 243.0}})),
    "another label": (lines, lambda: figures.curves({"ELBO": LINES}, "epoch")),
    "another limit": (lines, lambda: lines(ylim=(0, None))),
    "a logarithmic axis": (lines, lambda: lines(yscale="log")),
    "errors left out": (
        lambda: lines({"test": {1: Estimate(250.0, 3.0, 5), 2: 240.0}}),
        lambda: lines({"test": {1: 250.0, 2: 240.0}}),
    ),
    "bars in another order": (lambda: bars([4, 3, 2, 1]), lambda: bars([4, 2, 3, 1])),
    "classes coloured otherwise": (
        lambda: figures.latent_maps({"μ": CODES}, LABELS, NAMES),
        lambda: figures.latent_maps({"μ": CODES}, (LABELS + 1) % 4, NAMES),
    ),
    "axes of codes swapped": (
        lambda: figures.latent_maps({"μ": CODES * torch.tensor([1.0, 2.0])}, LABELS, NAMES),
        lambda: figures.latent_maps({"μ": CODES * torch.tensor([2.0, 1.0])}, LABELS, NAMES),
    ),
    "pictures upside down": (
        lambda: figures.picture_grid(PICTURES, columns=3),
        lambda: figures.picture_grid(PICTURES.flip(2), columns=3),
    ),
    "two pictures swapped": (
        lambda: figures.picture_grid(PICTURES, columns=3),
        lambda: figures.picture_grid(PICTURES[[1, 0, 2, 3, 4, 5]], columns=3),
    ),
    "a histogram of other numbers": (
        lambda: figures.histograms({"a": CODES[:, 0]}, "nats", span=(-4, 16)),
        lambda: figures.histograms({"a": 1.05 * CODES[:, 0]}, "nats", span=(-4, 16)),
    ),
}


def shown(figure):
    png(figure)  # lays it out
    return described(figure)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_makes_another_picture(mistake):
    right, wrong = MISTAKES[mistake]
    assert difference(shown(right()), shown(right())) is None
    assert difference(shown(right()), shown(wrong())) is not None


@pytest.mark.parametrize(
    "draw",
    [
        lambda noise: lines({"test": {1: 250.0 * (1 + noise), 2: 243.0}}),
        lambda noise: figures.latent_maps({"μ": CODES * (1 + noise)}, LABELS, NAMES),
        lambda noise: figures.picture_grid((PICTURES + noise).clamp(0, 1), columns=3),
    ],
)
def test_the_rounding_of_another_machine_is_no_other_picture(draw):
    assert difference(shown(draw(0.0)), shown(draw(2e-6))) is None


def test_room_is_no_part_of_what_is_shown():
    """Nor are the ticks that matplotlib finds for it."""
    narrow, wide = lines(height=2.0), lines(height=5.0)
    assert difference(shown(narrow), shown(wide)) is None


def output(figure):
    picture = png(figure)
    part = {"figure": "figures.curves", "of": {"runs": ["conv16"]}}
    return part | {
        "shows": described(figure),
        "png": hashlib.sha256(picture).hexdigest()[:16],
    }, picture


def test_an_output_is_held_against_the_stored_one():
    (stored, picture), (again, _), (other, red) = map(
        output, (lines(), lines(), bars([1, 2, 3, 4]))
    )
    differs = partial(output_differs, stored)
    assert differs(again, picture) is None
    assert "is not the one that was drawn" in differs(again, red)
    assert "is not the one that was drawn" in differs(again, None)
    assert "figures.curves differs from the stored one" in differs(other, picture)
    assert "'conv17'" in differs(again | {"of": {"runs": ["conv17"]}}, picture)
    assert differs({}, picture) is not None
    assert output_differs({}, {}, None) is None
    assert output_differs({"facts": {"n": "3"}}, {"facts": {"n": "4"}}, None) is not None
