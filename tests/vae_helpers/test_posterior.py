"""What codes are like: known answers for units, information and class separation."""

import math

import pytest
import torch

from vae_helpers.losses import kl_divergence
from vae_helpers.metrics.posterior import (
    active_units,
    mutual_information,
)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_only_dimensions_whose_mean_moves_are_active():
    mu = normal(1_000, 5) * torch.tensor([1.0, 0.5, 0.2, 0.05, 0.0])
    assert active_units(mu) == 3  # variances 1, 0.25, 0.04, 0.0025, 0


def test_two_codes_have_a_variance():
    assert active_units(torch.tensor([[0.0, 0.0], [1.0, 0.1]])) == 1  # variances 0.5 and 0.005


def test_a_variance_is_used_above_a_hundredth():
    moved = torch.tensor([[0.0], [1.0]]) * torch.tensor([0.0099, 0.0101]).mul(2).sqrt()
    assert active_units(moved) == 1  # variances 0.0099 and 0.0101
    edge = torch.tensor([[0.0], [math.sqrt(0.02)]], dtype=torch.float64)
    assert active_units(edge) == 0  # a variance of 0.01 is not more than that


def test_a_constant_offset_makes_no_unit_active():
    assert active_units(torch.full((10, 4), 3.0)) == 0


def test_wrong_codes_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        active_units(torch.full((3, 2), math.nan))
    with pytest.raises(ValueError, match="N > 1"):
        active_units(torch.zeros(1, 2))


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
    with pytest.raises(ValueError, match="log σ² hold NaN or infinity"):
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


@pytest.mark.parametrize("count", [2, 499, 500, 501, 1_003])
def test_information_is_that_of_the_mixture_whatever_the_widths(count):
    mu, log_var = normal(count, 3).double(), normal(count, 3, seed=1).double()
    posterior = torch.distributions.Normal(mu, log_var.div(2).exp())
    drawn = torch.randn(mu.shape, generator=torch.Generator().manual_seed(2), dtype=mu.dtype)
    codes = mu + drawn * posterior.stddev
    densities = posterior.log_prob(codes[:, None]).sum(2)  # of each code in each image's posterior
    mixture = densities.logsumexp(1) - math.log(count)
    expected = float((densities.diagonal() - mixture).mean())
    found = mutual_information(mu, log_var, torch.Generator().manual_seed(2))
    assert found == pytest.approx(expected, rel=1e-9)
