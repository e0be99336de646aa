import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vae_helpers.garments import CLASSES, FACTORS, LEVELS, draw, sample_factors

MIDDLE = np.array([0.0, 0.5, 0.5, 0.5, 0.5, 0.0, 0.5, 0.5])


def test_pictures_are_bytes_on_black_and_depend_on_the_factors_alone():
    factors = sample_factors(500, seed=3)
    images = draw(factors)
    assert images.shape == (500, 28, 28)
    assert images.dtype == np.uint8
    assert 0.4 < (images == 0).mean() < 0.8
    assert 0.1 < images.mean() / 255 < 0.35
    backwards = draw(factors[::-1])[::-1]
    assert np.array_equal(images, backwards)


def test_classes_are_balanced_and_shuffled():
    labels = sample_factors(1000, seed=0)[:, 0]
    assert (np.bincount(labels.astype(int)) == 100).all()
    assert not np.array_equal(labels, np.sort(labels))
    assert len(np.unique(labels[:30])) > 5


def test_a_seed_gives_the_same_factors_and_another_seed_others():
    assert np.array_equal(sample_factors(50, seed=1), sample_factors(50, seed=1))
    assert not np.array_equal(sample_factors(50, seed=1), sample_factors(50, seed=2))


def test_factors_are_independent():
    correlations = np.corrcoef(sample_factors(20_000, seed=0).T)
    off_diagonal = correlations[~np.eye(len(FACTORS), dtype=bool)]
    assert np.abs(off_diagonal).max() < 0.04  # 5.6 standard errors


@pytest.mark.parametrize("factor", FACTORS[1:])
@pytest.mark.parametrize("label", range(len(CLASSES)), ids=CLASSES)
def test_every_factor_changes_every_garment(label, factor):
    i = FACTORS.index(factor)
    low, high = MIDDLE.copy(), MIDDLE.copy()
    low[0] = high[0] = label
    low[i], high[i] = 0, 3 if factor in LEVELS else 1
    before, after = draw(np.stack([low, high])).astype(float)
    assert np.abs(before - after).mean() > 1.5


def test_a_linear_classifier_finds_the_classes_neither_trivial_nor_noise():
    def split(n, seed):
        factors = sample_factors(n, seed)
        pixels = torch.from_numpy(draw(factors)).flatten(1).double() / 255
        return pixels, torch.from_numpy(factors[:, 0]).long()

    (images, labels), (unseen, truth) = split(5000, 0), split(2000, 1)
    weights = torch.zeros(784, 10, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(10, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=60)

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(images @ weights + bias, labels) + 1e-4 * weights.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    accuracy = float(((unseen @ weights + bias).argmax(1) == truth).double().mean())
    assert 0.60 < accuracy < 0.90


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: 10}, "class is 10"),
        ({0: 2.5}, "class is 2.5"),
        ({1: -0.1}, "width is -0.1"),
        ({4: 1.5}, "shade is 1.5"),
        ({5: 4}, "pattern is 4"),
        ({6: np.nan}, "shift is nan"),
    ],
)
def test_a_factor_out_of_range_is_named(change, message):
    factors = np.stack([MIDDLE, MIDDLE])
    for i, value in change.items():
        factors[1, i] = value
    with pytest.raises(ValueError, match=message):
        draw(factors)


def test_other_shapes_and_counts_are_refused():
    with pytest.raises(ValueError, match=r"factors of shape \(8,\)"):
        draw(MIDDLE)
    with pytest.raises(ValueError, match="ask for at least 1"):
        sample_factors(0, seed=0)
