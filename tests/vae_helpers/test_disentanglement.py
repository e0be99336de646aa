"""Disentanglement metrics: known answers, and what they must not depend on."""

import numpy as np
import pytest

from vae_helpers.garments import FACTORS, LEVELS, sample_factors
from vae_helpers.metrics.disentanglement import (
    _binned,
    dci,
    mutual_information_gap,
)

KINDS = tuple(FACTORS.index(name) for name in LEVELS)
TRUTH = sample_factors(1_000, seed=0)


def uniform(*shape):
    return np.random.default_rng(0).random(shape)


def normal(*shape):
    return np.random.default_rng(1).normal(size=shape)


@pytest.mark.parametrize("order", [range(8), reversed(range(8))])
def test_the_factors_themselves_score_almost_one_in_any_order(order):
    code = 3 - 2 * TRUTH[:, list(order)]  # signs and scales do not matter either
    assert mutual_information_gap(code, TRUTH) >= 0.9
    assert min(dci(code, TRUTH, KINDS).values()) >= 0.9


def test_a_code_that_says_nothing_scores_zero():
    for code in (np.zeros((1_000, 4)), normal(1_000, 4)):
        assert mutual_information_gap(code, TRUTH) <= 0.1
        assert max(dci(code, TRUTH, KINDS).values()) <= 0.1


def test_a_rotation_keeps_the_information_but_not_the_axes():
    factors = uniform(1_000, 3)
    turn, _ = np.linalg.qr(normal(3, 3))
    turned = dci(factors @ turn, factors)
    assert turned["informativeness"] > 0.8
    assert turned["disentanglement"] < dci(factors, factors)["disentanglement"] - 0.2
    assert mutual_information_gap(factors @ turn, factors) < 0.4


def test_a_factor_told_twice_has_no_gap_and_is_less_complete():
    factors = uniform(1_000, 2)
    twice = np.concatenate([factors, factors], axis=1)
    assert mutual_information_gap(twice, factors) == pytest.approx(0, abs=1e-9)
    scores = dci(twice, factors)
    assert scores["completeness"] < 0.9
    assert scores["disentanglement"] > 0.9


def test_a_single_dimension_is_compared_with_nothing():
    factors = uniform(200, 2)
    assert mutual_information_gap(factors[:, :1], factors[:, :1]) == pytest.approx(1)
    assert dci(factors[:, :1], factors)["completeness"] == 1


def test_the_order_of_the_codes_does_not_matter():
    order = TRUTH[:, 2].argsort()
    sorted_scores, scores = (dci(TRUTH[o], TRUTH[o], KINDS) for o in (order, slice(None)))
    for what, value in scores.items():
        assert sorted_scores[what] == pytest.approx(value, abs=0.05)


def test_an_outlier_moves_no_bin():
    code = TRUTH.copy()
    code[0] = 1e6
    assert mutual_information_gap(code, TRUTH) >= 0.9


@pytest.mark.parametrize("share", [0.005, 0.01, 0.04, 0.05, 0.3, 0.5, 0.96, 0.995])
def test_a_rare_value_is_a_value_too(share):
    rare = (np.arange(2_000) < share * 2_000).astype(float)
    factors = np.stack([rare, uniform(2_000)], axis=1)
    assert mutual_information_gap(factors, factors) > 0.9
    assert mutual_information_gap(factors[:, ::-1], factors) > 0.9


@pytest.mark.parametrize("kinds", [2, 5, 20])
def test_few_values_are_told_apart_however_rare_they_are(kinds):
    rare = np.minimum(np.random.default_rng(0).geometric(0.5, 3_000), kinds).astype(float)
    assert len(np.unique(_binned(rare))) == len(np.unique(rare))
    code = np.stack([rare, normal(3_000)], axis=1)
    assert mutual_information_gap(code, rare[:, None]) > 0.9


def test_twenty_values_are_few():
    values = np.concatenate([np.zeros(500), np.arange(20.0)])
    assert _binned(values).tolist() == values.tolist()
    assert len(np.unique(_binned(np.append(values, 20.0)))) < 20


def test_continuous_values_are_cut_into_bins_that_hold_as_many_each():
    cut = _binned(normal(2_000))
    assert np.bincount(cut).tolist() == [100] * 20


class Forest:
    """A forest of known scores and importances, one of each for every factor in turn."""

    def __init__(self, *_, **__):
        self.known, self.feature_importances_ = self.answers.pop(0)

    def fit(self, codes, factor):
        assert len(codes) == len(factor)
        self.seen.append(set(codes[:, 0]))

    def score(self, codes, factor):
        assert len(codes) == len(factor)
        self.held_out.append(set(codes[:, 0]))
        return self.known


