"""Importance-weighted bounds where the evidence is known, and their order where it is not."""

import math

import numpy as np
import pytest
import scipy.special
import torch
from scipy.stats import norm

from vae_helpers import losses
from vae_helpers.metrics.posterior import bound_of_weights, log_weights
from vae_helpers.models import build_vae


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def importance_bound(model, images, samples, generator=None):
    return bound_of_weights(log_weights(model, images, samples, generator), samples)


@pytest.fixture
def images():
    return torch.rand((4, 1, 28, 28), generator=seeded(3))


@pytest.fixture
def model():
    """A VAE whose decoder depends on z and whose posterior is not the prior."""
    model = build_vae("dense", 2).eval()
    with torch.no_grad():
        model.decoder[0].weight.mul_(3)
        model.encoder.mu.bias.add_(1)
        model.encoder.log_var.bias.add_(-0.5)
    return model


def make_blind(layer) -> None:
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)


def repeated(images, times: int):
    return images.repeat(times, 1, 1, 1)


@pytest.mark.parametrize("samples", [1, 2, 7, 50])
def test_the_bound_is_the_evidence_where_the_posterior_is_exact(samples, images):
    # A decoder that ignores z has p(x) = p(x|z) and the prior as its true posterior.
    model = build_vae("conv", 3).eval()
    make_blind(model.decoder[0])
    make_blind(model.encoder.mu)
    make_blind(model.encoder.log_var)
    with torch.no_grad():
        evidence = -losses.reconstruction_nll(model.decode(torch.zeros(4, 3)), images)

    bound = importance_bound(model, images, samples, seeded())

    torch.testing.assert_close(bound, evidence, rtol=1e-6, atol=1e-3)


def test_every_importance_weight_of_a_blind_decoder_averages_to_the_evidence(images):
    # Only p(z)/q(z|x) is left to average, and its mean is 1 for any posterior.
    model = build_vae("dense", 2).eval()
    make_blind(model.decoder[0])
    with torch.no_grad():
        model.encoder.mu.weight.mul_(2)
        model.encoder.log_var.bias.fill_(0.4)
        evidence = -losses.reconstruction_nll(model.decode(torch.zeros(4, 2)), images)

    ratios = torch.exp(importance_bound(model, repeated(images, 5_000), 1, seeded()).view(-1, 4)
                       - evidence)  # fmt: skip

    error = ratios.std(0) / math.sqrt(len(ratios))
    assert ((ratios.mean(0) - 1).abs() < 5 * error).all()
    assert (error < 0.1).all()


def test_with_one_sample_the_bound_is_the_elbo_on_average(model, images):
    many = repeated(images, 2_000)
    bounds = importance_bound(model, many, 1, seeded(2))
    with torch.inference_mode():
        logits, mu, log_var = model(many, seeded(2))  # the same noise: only the KL is sampled
        elbos = -losses.elbo_terms(logits, many, mu, log_var).total()
    difference = (bounds - elbos).view(-1, 4)

    error = difference.std(0) / math.sqrt(len(difference))
    assert (difference.mean(0).abs() < 5 * error).all()
    assert (error < 0.05).all()


def test_the_bound_rises_with_the_number_of_samples_on_average(model, images):
    many = repeated(images, 300)
    means, errors = [], []
    for samples in (1, 4, 16, 64):
        bounds = importance_bound(model, many, samples, seeded(samples))
        means.append(bounds.mean().item())
        per_image = bounds.view(-1, 4)
        errors.append((per_image.var(0).sum() / 16 / len(per_image)).sqrt().item())

    for (low, high), error in zip(zip(means, means[1:], strict=False), errors, strict=False):
        assert high - low > 5 * error


def test_the_bound_does_not_pass_the_evidence(model, images):
    # d = 2 lets the evidence be summed over a grid of z: ∫ p(x|z) p(z) dz.
    axis = torch.linspace(-6, 6, 121)
    grid = torch.cartesian_prod(axis, axis)
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(grid).sum(1)
    with torch.inference_mode():
        logits = model.decode(grid)
        evidence = torch.stack(
            [
                torch.logsumexp(
                    prior - losses.reconstruction_nll(logits, image.expand_as(logits)), 0
                )
                for image in images
            ]
        ) + 2 * math.log(0.1)
    bounds = importance_bound(model, repeated(images, 50), 300, seeded()).view(-1, 4)

    error = bounds.std(0) / math.sqrt(len(bounds))
    assert (bounds.mean(0) < evidence + 5 * error).all()
    assert (bounds.mean(0) > evidence - 1).all(), "with 300 samples the bound is tight"


def test_there_is_one_bound_per_image_decided_by_the_generator(model, images):
    one, again, other = (importance_bound(model, images, 3, seeded(seed)) for seed in (1, 1, 2))

    assert one.shape == (4,)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("samples", [0, -3])
def test_no_samples_give_no_bound(samples, model, images):
    with pytest.raises(ValueError, match=f"{samples} importance samples"):
        importance_bound(model, images, samples)


def test_bounds_of_all_k_come_from_one_set_of_weights(model, images):
    weights = log_weights(model, images, 12, torch.Generator().manual_seed(0))
    assert weights.shape == (12, len(images))
    assert torch.allclose(bound_of_weights(weights, 1), weights.mean(0), atol=1e-4)
    ratios = weights.double().exp().mean(0).log()
    assert torch.allclose(bound_of_weights(weights, 12).double(), ratios, atol=1e-4)
    bounds = [bound_of_weights(weights, k) for k in (1, 2, 3, 6, 12)]
    # With groups of a common set the order holds for each image, by Jensen's inequality.
    assert (bounds[0] <= bounds[1] + 1e-3).all()
    assert (bounds[1] <= bounds[3] + 1e-3).all()
    assert (bounds[3] <= bounds[4] + 1e-3).all()


@pytest.mark.parametrize("samples", [0, 5, 13])
def test_groups_that_do_not_divide_the_weights_are_refused(samples):
    with pytest.raises(ValueError, match="give a divisor"):
        bound_of_weights(torch.zeros(12, 3), samples)


def test_weights_are_those_of_scipy_s_densities(images):
    model = build_vae("dense", 3, seed=1)
    with torch.no_grad():
        model.encoder.log_var.bias += torch.tensor([2.0, -1.0, 0.5])  # other widths than one
    found = log_weights(model, images[:4], 3, torch.Generator().manual_seed(0))
    draws, expected = torch.Generator().manual_seed(0), []
    with torch.no_grad():
        mu, log_var = model.eval().encode(images[:4])
        for _ in range(3):
            z = model.reparameterize(mu, log_var, draws)
            probability, x = model.generate(z).double().numpy(), images[:4].double().numpy()
            pixels = scipy.special.xlogy(x, probability) + scipy.special.xlog1py(
                1 - x, -probability
            )
            sigma = np.exp(0.5 * log_var.double().numpy())
            prior, posterior = norm.logpdf(z), norm.logpdf(z, mu, sigma)
            expected.append(pixels.sum((1, 2, 3)) + (prior - posterior).sum(1))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
