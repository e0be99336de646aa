import json
import math

import pytest
import torch

from vae_helpers import results
from vae_helpers.results import Estimate, ResultError, estimate, provenance, reported, stored

KEY, LIVE = "04_training/conv16", Estimate(241.98, 0.87, 10_000)


@pytest.fixture(autouse=True)
def book(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "ROOT", tmp_path)
    return tmp_path / "assets" / "results"


@pytest.fixture
def recorded(book, monkeypatch):
    monkeypatch.setenv("VAE_RECORD", "1")
    reported(KEY, LIVE, unit="nats", of="abc")
    monkeypatch.delenv("VAE_RECORD")
    return book / "04_training.json"


# --- estimates ---------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 5, 100])
def test_standard_error_of_the_first_n_numbers_has_its_closed_form(n):
    # the sample variance of 1 … n is n(n + 1)/12, so the standard error is √((n + 1)/12)
    found = estimate(torch.arange(1, n + 1))
    assert found.value == pytest.approx((n + 1) / 2)
    assert found.error == pytest.approx(math.sqrt((n + 1) / 12))
    assert found.n == n


def test_mean_is_taken_in_double_precision():
    # in float32, 1e8 + 1 is 1e8
    assert estimate(torch.tensor([1e8, 1.0, -1e8])).value == pytest.approx(1 / 3)


def test_one_example_has_no_standard_error():
    assert estimate(torch.tensor([3.0])) == Estimate(3.0, None, 1)


@pytest.mark.parametrize(
    ("number", "spec", "text"),
    [
        (Estimate(241.978), ".2f", "241.98"),
        (Estimate(241.978, 0.871, 10_000), ".2f", "241.98 ± 0.87"),
        (Estimate(241.978, 0.871, 10_000, book=240.79), ".1f", "242.0 ± 0.9 (in the book: 240.8)"),
        (Estimate(0.5, book=0.25), ".0%", "50% (in the book: 25%)"),
        (Estimate(0.0, 0.0), ".1f", "0.0 ± 0.0"),
    ],
)
def test_estimates_format_with_their_error_and_the_books_number(number, spec, text):
    assert f"{number:{spec}}" == text


# --- recording, then reporting -----------------------------------------------------------------


def test_recorded_number_is_reported_again(recorded):
    assert reported(KEY, LIVE, unit="nats", of="abc") == LIVE


def test_the_stored_number_is_what_is_printed(recorded):
    assert reported(KEY, 241.99, unit="nats", of="abc") == LIVE


def test_recording_prints_what_reporting_will_print(monkeypatch):
    monkeypatch.setenv("VAE_RECORD", "1")
    first = reported(KEY, Estimate(241.97843219, 0.87123456, 10), unit="nats", of="abc")
    monkeypatch.delenv("VAE_RECORD")
    assert reported(KEY, 241.97843219, unit="nats", of="abc") == first


def test_a_number_is_stored_with_where_it_came_from(recorded):
    entry = provenance(KEY)
    assert (entry["value"], entry["error"], entry["n"]) == (241.98, 0.87, 10_000)
    assert (entry["unit"], entry["of"], entry["command"]) == ("nats", "abc", "make chapters")
    assert entry["versions"]["torch"] == torch.__version__.split("+")[0]
    assert entry["hardware"]
    assert KEY in json.loads(recorded.read_text(encoding="utf-8"))


def test_recording_keeps_the_chapters_other_numbers_and_is_repeatable(recorded, monkeypatch):
    before = recorded.read_bytes()
    monkeypatch.setenv("VAE_RECORD", "1")
    reported("04_training/other", 1.0, unit="nats", of="abc")
    assert stored(KEY, "abc") == LIVE
    reported("05_beta/other", 2.0, unit="nats", of="abc")
    assert stored("04_training/other", "abc").value == 1.0

    recorded.write_bytes(before)
    reported(KEY, LIVE, unit="nats", of="abc")
    assert recorded.read_bytes() == before


def test_reporting_writes_nothing(recorded, book):
    before = recorded.read_bytes()
    reported(KEY, 241.97, unit="nats", of="abc")
    with pytest.raises(ResultError):
        reported(KEY, 1.0, unit="nats", of="abc")
    assert [path.read_bytes() for path in book.iterdir()] == [before]


