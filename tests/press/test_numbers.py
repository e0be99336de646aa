"""Stored numbers: recorded, reported, refused where the live one differs."""

import json
import math
from dataclasses import replace

import pytest
import torch

from press.errors import ResultError
from press.stored import numbers
from press.stored.numbers import Retrained
from vae_helpers.metrics.differences import Estimate

KEY, LIVE = "04_training/conv16", Estimate(241.98, 0.87, 10_000)


@pytest.fixture
def settings(settings, tmp_path):
    """Settings whose stored numbers lie in a folder of this test's own."""
    return replace(settings, root=tmp_path)


def reported(settings, key, live, **options):
    return numbers.reported(key, live, **{"unit": "nats", "of": "abc"} | options, settings=settings)


@pytest.fixture
def recorded(settings):
    reported(replace(settings, record=True), KEY, LIVE)
    return settings.root / "assets" / "results" / "04_training.json"


# --- recording, then reporting -----------------------------------------------------------------


def test_recorded_number_is_reported_again(recorded, settings):
    assert reported(settings, KEY, LIVE) == LIVE


def test_the_stored_number_is_what_is_printed(recorded, settings):
    assert reported(settings, KEY, 241.99) == LIVE


def test_recording_prints_what_reporting_will_print(settings):
    live = Estimate(241.97843219, 0.87123456, 10)
    first = reported(replace(settings, record=True), KEY, live)
    assert reported(settings, KEY, 241.97843219) == first


def test_a_number_is_stored_with_where_it_came_from(recorded, settings):
    entry = numbers.provenance(KEY, settings)
    assert (entry["value"], entry["error"], entry["n"]) == (241.98, 0.87, 10_000)
    assert (entry["unit"], entry["of"], entry["command"]) == ("nats", "abc", "make chapters")
    assert entry["versions"]["torch"] == torch.__version__.split("+")[0]
    assert entry["hardware"]
    assert KEY in json.loads(recorded.read_text(encoding="utf-8"))


def test_recording_keeps_the_chapters_other_numbers_and_is_repeatable(recorded, settings):
    before, record = recorded.read_bytes(), replace(settings, record=True)
    reported(record, "04_training/other", 1.0)
    assert numbers.stored(KEY, "abc", settings) == LIVE
    reported(record, "05_beta/other", 2.0)
    assert numbers.stored("04_training/other", "abc", settings).value == 1.0
    assert list(numbers.collected(settings)) == [KEY, "04_training/other", "05_beta/other"]

    recorded.write_bytes(before)
    reported(record, KEY, LIVE)
    assert recorded.read_bytes() == before


def test_reporting_writes_nothing(recorded, settings):
    before = recorded.read_bytes()
    reported(settings, KEY, 241.97)
    with pytest.raises(ResultError):
        reported(settings, KEY, 1.0)
    assert [path.read_bytes() for path in recorded.parent.iterdir()] == [before]


# --- a number that does not hold ---------------------------------------------------------------


@pytest.mark.parametrize("unit", numbers.TOLERANCES)
@pytest.mark.parametrize("sign", [-1, 1])
def test_only_a_difference_within_the_units_tolerance_passes(recorded, settings, unit, sign):
    step = sign * numbers.TOLERANCES[unit]
    reported(settings, KEY, 241.98 + 0.99 * step, unit=unit)
    with pytest.raises(ResultError):
        reported(settings, KEY, 241.98 + 1.01 * step, unit=unit)


def test_a_contradicted_number_raises_naming_key_numbers_and_remedy(recorded, settings):
    with pytest.raises(ResultError) as caught:
        reported(settings, KEY, 243.5)
    for part in (KEY, "241.98", "243.5", "nats", "0.02", "make chapters"):
        assert part in str(caught.value)


def test_a_tolerance_of_its_own_replaces_the_units(recorded, settings):
    assert reported(settings, KEY, 243, tolerance=2) == LIVE
    with pytest.raises(ResultError, match="further apart than 0.001"):
        reported(settings, KEY, 241.99, tolerance=0.001)


@pytest.mark.parametrize("live", [math.nan, math.inf, -math.inf])
def test_a_live_number_that_is_none_raises(recorded, settings, live):
    with pytest.raises(ResultError, match=KEY):
        reported(settings, KEY, live)


@pytest.mark.parametrize("live", [Estimate(math.nan), Estimate(1.0, math.nan, 2), math.inf])
def test_a_number_that_is_none_is_never_recorded(recorded, settings, live):
    before = recorded.read_bytes()
    with pytest.raises(ResultError, match=KEY):
        reported(replace(settings, record=True), KEY, live)
    assert recorded.read_bytes() == before


def test_a_number_of_other_weights_or_data_is_refused(recorded, settings):
    with pytest.raises(ResultError, match=rf"{KEY}.*abc.*def.*make chapters"):
        reported(settings, KEY, LIVE, of="def")


def test_a_missing_number_is_refused(recorded, settings):
    for key in ("04_training/dense2", "99_none/conv16"):
        with pytest.raises(ResultError, match=f"{key}.*make chapters"):
            reported(settings, key, LIVE)


# --- runs that are not the book's ---------------------------------------------------------------


@pytest.mark.parametrize("record", [False, True])
def test_a_smoke_run_prints_its_own_number_and_stores_nothing(recorded, settings, record):
    before, now = recorded.read_bytes(), replace(settings, record=record, profile="smoke")
    assert reported(now, KEY, Estimate(9.0, 1.0, 10), of="other") == Estimate(9.0, 1.0, 10)
    assert reported(now, "06_new/key", 9.0, of="other") == Estimate(9.0)
    assert [path.read_bytes() for path in recorded.parent.iterdir()] == [before]


@pytest.mark.parametrize(
    ("number", "spec", "text"),
    [
        (Retrained(241.978, 0.871, 10_000, 240.79), ".1f", "242.0 ± 0.9 (in the book: 240.8)"),
        (Retrained(0.5, book=0.25), ".0%", "50% (in the book: 25%)"),
        (Retrained(0.5), ".1f", "0.5"),
    ],
)
def test_a_retrained_number_stands_beside_the_books(number, spec, text):
    assert f"{number:{spec}}" == text


@pytest.mark.parametrize("record", [False, True])
def test_retrained_run_prints_its_own_number_beside_the_books(recorded, settings, record):
    before, retrained = recorded.read_bytes(), replace(settings, retrain=True, record=record)
    found = reported(retrained, KEY, Estimate(250.0, 1.0, 10), of="other")
    assert found == Retrained(250.0, 1.0, 10, book=241.98)
    assert reported(retrained, "06_new/key", 9.0, of="other") == Retrained(9.0)
    assert recorded.read_bytes() == before
