"""Distances between feature sets: known answers, invariants, and errors that say what to do."""

import math

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics.pairwise import polynomial_kernel

from vae_helpers.metrics.frechet import (
    frechet,
    frechet_of_gaussians,
    kernel_distances,
    neighbour_scores,
)


def normal(count, d, seed=0, scale=1.0, shift=0.0):
    return shift + scale * np.random.default_rng(seed).standard_normal((count, d))


def covariance(d, seed):
    root = np.random.default_rng(seed).standard_normal((d, 2 * d))
    return root @ root.T / (2 * d)


# --- Fréchet ------------------------------------------------------------------------------------


def test_identical_sets_are_at_distance_zero():
    one = normal(500, 12)
    assert frechet(one, one) == pytest.approx(0, abs=1e-9)


def test_a_shift_is_its_squared_length():
    one = normal(500, 12)
    assert frechet(one, one + 0.5) == pytest.approx(12 * 0.25, rel=1e-9)


def test_a_scaling_of_isotropic_gaussians_has_the_closed_form():
    # tr(S₁ + S₂ − 2 (S₁S₂)^½) = d (s₁ − s₂)²
    zero, d = np.zeros(6), 6
    value = frechet_of_gaussians(zero, 4 * np.eye(d), zero, 9 * np.eye(d))
    assert value == pytest.approx(d * (2 - 3) ** 2, rel=1e-12)


def test_commuting_covariances_have_the_closed_form():
    a, b = np.array([1.0, 4.0, 0.25]), np.array([9.0, 1.0, 0.0])
    value = frechet_of_gaussians(np.zeros(3), np.diag(a), np.ones(3), np.diag(b))
    assert value == pytest.approx(3 + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum(), rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_it_agrees_with_scipy_s_matrix_root_on_well_conditioned_input(seed):
    d = 40
    s1, s2 = covariance(d, seed), covariance(d, seed + 100)
    m1, m2 = np.random.default_rng(seed).standard_normal((2, d))
    root = scipy.linalg.sqrtm(s1 @ s2)
    expected = ((m1 - m2) ** 2).sum() + np.trace(s1 + s2 - 2 * root).real
    assert frechet_of_gaussians(m1, s1, m2, s2) == pytest.approx(expected, rel=1e-6)


def test_it_stays_real_where_scipy_s_matrix_root_turns_complex():
    # Features that depend on each other: their covariances have rank 10 of 64.
    mix = normal(10, 64, seed=3)
    a, b = normal(200, 10, seed=1) @ mix, normal(200, 10, seed=2) @ mix
    s1, s2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    assert np.iscomplexobj(scipy.linalg.sqrtm(s1 @ s2))
    value = frechet(a, b)
    # The same distance, within the ten dimensions that they span; the 54 others add rounding.
    basis = np.linalg.svd(mix, full_matrices=False)[2]
    assert value == pytest.approx(frechet(a @ basis.T, b @ basis.T), rel=1e-5)


@settings(max_examples=50)
@given(st.integers(1, 8), st.integers(0, 1_000))
def test_it_is_symmetric_never_negative_and_turns_with_its_input(d, seed):
    a, b = normal(60, d, seed), normal(80, d, seed + 1, scale=1.5, shift=0.3)
    turn = np.linalg.qr(normal(d, d, seed + 2))[0]
    assert frechet(a, b) >= 0
    assert frechet(a, b) == pytest.approx(frechet(b, a), rel=1e-8)
    assert frechet(a @ turn, b @ turn) == pytest.approx(frechet(a, b), rel=1e-7)


def test_a_collapsed_set_has_a_finite_distance():
    real, collapsed = normal(400, 5), np.zeros((400, 5))
    expected = (real.mean(0) ** 2).sum() + np.trace(np.cov(real, rowvar=False))
    assert frechet(real, collapsed) == pytest.approx(expected, rel=1e-9)


def test_few_samples_bias_it_upwards_like_1_over_n():
    d, sizes = 30, [100, 200, 400, 800]
    reference = normal(200_000, d, seed=9)
    biased = [
        np.mean([frechet(reference, normal(n, d, seed=n + i)) for i in range(8)]) for n in sizes
    ]
    assert biased == sorted(biased, reverse=True)
    _, unbiased = np.polyfit(1 / np.array(sizes), biased, deg=1)
    assert abs(unbiased) < biased[-1] / 4


# --- kernel distance ----------------------------------------------------------------------------


def test_the_kernel_distance_of_two_samples_of_one_distribution_is_zero_within_its_error():
    values = np.array(
        [
            kernel_distances(normal(200, 8, s), normal(200, 8, s + 50), size=200, subsets=1)[0]
            for s in range(50)
        ]
    )
    assert abs(values.mean()) < 4 * values.std() / math.sqrt(50)
    assert values.min() < 0  # unbiased: it must be able to fall below its mean of zero


def test_the_kernel_distance_of_one_dimension_has_the_closed_form():
    # k(x, y) = (xy + 1)³ = 1 + 3xy + 3x²y² + x³y³: MMD² = 3 Δm₁² + 3 Δm₂² + Δm₃² of the moments.
    a, b = normal(20_000, 1, seed=1), normal(20_000, 1, seed=2, scale=1.2, shift=0.4)
    gaps = [((a**p).mean() - (b**p).mean()) ** 2 for p in (1, 2, 3)]
    expected = 3 * gaps[0] + 3 * gaps[1] + gaps[2]
    values = kernel_distances(a, b, size=500, subsets=60)
    assert values.mean() == pytest.approx(expected, abs=4 * values.std() / math.sqrt(60))


@pytest.mark.parametrize("d", [1, 3, 7])
def test_the_kernel_distance_of_whole_sets_is_that_of_scikit_learns_kernel(d):
    a, b = normal(40, d), normal(40, d, seed=1, shift=0.7, scale=1.5)

    def mean(x, y):
        kernel = polynomial_kernel(x, y, degree=3, gamma=1 / d, coef0=1)
        return (kernel.sum() - np.trace(kernel) * (x is y)) / (len(x) * (len(y) - (x is y)))

    found = kernel_distances(a, b, size=40, subsets=3)
    assert found == pytest.approx(3 * [mean(a, a) + mean(b, b) - 2 * mean(a, b)], rel=1e-9)


def test_the_smallest_subsets_are_pairs():
    assert np.isfinite(kernel_distances(normal(2, 3), normal(2, 3, seed=1), size=2)).all()
    with pytest.raises(ValueError, match="subsets of 3 from 2 and 5"):
        kernel_distances(normal(2, 3), normal(5, 3), size=3)
    with pytest.raises(ValueError, match="subsets of 1 from"):
        kernel_distances(normal(5, 3), normal(5, 3), size=1)


def test_the_kernel_distance_repeats_with_its_seed():
    a, b = normal(300, 4), normal(300, 4, seed=1)
    one, same, other = (kernel_distances(a, b, size=100, seed=s) for s in (0, 0, 1))
    assert (one == same).all()
    assert (one != other).any()


# --- neighbours ---------------------------------------------------------------------------------


def test_identical_sets_score_one():
    one = normal(300, 4)
    scores = neighbour_scores(one, one)
    assert scores["precision"] == scores["recall"] == scores["coverage"] == 1
    assert scores["density"] == pytest.approx(1 + 1 / 5, rel=0.05)  # its own ball holds it, too


def test_a_collapsed_set_has_precision_but_neither_recall_nor_coverage():
    real = normal(500, 4)
    collapsed = np.tile(real[:1], (500, 1))
    scores = neighbour_scores(real, collapsed)
    assert scores["precision"] == 1
    assert scores["recall"] <= 1 / 500  # the one image it collapsed onto
    assert scores["coverage"] < 0.05


def test_a_ball_holds_what_lies_at_its_edge():
    twice = np.repeat(normal(10, 3), 2, axis=0)  # the nearest neighbour of each is itself
    scores = neighbour_scores(twice, twice, k=1)
    assert (scores["precision"], scores["recall"], scores["coverage"]) == (1, 1, 1)
    assert scores["density"] == 2


def test_one_sample_more_than_neighbours_is_enough():
    assert neighbour_scores(normal(4, 2), normal(4, 2, seed=1), k=3)["recall"] == 1
    with pytest.raises(ValueError, match="3 samples for 3 neighbours"):
        neighbour_scores(normal(9, 2), normal(3, 2), k=3)


def test_a_set_far_away_scores_zero():
    scores = neighbour_scores(normal(300, 4), normal(300, 4, seed=1, shift=50))
    assert scores == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}


