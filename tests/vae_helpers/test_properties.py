"""What holds for every input, on inputs that hypothesis looks for."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vae_helpers import losses
from vae_helpers.data import garments
from vae_helpers.errors import DataError
from vae_helpers.metrics.differences import auroc
from vae_helpers.metrics.disentanglement import dci, mutual_information_gap
from vae_helpers.metrics.images import diversity, sharpness
from vae_helpers.metrics.posterior import active_units, bound_of_weights
from vae_helpers.training import one_cycle

CLOTHES = garments(120)
SEEDS = st.integers(0, 2**31 - 1)
SCORES = st.lists(st.integers(-50, 50).map(float), min_size=2, max_size=30)


def normal(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def positions(part):
    """Where the images of a part are among all of them; no two of these are alike."""
    whole = CLOTHES.images.flatten(1)
    return [int((whole == image).all(1).nonzero()[0, 0]) for image in part.images.flatten(1)]


# --- parts of a dataset -------------------------------------------------------------------------


@pytest.mark.fault(
    "any number of images, split at any share by any seed",
    "two parts that together are all images once; or refused, where one would be empty",
)
@given(count=st.integers(1, 120), share=st.floats(-0.5, 1.5) | st.just(math.nan), seed=SEEDS)
def test_a_split_is_a_partition_or_refused(count, share, seed):
    some = CLOTHES.subset(slice(count))
    first = round(share * count) if 0 < share < 1 else 0
    if not 0 < first < count:
        with pytest.raises(DataError, match="split"):
            some.split(share, seed)
        return
    parts = some.split(share, seed)
    assert list(map(len, parts)) == [first, count - first]
    assert sorted(positions(parts[0]) + positions(parts[1])) == list(range(count))


@given(count=st.integers(1, 120), size=st.integers(1, 200))
def test_batches_are_all_images_once_and_none_is_empty(count, size):
    some = CLOTHES.subset(slice(count))
    batches = list(some.batches(size))
    assert len(batches) == math.ceil(count / size)
    assert all(0 < len(images) <= size for images, _ in batches)
    assert torch.equal(torch.cat([labels for _, labels in batches]), some.labels)


@given(each=st.integers(1, 12), seed=SEEDS)
def test_a_balanced_choice_has_no_image_twice(each, seed):
    chosen = CLOTHES.balanced(10 * each, seed)
    assert torch.bincount(chosen.labels).tolist() == [each] * 10
    assert len(set(positions(chosen))) == 10 * each


# --- losses -------------------------------------------------------------------------------------


@pytest.mark.fault(
    "any logits, as large as they come, against any likelihood",
    "finite losses; an image's own does not depend on its batch, and none is below its floor",
)
@given(seed=SEEDS, scale=st.floats(0, 30), likelihood=st.sampled_from(sorted(losses.LIKELIHOODS)))
def test_every_loss_is_finite_and_each_image_has_its_own(seed, scale, likelihood):
    logits = scale * normal(seed, 4, 1, 28, 28)
    images = CLOTHES[:4][0]
    whole = losses.reconstruction_nll(logits, images, likelihood)
    alone = [
        losses.reconstruction_nll(logits[i : i + 1], images[i : i + 1], likelihood) for i in (0, 3)
    ]
    assert whole.isfinite().all()
    torch.testing.assert_close(whole[[0, 3]], torch.cat(alone))
    if likelihood == "bernoulli":
        assert (whole >= losses.entropy_floor(images) - 1e-2).all()


@given(seed=SEEDS, beta=st.floats(0, 100), width=st.integers(1, 64))
def test_a_kl_is_the_sum_of_its_dimensions_and_weighs_beta_times(seed, beta, width):
    mu, log_var = normal(seed, 5, width), normal(seed + 1, 5, width)
    kl = losses.kl_divergence(mu, log_var)
    assert (kl >= 0).all()
    torch.testing.assert_close(losses.kl_per_dimension(mu, log_var).sum(1), kl)
    terms = losses.ElboTerms(kl.new_full((5,), 200.0), kl)
    torch.testing.assert_close(terms.total(beta), 200 + beta * kl)


@given(beta=st.floats(0, 100), progress=st.floats(0, 1), lr=st.floats(1e-6, 1))
def test_schedules_stay_between_nothing_and_their_peak(beta, progress, lr):
    for schedule in (losses.linear_warmup(beta, 0.5), losses.cyclical(beta)):
        assert 0 <= schedule(progress) <= beta
    assert 0 < one_cycle(progress, lr) <= lr * (1 + 1e-12)


# --- metrics ------------------------------------------------------------------------------------


@pytest.mark.fault(
    "any scores, with ties, of as few as two images",
    "an AUROC within 0 and 1 that its mirror completes to 1, and that only the order moves",
)
@given(normal_scores=SCORES, strange=SCORES)
def test_an_auroc_and_its_mirror_add_up_to_one(normal_scores, strange):
    a, b = torch.tensor(normal_scores), torch.tensor(strange)
    area, error = auroc(a, b)
    assert 0 <= area <= 1
    assert error >= 0
    assert area + auroc(b, a)[0] == pytest.approx(1)
    assert auroc(a**3 + a, b**3 + b)[0] == pytest.approx(area)  # only the order counts


@given(seed=SEEDS, count=st.integers(3, 20))
def test_sharpness_and_diversity_do_not_care_about_order_or_mirrors(seed, count):
    images = torch.rand((count, 1, 28, 28), generator=torch.Generator().manual_seed(seed))
    mirrored = images.flip(0).flip(3)
    torch.testing.assert_close(sharpness(mirrored), sharpness(images).flip(0))
    assert diversity(mirrored)[0] == pytest.approx(diversity(images)[0], rel=1e-5)


@given(seed=SEEDS, width=st.integers(1, 12), shift=st.floats(-5, 5), dead=st.integers(0, 12))
def test_dimensions_that_do_not_move_are_not_active(seed, width, shift, dead):
    assume(dead <= width)
    mu = normal(seed, 200, width)
    mu[:, :dead] = 0
    assert active_units(mu + shift) == width - dead


@settings(max_examples=10)  # each grows forests
@given(seed=SEEDS, codes=st.integers(2, 5), factors=st.integers(2, 3))
def test_scores_of_disentanglement_lie_between_nothing_and_one(seed, codes, factors):
    random = np.random.default_rng(seed)
    z, y = random.normal(size=(200, codes)), random.uniform(size=(200, factors))
    scores = [mutual_information_gap(z, y), *dci(z, y).values()]
    assert all(-1e-9 <= one <= 1 + 1e-9 for one in scores)


@given(seed=SEEDS, power=st.integers(0, 5), spread=st.floats(0, 50))
def test_more_samples_never_loosen_a_bound(seed, power, spread):
    weights = spread * normal(seed, 64, 3).double() - 240
    few, more = (bound_of_weights(weights, 2**k) for k in (power, power + 1))
    assert (more >= few - 1e-9).all()  # Jensen's inequality, group by group
