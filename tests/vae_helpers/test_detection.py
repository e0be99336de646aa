"""AUROC and its error: known answers, invariants, and the bootstrap."""

import pytest
import torch

from vae_helpers.metrics.differences import auroc


def normal(count, seed):
    return torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_separate_scores_are_perfect_either_way_round():
    low, high = torch.arange(5.0), torch.arange(10.0, 14.0)
    assert auroc(low, high) == (1, 0)
    assert auroc(high, low) == (0, 0)


def test_ties_count_half():
    area, _ = auroc(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0]))
    assert area == pytest.approx(7 / 8)  # of four pairs three are right and one is a tie
    assert auroc(torch.zeros(5), torch.zeros(7))[0] == 0.5


def test_shifted_gaussians_have_the_area_of_their_distance():
    # P(X < Y) = Φ(1 / √2) for Y − X ~ N(1, 2)
    area, error = auroc(normal(20_000, 0), normal(20_000, 1) + 1)
    assert area == pytest.approx(0.760250, abs=4 * error)
    assert error < 0.003


def test_only_the_order_of_scores_matters():
    low, high = normal(300, 0), normal(200, 1) + 0.5
    assert auroc(low, high) == auroc(low.exp(), high.exp())
    area, error = auroc(-low, -high)
    assert (1 - area, error) == pytest.approx(auroc(low, high))


def test_the_error_is_what_the_bootstrap_finds():
    low, high = normal(300, 0), normal(200, 1) + 0.5
    _, error = auroc(low, high)
    draw = torch.Generator().manual_seed(0)

    def again(scores):
        return scores[torch.randint(len(scores), scores.shape, generator=draw)]

    found = torch.tensor([auroc(again(low), again(high))[0] for _ in range(500)])
    assert error == pytest.approx(float(found.std()), rel=0.15)


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (torch.zeros(1), torch.zeros(3), "1 normal, 3 anomalous"),
        (torch.zeros(3), torch.zeros(0), "3 normal, 0 anomalous"),
        (torch.zeros(3), torch.tensor([0.0, float("nan")]), "scores hold NaN"),
    ],
)
def test_too_few_scores_or_nan_are_refused(low, high, message):
    with pytest.raises(ValueError, match=message):
        auroc(low, high)