def test_one_of_two_modes_dropped_shows_in_recall_and_coverage_not_in_precision():
    modes = np.concatenate([normal(400, 3), normal(400, 3, seed=1, shift=30)])
    scores = neighbour_scores(modes, normal(400, 3, seed=2))
    assert scores["precision"] > 0.9
    assert scores["recall"] == pytest.approx(0.5, abs=0.05)
    assert scores["coverage"] == pytest.approx(0.5, abs=0.05)


def test_two_samples_of_one_distribution_score_high():
    scores = neighbour_scores(normal(2_500, 3), normal(2_500, 3, seed=1))
    assert all(value > 0.85 for value in scores.values())


def test_neighbours_match_the_definition_written_out():
    real, made, k = normal(40, 2), normal(30, 2, seed=1, scale=1.4), 3
    far = lambda x, y: np.linalg.norm(x[:, None] - y, axis=2)  # noqa: E731
    radius, other = np.sort(far(real, real))[:, k], np.sort(far(made, made))[:, k]
    held = far(real, made) <= radius[:, None]
    scores = neighbour_scores(real, made, k)
    assert scores["precision"] == held.any(0).mean()
    assert scores["coverage"] == held.any(1).mean()
    assert scores["density"] == held.sum() / k / 30
    assert scores["recall"] == (far(real, made) <= other).any(1).mean()


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", [frechet, kernel_distances, neighbour_scores])
def test_wrong_input_is_named(measure):
    good = normal(1_200, 3)
    with pytest.raises(ValueError, match=r"shapes \(1200, 3\) and \(1200, 4\)"):
        measure(good, normal(1_200, 4))
    with pytest.raises(ValueError, match=r"give \(N, d\)"):
        measure(good, good[:, 0])
    broken = good.copy()
    broken[7, 1] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity"):
        measure(good, broken)
    with pytest.raises(ValueError, match="give more"):
        measure(good, good[:3])


def test_integers_and_float32_are_measured_in_float64():
    a = np.arange(60).reshape(20, 3)
    assert frechet(a, a.astype(np.float32)) == pytest.approx(0, abs=1e-6)
