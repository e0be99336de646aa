"""Differences: known answers, and what a test at 5 % promises, held in simulations."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t, ttest_1samp

from vae_helpers.metrics.differences import (
    LEVEL,
    Difference,
    Estimate,
    estimate,
    holm,
    paired,
    welch,
)


def test_welch_by_hand():
    a, b = [1.0, 2.0, 3.0], [2.0, 4.0, 6.0, 8.0]
    variances = 1 / 3, (20 / 3) / 4
    error = math.sqrt(sum(variances))
    freedom = sum(variances) ** 2 / (variances[0] ** 2 / 2 + variances[1] ** 2 / 3)
    found, half = welch(a, b), error * t.isf(0.025, freedom)
    assert found.value == pytest.approx(-3)
    assert found.low == pytest.approx(-3 - half)
    assert found.high == pytest.approx(-3 + half)
    assert found.p == pytest.approx(2 * t.sf(3 / error, freedom))


def test_pairs_by_hand():
    found = paired([1.0, 2.0, 3.0], [0.0, 0.0, 0.0])
    half = t.isf(0.025, 2) / math.sqrt(3)
    assert found.value == pytest.approx(2)
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half))
    assert found.p == pytest.approx(2 * t.sf(2 * math.sqrt(3), 2))


def test_pairing_removes_what_the_pairs_share():
    generator = np.random.default_rng(0)
    shared = 100 * generator.standard_normal(1_000)
    a, b = (shared + shift + generator.standard_normal(1_000) for shift in (0.0, 1.0))
    assert paired(a, b).p < 1e-9
    assert welch(a, b).p > 0.5


@pytest.mark.parametrize("spreads", [(1.0, 1.0), (1.0, 10.0)])
def test_welch_is_wrong_as_often_as_it_says(spreads):
    generator = np.random.default_rng(1)
    found = [
        welch(*(spread * generator.standard_normal(5) for spread in spreads)) for _ in range(2_000)
    ]
    missed = np.mean([one.low > 0 or one.high < 0 for one in found])
    assert missed == pytest.approx(LEVEL, abs=0.015)
    assert missed == np.mean([one.p < LEVEL for one in found])


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_nothing_and_bonferroni_and_keeps_the_order(p):
    adjusted = holm(p)
    assert all(one <= a <= min(1, len(p) * one) + 1e-12 for one, a in zip(p, adjusted, strict=True))
    order = np.argsort(p, kind="stable")
    assert list(np.array(adjusted)[order]) == sorted(adjusted)
    assert min(adjusted) == pytest.approx(min(1, len(p) * min(p)))


def test_a_difference_is_written_with_its_interval():
    assert f"{Difference(-1.234, -2.0, -0.5, 0.01):.1f}" == "-1.2 [-2.0, -0.5]"


@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize("shift", [0.0, 0.1, -7.3, 1e-9])
def test_a_shift_of_all_pairs_alike_has_no_spread_but_rounding(kind, shift):
    a = (240 + 30 * np.random.default_rng(0).standard_normal(1_000)).astype(kind)
    b = (a + kind(shift)).astype(kind)
    for first, second in ((a, b), (torch.from_numpy(a), torch.from_numpy(b))):
        with pytest.raises(ValueError, match="without any spread"):
            paired(first, second)


def test_the_smallest_spread_that_is_one_is_tested():
    a = 240 + np.random.default_rng(0).standard_normal(1_000)
    b = a + 0.1 + 1e-9 * np.random.default_rng(1).standard_normal(1_000)
    assert paired(b, a).value == pytest.approx(0.1)
    assert paired(b, a).p < 1e-9


@pytest.mark.filterwarnings("ignore:Precision loss")
@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_rounding_is_four_units_of_the_largest_value_s_last_place(kind):
    unit = np.finfo(kind).eps
    within, beyond = (np.array([1 - many * unit, 1], dtype=kind) for many in (4, 4.5))
    with pytest.raises(ValueError, match="without any spread"):
        welch(within, within)
    assert welch(beyond, within).value == pytest.approx(-unit / 4)
    assert welch(within, beyond).value == pytest.approx(unit / 4)
    with pytest.raises(ValueError, match="without any spread"):
        paired(within, within[::-1])  # either number of a pair may be rounded so far
    assert paired(within, beyond[::-1]).value == pytest.approx(unit / 4)


@pytest.mark.filterwarnings("ignore:Precision loss")
def test_a_value_that_never_changes_is_compared_as_a_known_one():
    some = [1.0, 2.0, 4.0, 8.0]
    one = ttest_1samp(some, 0.5)
    for found, sign in ((welch(some, [0.5] * 3), 1), (welch([0.5] * 3, some), -1)):
        assert found.p == pytest.approx(one.pvalue)
        ends = sorted(sign * (end - 0.5) for end in one.confidence_interval(1 - LEVEL))
        assert (found.low, found.high) == pytest.approx(tuple(ends))


def test_values_that_are_the_same_but_for_rounding_have_no_spread():
    same = [0.1 + 0.2, 0.3, 0.1 + 0.2]
    with pytest.raises(ValueError, match="without any spread"):
        welch(same, [0.3] * 3)


def test_an_estimate_is_the_mean_and_its_standard_error():
    found = estimate(torch.tensor([1.0, 2.0, 3.0, 6.0]))
    assert (found.value, found.n) == (3, 4)
    assert found.error == pytest.approx(math.sqrt((4 + 1 + 0 + 9) / 3 / 4))
    assert estimate(torch.tensor([5.0])) == Estimate(5.0, None, 1)


def test_two_examples_have_an_error():
    assert estimate(torch.tensor([1.0, 3.0])) == Estimate(2.0, pytest.approx(1), 2)


def test_an_estimate_is_summed_in_double_precision():
    values = torch.full((1_000_000,), 1e4) + torch.tensor([0.0, 0.5]).repeat(500_000)
    assert estimate(values).value == pytest.approx(10_000.25, abs=1e-6)


def test_an_estimate_is_written_with_its_error():
    assert f"{Estimate(241.984, 0.871, 10_000):.2f}" == "241.98 ± 0.87"
    assert f"{Estimate(3.14159):.2f}" == "3.14"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: welch([1.0], [1.0, 2.0]), "1 values"),
        (lambda: welch([1.0, 1.0], [2.0, 2.0]), "without any spread"),
        (lambda: welch([1.0, math.nan], [2.0, 1.0]), "NaN"),
        (lambda: paired([1.0, 2.0], [1.0, 2.0, 3.0]), "do not make pairs"),
        (lambda: paired([1.0, 2.0], [2.0, 3.0]), "without any spread"),
        (lambda: holm([0.1, 1.1]), "between 0 and 1"),
    ],
)
def test_what_says_nothing_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