@pytest.fixture
def forest(monkeypatch):
    for name in ("RandomForestClassifier", "RandomForestRegressor"):
        monkeypatch.setattr(f"sklearn.ensemble.{name}", Forest)
    for name in ("answers", "seen", "held_out"):
        monkeypatch.setattr(Forest, name, [], raising=False)
    return Forest


def test_known_importances_have_a_closed_score(forest):
    first, second, _ = np.eye(3)  # the third dimension serves no factor
    forest.answers = [(0.4, first), (0.4, first), (0.6, second)]
    scores = dci(uniform(200, 3), uniform(200, 3))
    # One dimension serves two factors alike, with 0.8 of 1.4 of all that is used.
    shared = 1 - np.log(2) / np.log(3)
    assert scores["disentanglement"] == pytest.approx((0.8 * shared + 0.6) / 1.4)
    assert scores["completeness"] == pytest.approx(1)
    assert scores["informativeness"] == pytest.approx(1.4 / 3)
    assert scores["predicted"] == 1


def test_accuracy_counts_from_guessing_on_and_every_factor_may_be_a_category(forest):
    coin, rare = np.tile([0.0, 1.0], 100), np.repeat([0.0, 0.0, 0.0, 1.0], 50)
    forest.answers = [(0.9, np.eye(2)[0]), (0.8, np.eye(2)[1])]
    scores = dci(uniform(200, 2), np.stack([coin, rare], axis=1), (0, 1))
    # Four fifths of what guessing ½ leaves, and one fifth of what guessing ¾ leaves.
    assert scores["informativeness"] == pytest.approx((0.8 + 0.2) / 2)


@pytest.mark.parametrize(("score", "predicted"), [(0.04, 0), (0.05, 0), (0.0501, 0.5)])
def test_a_factor_is_predicted_above_five_per_cent(forest, score, predicted):
    forest.answers = [(score, np.eye(2)[0]), (0.0, np.eye(2)[1])]
    scores = dci(uniform(200, 2), uniform(200, 2))
    assert scores["predicted"] == predicted
    if not predicted:
        assert set(scores.values()) == {0}


def test_what_a_forest_learns_from_and_what_it_is_scored_on_are_two_halves(forest):
    codes = uniform(200, 2)
    forest.answers = [(1.0, np.eye(2)[0]), (1.0, np.eye(2)[1])]
    dci(codes, uniform(200, 2))
    for seen, held_out in zip(forest.seen, forest.held_out, strict=True):
        assert len(seen) == len(held_out) == 100
        assert seen | held_out == set(codes[:, 0])


def test_the_seed_is_0_unless_it_is_given():
    codes, factors = normal(200, 2), uniform(200, 2)
    factors += codes
    assert dci(codes, factors) == dci(codes, factors, seed=0) != dci(codes, factors, seed=1)


def test_a_hundred_codes_are_enough():
    factors = uniform(100, 2)
    assert mutual_information_gap(factors, factors) > 0.4
    assert dci(factors, factors)["predicted"] == 1


@pytest.mark.parametrize(("count", "kinds"), [(1, ()), (2, (2,)), (2, (-1,))])
def test_factors_that_dci_cannot_compare_are_refused(count, kinds):
    factors = uniform(200, count)
    with pytest.raises(ValueError, match="factors with categories"):
        dci(factors, factors, kinds)


def test_the_gap_has_closed_answers():
    die = np.tile(np.arange(6.0), 100)
    parity, third, coin = die % 2, die // 2, np.repeat([0.0, 1.0], 300)
    # I(die; parity) = log 2 of the die's log 6, I(die; third) = log 3; a coin of its own tells 0.
    codes = np.stack([parity, third, coin], axis=1)
    gap = (np.log(3) - np.log(2)) / np.log(6)
    assert mutual_information_gap(codes, die[:, None]) == pytest.approx(gap, abs=1e-9)
    assert mutual_information_gap(codes[:, :2], die[:, None]) == pytest.approx(gap, abs=1e-9)
    assert mutual_information_gap(codes[:, [0, 2]], die[:, None]) == pytest.approx(
        np.log(2) / np.log(6), abs=1e-9
    )


@pytest.mark.parametrize("metric", [mutual_information_gap, dci])
@pytest.mark.parametrize(
    ("codes", "factors", "message"),
    [
        (np.zeros((99, 2)), np.ones((99, 2)), "at least 100"),
        (np.zeros((200, 2)), uniform(100, 2), "at least 100"),
        (np.zeros(200), uniform(200, 2), "at least 100"),
        (np.full((200, 2), np.nan), uniform(200, 2), "NaN"),
        (np.full((200, 2), np.inf), uniform(200, 2), "infinity"),
        (np.zeros((200, 2)), np.ones((200, 2)), "never changes"),
    ],
)
def test_codes_that_cannot_be_scored_are_refused(metric, codes, factors, message):
    with pytest.raises(ValueError, match=message):
        metric(codes, factors)
