"""Samplers: the moments they were given, and errors."""

import math

import pytest
import torch

from vae_helpers import samplers


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def draw(sampler, count=40_000, seed=0):
    return sampler(count, torch.Generator().manual_seed(seed))


def test_the_prior_has_mean_0_and_covariance_i():
    z = draw(samplers.prior(3))
    assert torch.allclose(z.mean(0), torch.zeros(3), atol=0.03)
    assert torch.allclose(z.T.cov(), torch.eye(3), atol=0.04)


def test_a_gaussian_has_the_codes_mean_and_covariance():
    codes = normal(5_000, 3) @ normal(3, 3, seed=1) + torch.tensor([5.0, 0.0, -2.0])
    z = draw(samplers.gaussian(codes))
    assert torch.allclose(z.mean(0), codes.mean(0), atol=0.06)
    assert torch.allclose(z.T.cov(), codes.T.cov(), atol=0.15)


def test_a_mixture_keeps_apart_what_one_gaussian_would_join():
    sign = torch.where(torch.arange(2_000) % 4 == 0, -1.0, 1.0)[:, None]  # one to three
    codes = 10 * sign + normal(2_000, 2)
    z = draw(samplers.mixture(codes, components=2))
    assert float((z.abs() < 5).any(1).double().mean()) < 1e-3  # nothing between the clusters
    assert float((z[:, 0] < 0).double().mean()) == pytest.approx(0.25, abs=0.01)
    joined = draw(samplers.gaussian(codes))
    assert float((joined.abs() < 5).any(1).double().mean()) > 0.2


@pytest.mark.parametrize(
    "sampler",
    [samplers.prior(2), samplers.gaussian(normal(50, 2)), samplers.mixture(normal(200, 2), 3)],
)
def test_the_same_seed_draws_the_same_float32_latents(sampler):
    assert torch.equal(draw(sampler, 10), draw(sampler, 10))
    assert not torch.equal(draw(sampler, 10), draw(sampler, 10, seed=1))
    assert draw(sampler, 10).dtype == torch.float32
    assert draw(sampler, 10).shape == (10, 2)


def test_too_few_or_broken_codes_are_refused():
    with pytest.raises(ValueError, match="20 codes for 10 components; give at least 100"):
        samplers.mixture(normal(20, 2))
    broken = normal(200, 2)
    broken[3, 1] = math.nan
    with pytest.raises(ValueError, match="codes hold NaN"):
        samplers.gaussian(broken)
