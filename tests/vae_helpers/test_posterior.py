"""What codes are like: known answers for units, statistics and class separation."""

import math

import pytest
import torch

from vae_helpers.losses import kl_divergence
from vae_helpers.metrics.posterior import (
    active_units,
    latent_statistics,
    linear_accuracy,
    mutual_information,
    neighbour_accuracy,
    neighbourhoods,
    silhouette,
)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_only_dimensions_whose_mean_moves_are_active():
    mu = normal(1_000, 5) * torch.tensor([1.0, 0.5, 0.2, 0.05, 0.0])
    assert active_units(mu) == 3  # variances 1, 0.25, 0.04, 0.0025, 0


def test_a_constant_offset_makes_no_unit_active():
    assert active_units(torch.full((10, 4), 3.0)) == 0


def test_statistics_are_those_of_each_dimension():
    mu = torch.tensor([[-1.0, 2.0], [3.0, 2.0]])
    found = latent_statistics(mu, torch.full((2, 2), math.log(0.5)))
    assert found["min"].tolist() == [-1, 2]
    assert found["max"].tolist() == [3, 2]
    assert found["mean"].tolist() == [1, 2]
    # Var[μ] + E[σ²] = 4 + ½ and 0 + ½
    assert found["aggregate_std"].tolist() == pytest.approx([math.sqrt(4.5), math.sqrt(0.5)])


def test_an_aggregate_posterior_equal_to_the_prior_has_its_moments():
    mu = math.sqrt(0.7) * normal(100_000, 3)
    found = latent_statistics(mu, torch.full(mu.shape, math.log(0.3)))
    assert torch.allclose(found["aggregate_std"], torch.ones(3).double(), atol=0.01)
    # The same from samples.
    z = mu + math.sqrt(0.3) * normal(100_000, 3, seed=1)
    assert torch.allclose(z.std(0).double(), found["aggregate_std"], atol=0.01)


def test_far_clusters_have_silhouette_one_and_mixed_ones_zero():
    labels = torch.arange(200) % 2
    apart = 0.01 * normal(200, 2) + labels[:, None]
    assert silhouette(apart, labels) > 0.95
    assert abs(silhouette(normal(200, 2), labels)) < 0.05


def test_silhouette_of_four_points_is_its_definition():
    codes = torch.tensor([[0.0, 0.0], [0.0, 1.0], [4.0, 0.0], [4.0, 1.0]])
    a, b = 1, (4 + math.sqrt(17)) / 2
    assert silhouette(codes, torch.tensor([0, 0, 1, 1])) == pytest.approx((b - a) / b)


def test_neighbours_find_separate_classes_and_guess_among_mixed_ones():
    labels = torch.arange(600) % 3
    apart = normal(600, 2) + 20 * labels[:, None]
    assert neighbour_accuracy(apart[:300], labels[:300], apart[300:], labels[300:]).mean() == 1
    mixed = normal(600, 2)
    found = neighbour_accuracy(mixed[:300], labels[:300], mixed[300:], labels[300:])
    assert float(found.mean()) == pytest.approx(1 / 3, abs=0.12)
    assert found.shape == (300,)


def test_images_count_as_codes_of_their_pixels():
    labels = torch.arange(40) % 2
    images = labels.float()[:, None, None, None].expand(40, 1, 4, 4)
    assert neighbour_accuracy(images, labels, images, labels).mean() == 1


def test_wrong_codes_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        active_units(torch.full((3, 2), math.nan))
    with pytest.raises(ValueError, match="N > 1"):
        active_units(torch.zeros(1, 2))
    with pytest.raises(ValueError, match="5 known codes for 10 neighbours"):
        neighbour_accuracy(normal(5, 2), torch.zeros(5), normal(5, 2), torch.zeros(5))


def test_a_collapsed_posterior_tells_nothing():
    nothing = torch.zeros(500, 3)
    assert mutual_information(nothing, nothing) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("width", [0.5, 1.0, 2.0])
def test_information_of_a_gaussian_channel_is_shannons(width):
    generator = torch.Generator().manual_seed(0)
    mu = width * torch.randn(4_000, 1, generator=generator)
    found = mutual_information(mu, torch.zeros_like(mu), generator)
    assert found == pytest.approx(0.5 * math.log(1 + width**2), abs=0.04)


@pytest.mark.parametrize("width", [math.nan, -math.inf])
def test_information_of_no_posterior_is_refused(width):
    with pytest.raises(ValueError, match="not finite"):
        mutual_information(torch.randn(50, 2), torch.full((50, 2), width))


def test_information_never_exceeds_the_log_of_the_count():
    generator = torch.Generator().manual_seed(0)
    mu = 100 * torch.randn(300, 4, generator=generator)
    found = mutual_information(mu, torch.full_like(mu, -4.0), generator)
    assert found == pytest.approx(math.log(300), abs=1e-3)


def test_information_is_below_the_kl():
    generator = torch.Generator().manual_seed(0)
    mu, log_var = 1 + torch.randn(1_000, 2, generator=generator), torch.full((1_000, 2), -1.0)
    assert mutual_information(mu, log_var, generator) < float(kl_divergence(mu, log_var).mean())


def test_a_linear_probe_separates_what_a_plane_can_and_not_what_it_cannot():
    codes = normal(2_000, 2)
    by_plane = (codes[:, 0] > 0).long()
    by_quadrant = ((codes[:, 0] > 0) ^ (codes[:, 1] > 0)).long()
    parts = codes[:1_000], codes[1_000:]
    for labels, low, high in ((by_plane, 0.98, 1.0), (by_quadrant, 0.4, 0.6)):
        right = linear_accuracy(parts[0], labels[:1_000], parts[1], labels[1_000:])
        assert low <= float(right.mean()) <= high
        assert right.shape == (1_000,)


def test_a_linear_probe_does_not_care_about_scale_or_place():
    codes, labels = normal(500, 3), torch.arange(500) % 2
    codes[:, 0] += labels
    plain = linear_accuracy(codes, labels, codes, labels)
    moved = codes * torch.tensor([100.0, 0.01, 1.0]) + 7
    assert torch.equal(linear_accuracy(moved, labels, moved, labels), plain)


def test_neighbourhoods_of_far_clusters_are_their_own_and_of_mixed_ones_shared():
    labels = torch.arange(300) % 3
    far = normal(300, 2) + 100 * labels[:, None]
    assert torch.allclose(neighbourhoods(far, labels, 3), torch.eye(3).double())
    # Classes 0 and 1 in one place, 2 elsewhere.
    mixed = normal(300, 2) + 100 * (labels[:, None] == 2)
    shares = neighbourhoods(mixed, labels, 3)
    assert torch.allclose(shares.sum(1), torch.ones(3).double())
    assert shares[2].tolist() == [0, 0, 1]
    assert 0.4 < float(shares[0, 1]) < 0.6
    # No code is its own neighbour.
    pairs = torch.tensor([[0.0], [0.1], [10.0], [10.1]])
    crossed = neighbourhoods(pairs, torch.tensor([0, 1, 0, 1]), 2, k=1)
    assert crossed.tolist() == [[0, 1], [1, 0]]


def test_classes_without_codes_and_too_few_codes_are_named():
    assert neighbourhoods(normal(20, 2), torch.zeros(20).long(), 2)[1].isnan().all()
    with pytest.raises(ValueError, match="10 codes for 10 neighbours"):
        neighbourhoods(normal(10, 2), torch.zeros(10).long(), 2)
