"""Estimators of one gradient against the gradient itself, where calculus gives it."""

import math

import pytest
import torch

from press.experiments.gradients import gradient_samples, head_gradients
from vae_helpers.losses import elbo_terms
from vae_helpers.models import build_vae

COUNT = 50_000
A = torch.tensor([0.5, -2.0, 1.0], dtype=torch.float64)
B = torch.tensor([1.0, 0.0, -3.0], dtype=torch.float64)
MU = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
SIGMA = torch.tensor([0.5, 1.0, 1.5], dtype=torch.float64)
ESTIMATORS = ["reparameterized", "score function", "score function, baseline"]


def quadratic(z):
    """f(z) = Σ a z² + b z, whose E[f] has the gradient 2aμ + b."""
    return (A * z**2 + B * z).sum(1)


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def samples():
    return gradient_samples(quadratic, MU, 2 * SIGMA.log(), COUNT, seeded())


def test_there_is_one_gradient_per_sample_dimension_and_estimator(samples):
    assert list(samples) == ESTIMATORS
    assert {tuple(gradients.shape) for gradients in samples.values()} == {(COUNT, 3)}


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_estimator_is_unbiased(estimator, samples):
    gradients = samples[estimator]
    error = gradients.std(0) / math.sqrt(COUNT)
    assert ((gradients.mean(0) - (2 * A * MU + B)).abs() < 5 * error).all()


def test_every_estimator_is_unbiased_with_few_samples():
    # A baseline that contained the sample itself would be biased by 1/count: here by a fifth.
    rounds, generator = 3_000, seeded()
    estimates = [
        gradient_samples(quadratic, MU, 2 * SIGMA.log(), 5, generator) for _ in range(rounds)
    ]
    for estimator in ESTIMATORS:
        means = torch.stack([samples[estimator].mean(0) for samples in estimates])
        error = means.std(0) / math.sqrt(rounds)
        assert ((means.mean(0) - (2 * A * MU + B)).abs() < 5 * error).all(), estimator


def test_the_reparameterized_variance_is_its_closed_form(samples):
    # ∂f/∂μ = 2a(μ + σε) + b, so the variance is 4a²σ², and its sample's error √(2/n) of it.
    expected = 4 * A**2 * SIGMA**2
    variance = samples["reparameterized"].var(0)
    assert ((variance - expected).abs() < 5 * expected * math.sqrt(2 / COUNT)).all()


def test_the_score_function_is_noisier_in_every_dimension_and_a_baseline_helps(samples):
    spread = {name: gradients.std(0) for name, gradients in samples.items()}
    assert (spread["score function"] > 1.5 * spread["reparameterized"]).all()
    assert (spread["score function, baseline"] > spread["reparameterized"]).all()
    shifted = gradient_samples(lambda z: quadratic(z) + 100, MU, 2 * SIGMA.log(), 2_000, seeded())
    spread = {name: gradients.std(0) for name, gradients in shifted.items()}
    assert (spread["score function"] > 5 * spread["score function, baseline"]).all()


def test_the_estimates_follow_the_generator():
    one, again, other = (
        gradient_samples(quadratic, MU, 2 * SIGMA.log(), 10, seeded(seed)) for seed in (1, 1, 2)
    )
    for name in ESTIMATORS:
        assert torch.equal(one[name], again[name])
        assert not torch.equal(one[name], other[name])


# --- at the encoder's heads --------------------------------------------------------------------


def total(beta: float):
    return lambda *outputs: elbo_terms(*outputs).total(beta).mean()


def test_the_elbos_gradient_reaches_both_heads():
    images = torch.rand((4, 1, 28, 28), generator=seeded())
    norms = head_gradients(build_vae("conv", 4).eval(), images, total(1.0))

    assert list(norms) == ["μ", "log σ²"]
    assert min(norms.values()) > 1e-3


def test_head_gradients_are_the_norms_that_backward_leaves():
    model = build_vae("dense", 4)
    images = torch.rand((4, 1, 28, 28), generator=seeded())

    norms = head_gradients(model, images, total(2.0))

    assert all(parameter.grad is None for parameter in model.parameters()), "gradients were touched"
    logits, mu, log_var = model(images, seeded(0))
    total(2.0)(logits, images, mu, log_var).backward()
    assert norms["μ"] == pytest.approx(model.encoder.mu.weight.grad.norm().item())
    assert norms["log σ²"] == pytest.approx(model.encoder.log_var.weight.grad.norm().item())


def test_the_kl_alone_pulls_each_head_towards_its_prior_value():
    model = build_vae("dense", 4)
    images = torch.rand((4, 1, 28, 28), generator=seeded())
    torch.nn.init.zeros_(model.encoder.mu.weight)
    torch.nn.init.zeros_(model.encoder.mu.bias)

    norms = head_gradients(model, images, lambda *outputs: elbo_terms(*outputs).kl.mean())

    assert norms["μ"] == 0, "μ = 0 is the KL's minimum"
    assert norms["log σ²"] > 1e-4
