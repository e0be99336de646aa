"""The book's images: by name, found in the settings' places, drawn in smoke runs."""

import shutil
from dataclasses import replace
from itertools import product

import pytest
import torch

from press.images import (
    CLASSES,
    DATASETS,
    FILES,
    GARMENTS,
    PARTS,
    data_digest,
    drawing,
    images,
    obtain,
)
from press.settings import PROFILES
from vae_helpers import data
from vae_helpers.data import garments
from vae_helpers.errors import DataError
from vae_helpers.garments import draw, sample_factors


@pytest.fixture
def nowhere(settings, tmp_path, monkeypatch):
    """Settings whose two places are empty, without a network."""
    nobody = dict.fromkeys(data.MIRRORS, ("http://127.0.0.1:9/",))
    monkeypatch.setattr(data, "MIRRORS", nobody)
    return replace(settings, places=(tmp_path / "one", tmp_path / "two"))


def test_smoke_runs_draw_their_images_another_set_for_each_dataset(smoke):
    drawn = {name: images("test", name, smoke) for name in DATASETS}
    assert {len(one) for one in drawn.values()} == {500}
    assert len({one.digest for one in drawn.values()}) == 3  # stand-ins, but not one
    assert drawn["fashion-mnist"].digest == garments(500, seed=1).digest
    assert images("train", "fashion-mnist", smoke).digest == garments(1_000, seed=0).digest


@pytest.mark.parametrize("profile", PROFILES)
def test_images_have_the_digests_that_are_known_of_them(real, profile):
    under = replace(real, profile=profile)
    for dataset in DATASETS:
        for split in PARTS:
            found = images(split, dataset, under).digest
            assert data_digest(split, dataset, under) == found, (split, dataset)


def test_the_full_profile_has_the_real_images_and_reads_them_once(real):
    for split, dataset in product(PARTS, FILES):
        found = images(split, dataset, real)
        assert found is images(split, dataset, replace(real, author="another"))
        assert found.name == f"{FILES[dataset]} {split}"


@pytest.mark.parametrize("profile", PROFILES)
def test_the_books_garments_are_drawn_from_known_factors(settings, profile):
    settings = replace(settings, profile=profile)
    drawn = images("test", "garments", settings)
    factors = sample_factors(*drawing("test", "garments", settings))
    assert torch.equal(drawn.images[:, 0], torch.from_numpy(draw(factors)))
    assert (len(drawn) == GARMENTS["test"]) == (profile == "full")


@pytest.mark.parametrize(("split", "name"), [("test", "cifar"), ("validation", "mnist")])
def test_what_there_is_not_is_refused_with_what_there_is(smoke, split, name):
    with pytest.raises(KeyError, match=f"no '{split}' of '{name}'; choose .*'test'.* garments"):
        images(split, name, smoke)


def test_class_counts_are_those_of_the_data(smoke):
    assert len(data.DIGIT_CLASSES) == CLASSES
    for name in ("fashion-mnist", "garments"):
        assert len(images("test", name, smoke).classes) == CLASSES


@pytest.mark.fault(
    "neither data nor network",
    "one paragraph says what was looked for where, and what to do",
)
def test_without_any_source_one_paragraph_says_what_where_and_what_to_do(nowhere):
    with pytest.raises(DataError) as caught:
        images("test", "fashion-mnist", nowhere)
    message = str(caught.value)
    for place in nowhere.places:
        assert str(place / "FashionMNIST" / "raw") in message
        assert not place.exists()
    for part in (*data.CHECKSUMS["FashionMNIST"], "127.0.0.1", "VAE_DATA_DIR", "PROFILE=smoke"):
        assert part in message
    assert "\n" not in message


def test_files_in_any_of_the_places_do(nowhere, real):
    for number, dataset in enumerate(FILES):
        raw = obtain(dataset, real)
        assert raw.parents[1] in real.places
        shutil.copytree(raw, nowhere.places[number] / FILES[dataset] / "raw")
        assert obtain(dataset, nowhere).is_relative_to(nowhere.places[number])