# --- a number that does not hold ---------------------------------------------------------------


@pytest.mark.parametrize("unit", results.TOLERANCES)
@pytest.mark.parametrize("sign", [-1, 1])
def test_only_a_difference_within_the_units_tolerance_passes(recorded, unit, sign):
    step = sign * results.TOLERANCES[unit]
    reported(KEY, 241.98 + 0.99 * step, unit=unit, of="abc")
    with pytest.raises(ResultError):
        reported(KEY, 241.98 + 1.01 * step, unit=unit, of="abc")


def test_a_contradicted_number_raises_naming_key_numbers_and_remedy(recorded):
    with pytest.raises(ResultError) as caught:
        reported(KEY, 243.5, unit="nats", of="abc")
    for part in (KEY, "241.98", "243.5", "nats", "0.02", "make chapters"):
        assert part in str(caught.value)


def test_a_tolerance_of_its_own_replaces_the_units(recorded):
    assert reported(KEY, 243, unit="nats", of="abc", tolerance=2) == LIVE
    with pytest.raises(ResultError, match="further apart than 0.001"):
        reported(KEY, 241.99, unit="nats", of="abc", tolerance=0.001)


@pytest.mark.parametrize("live", [math.nan, math.inf, -math.inf])
def test_a_live_number_that_is_none_raises(recorded, live):
    with pytest.raises(ResultError, match=KEY):
        reported(KEY, live, unit="nats", of="abc")


@pytest.mark.parametrize("live", [Estimate(math.nan), Estimate(1.0, math.nan, 2), math.inf])
def test_a_number_that_is_none_is_never_recorded(recorded, monkeypatch, live):
    before = recorded.read_bytes()
    monkeypatch.setenv("VAE_RECORD", "1")
    with pytest.raises(ResultError, match=KEY):
        reported(KEY, live, unit="nats", of="abc")
    assert recorded.read_bytes() == before


def test_a_number_of_other_weights_or_data_is_refused(recorded):
    with pytest.raises(ResultError, match=rf"{KEY}.*abc.*def.*make chapters"):
        reported(KEY, LIVE, unit="nats", of="def")


def test_a_missing_number_is_refused(recorded):
    for key in ("04_training/dense2", "99_none/conv16"):
        with pytest.raises(ResultError, match=f"{key}.*make chapters"):
            reported(key, LIVE, unit="nats", of="abc")


# --- runs that are not the book's ---------------------------------------------------------------


@pytest.mark.parametrize("record", ["0", "1"])
def test_smoke_run_prints_its_own_number_and_stores_nothing(recorded, book, monkeypatch, record):
    before = recorded.read_bytes()
    monkeypatch.setenv("VAE_PROFILE", "smoke")
    monkeypatch.setenv("VAE_RECORD", record)
    assert reported(KEY, 9.0, unit="nats", of="other") == Estimate(9.0)
    assert reported("06_new/key", 9.0, unit="nats", of="other") == Estimate(9.0)
    assert [path.read_bytes() for path in book.iterdir()] == [before]


@pytest.mark.parametrize("record", ["0", "1"])
def test_retrained_run_prints_its_own_number_beside_the_books(recorded, monkeypatch, record):
    before = recorded.read_bytes()
    monkeypatch.setenv("VAE_RETRAIN", "1")
    monkeypatch.setenv("VAE_RECORD", record)
    found = reported(KEY, Estimate(250.0, 1.0, 10), unit="nats", of="other")
    assert found == Estimate(250.0, 1.0, 10, book=241.98)
    assert reported("06_new/key", 9.0, unit="nats", of="other") == Estimate(9.0, book=None)
    assert recorded.read_bytes() == before


def test_all_that_is_stored_is_collected_in_order(book):
    results.store("b/one", Estimate(1.0), unit="nats", of="x", command="make")
    results.store("a/two", Estimate(2.0, 0.5, 3), unit="nats", of="y", command="make")
    found = results.collected()
    assert list(found) == ["a/two", "b/one"]
    assert found["a/two"] == results.provenance("a/two")
