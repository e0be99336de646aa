"""The ELBO's terms against closed forms, Monte Carlo and ``torch.distributions``."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import distributions as D
from torch.func import grad

from vae_helpers import losses

MEANS = st.floats(-20, 20, width=32)
LOG_VARIANCES = st.floats(-20, 8, width=32)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(7)


def logits_and_images(kind: str, generator, batch: int = 5):
    """Logits of every size around 0, and images with both extremes among their pixels."""
    shape = (batch, 1, 28, 28)
    logits = 4 * torch.randn(shape, generator=generator)
    grey = torch.randint(0, 256, shape, generator=generator) / 255
    return logits, grey.round() if kind == "binary" else grey


def per_image(values: torch.Tensor) -> torch.Tensor:
    return values.double().flatten(1).sum(1)


# --- KL ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mu", "sigma"), [([0.5, -2.0, 0.0], [1.0, 0.3, 2.5]), ([0.01], [0.99]), ([4.0, 4.0], [0.1, 3])]
)
def test_kl_lies_within_five_standard_errors_of_its_monte_carlo_estimate(mu, sigma, generator):
    mu, sigma = torch.tensor(mu).double(), torch.tensor(sigma).double()
    z = mu + sigma * torch.randn((200_000, len(mu)), generator=generator, dtype=torch.float64)
    log_ratio = (D.Normal(mu, sigma).log_prob(z) - D.Normal(0.0, 1.0).log_prob(z)).sum(1)
    error = log_ratio.std() / math.sqrt(len(z))

    closed = losses.kl_divergence(mu[None], 2 * sigma.log()[None])

    assert abs(closed - log_ratio.mean()) < 5 * error
    assert error < 0.05, "a check this loose would show nothing"


def test_kl_equals_that_of_torch_distributions(generator):
    mu = 3 * torch.randn((64, 16), generator=generator)
    log_var = 2 * torch.randn((64, 16), generator=generator)
    expected = D.kl_divergence(D.Normal(mu, torch.exp(0.5 * log_var)), D.Normal(0.0, 1.0))

    torch.testing.assert_close(losses.kl_per_dimension(mu, log_var), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(losses.kl_divergence(mu, log_var), expected.sum(1))


@pytest.mark.parametrize("mu", [0.0, 1e-6, 1e-3, 1.0, 20.0])
def test_kl_is_never_negative_even_in_float32(mu):
    size = torch.logspace(-12, 1.5, 20_001)
    log_var = torch.cat([-size, torch.zeros(1), size])[:, None]
    assert losses.kl_divergence(torch.full_like(log_var, mu), log_var).min() >= 0


@pytest.mark.parametrize("log_var", [-0.5, -1e-3, -1e-4, 1e-5, 1e-4, 1e-3, 0.5])
def test_kl_next_to_the_prior_keeps_its_digits(log_var):
    kl = losses.kl_divergence(torch.zeros(1, 1), torch.full((1, 1), log_var)).item()
    # ½ (e^v − 1 − v) = v²/4 + v³/12 + …
    assert kl == pytest.approx(
        sum(log_var**n / math.factorial(n) for n in range(2, 12)) / 2, rel=0.05
    )


def test_kl_is_zero_for_the_standard_normal():
    assert losses.kl_divergence(torch.zeros(3, 16), torch.zeros(3, 16)).tolist() == [0, 0, 0]


@given(mu=MEANS, log_var=LOG_VARIANCES)
def test_kl_is_positive_away_from_the_standard_normal(mu, log_var):
    if max(abs(mu), abs(log_var)) > 0.01:
        assert losses.kl_divergence(torch.tensor([[mu]]), torch.tensor([[log_var]])) > 1e-5


def test_kl_is_the_sum_over_its_dimensions_and_keeps_examples_apart(generator):
    mu, log_var = torch.randn((2, 6, 4), generator=generator)
    by_dimension = losses.kl_per_dimension(mu, log_var)

    assert by_dimension.shape == (6, 4)
    torch.testing.assert_close(losses.kl_divergence(mu, log_var), by_dimension.sum(1))
    one_changed = mu.clone()
    one_changed[2, 1] += 1
    changed = losses.kl_per_dimension(one_changed, log_var) != by_dimension
    assert changed.nonzero().tolist() == [[2, 1]]


# --- likelihoods -------------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", losses.LIKELIHOODS)
def test_reconstruction_is_one_number_in_nats_per_example(likelihood, generator):
    logits, images = logits_and_images("grey", generator)
    nll = losses.reconstruction_nll(logits, images, likelihood)

    assert nll.shape == (5,)
    assert nll.dtype == torch.float32
    alone = torch.cat(
        [losses.reconstruction_nll(logits[i, None], images[i, None], likelihood) for i in range(5)]
    )
    torch.testing.assert_close(nll, alone)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_reconstruction_of_half_precision_logits_is_summed_in_float32(half, generator):
    logits, images = logits_and_images("grey", generator)
    logits = logits.to(half)

    nll = losses.reconstruction_nll(logits, images)

    assert nll.dtype == torch.float32
    torch.testing.assert_close(nll, losses.reconstruction_nll(logits.float(), images))


def test_bernoulli_equals_that_of_torch_distributions_on_binary_images(generator):
    logits, images = logits_and_images("binary", generator)
    expected = -per_image(D.Bernoulli(logits=logits.double()).log_prob(images.double()))

    torch.testing.assert_close(
        losses.bernoulli_nll(logits, images).double(), expected, rtol=1e-5, atol=0
    )


def test_bernoulli_equals_its_formula_on_grey_images(generator):
    logits, images = logits_and_images("grey", generator)
    x, p = images.double(), torch.sigmoid(logits.double())
    expected = -per_image(x * p.log() + (1 - x) * (1 - p).log())

    nll = losses.reconstruction_nll(logits, images, "bernoulli")

    torch.testing.assert_close(nll.double(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("logit", [100.0, -100.0])
def test_certain_and_wrong_costs_its_logit_and_certain_and_right_costs_nothing(logit):
    logits = torch.full((1, 1, 28, 28), logit)
    right = torch.full_like(logits, float(logit > 0))

    assert losses.bernoulli_nll(logits, right).item() == pytest.approx(0, abs=1e-30)
    assert losses.bernoulli_nll(logits, 1 - right).item() == pytest.approx(784 * 100)


def test_entropy_floor_is_the_bernoulli_loss_of_the_image_itself(generator):
    _, images = logits_and_images("grey", generator)
    images = images.double().clamp(1e-9, 1 - 1e-9)  # logit(0) would be −∞
    floor = losses.entropy_floor(images)

    torch.testing.assert_close(losses.bernoulli_nll(torch.logit(images), images), floor)
    assert (floor > 100).all(), "grey pixels must have entropy"


@given(x=st.floats(0, 1), p=st.floats(1e-6, 1 - 1e-6))
def test_no_prediction_beats_the_entropy_floor(x, p):
    x, p = torch.tensor([[x]]).double(), torch.tensor([[p]]).double()
    excess = (losses.bernoulli_nll(torch.logit(p), x) - losses.entropy_floor(x)).item()

    assert excess >= -1e-12
    if abs(x - p) > 1e-3:
        assert excess > 1e-6  # Pinsker: at least 2 (x − p)²


def test_entropy_floor_is_zero_for_black_and_white_and_greatest_for_half_grey(generator):
    _, images = logits_and_images("binary", generator)

    assert losses.entropy_floor(images).tolist() == [0] * 5
    half = losses.entropy_floor(torch.full((1, 1, 28, 28), 0.5))
    assert half.item() == pytest.approx(784 * math.log(2))


@pytest.mark.parametrize("sigma", [0.1, 1.0, 3.0])
def test_gaussian_equals_that_of_torch_distributions(sigma, generator):
    mean, images = logits_and_images("grey", generator)
    expected = -per_image(D.Normal(mean, sigma).log_prob(images))

    nll = losses.gaussian_nll(mean, images, sigma)

    torch.testing.assert_close(nll.double(), expected, rtol=1e-5, atol=1e-2)


def test_the_gaussian_likelihood_has_the_sigmoid_of_the_logits_as_its_mean(generator):
    logits, images = logits_and_images("grey", generator)

    nll = losses.reconstruction_nll(logits, images, "gaussian")

    expected = -per_image(D.Normal(torch.sigmoid(logits), 1.0).log_prob(images))
    torch.testing.assert_close(nll.double(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("scale", [0, 1e-4, 9.9e-3, 1.01e-2, 0.1, 1, 8])
def test_continuous_bernoulli_equals_that_of_torch_distributions(scale, generator):
    _, images = logits_and_images("grey", generator)
    logits = scale * (2 * torch.rand(images.shape, generator=generator) - 1)
    # Its own series around λ = ½ is coarser than float64; only the exact branch is compared with.
    reference = D.ContinuousBernoulli(logits=logits.double(), lims=(0.5 - 1e-6, 0.5 + 1e-6))
    expected = -per_image(reference.log_prob(images.double()))

    nll = losses.reconstruction_nll(logits, images, "continuous-bernoulli")

    torch.testing.assert_close(nll.double(), expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("logit", [-12.0, -1.0, -0.0101, -0.0099, 0.0, 0.001, 0.5, 3.0, 20.0])
def test_the_continuous_bernoulli_density_integrates_to_one(logit):
    x = torch.linspace(0, 1, 20_001, dtype=torch.float64)[:, None]
    density = torch.exp(-losses.continuous_bernoulli_nll(torch.full_like(x, logit), x))

    assert torch.trapezoid(density, x[:, 0]).item() == pytest.approx(1, abs=1e-6)


def test_the_plain_bernoulli_term_is_no_density_on_grey_pixels():
    # Why the continuous variant exists: at λ = ½ the plain term integrates to ½.
    x = torch.linspace(0, 1, 1_001, dtype=torch.float64)[:, None]
    mass = torch.trapezoid(torch.exp(-losses.bernoulli_nll(torch.zeros_like(x), x)), x[:, 0])
    assert mass.item() == pytest.approx(0.5)


@pytest.mark.parametrize("likelihood", losses.LIKELIHOODS)
@pytest.mark.parametrize("pixel", [0.0, 0.5, 1.0])
def test_value_and_gradient_are_finite_at_every_logit(likelihood, pixel):
    logits = torch.tensor(
        [-1e4, -100.0, -30.0, -1e-2, -1e-8, 0.0, 1e-38, 1e-8, 9.9e-3, 1e-2, 30.0, 100.0, 1e4]
    )[:, None].requires_grad_(True)
    nll = losses.reconstruction_nll(logits, torch.full_like(logits, pixel), likelihood)
    (gradient,) = torch.autograd.grad(nll.sum(), logits)

    assert nll.isfinite().all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("x", [0.0, 0.3, 1.0])
def test_the_continuous_bernoulli_gradient_is_exact_on_both_sides_of_its_series(x):
    logits = torch.tensor([-2.0, -0.011, -0.009, 0.0, 0.009, 0.011, 2.0], dtype=torch.float64)
    image = torch.tensor([[x]], dtype=torch.float64)

    def nll(logit):
        return losses.continuous_bernoulli_nll(logit.view(1, 1), image).sum()

    # d/dl −log p(x) = E[x] − x, with the mean λ/(2λ − 1) + 1/(2 artanh(1 − 2λ)) of the paper,
    # which in logits is coth(l/2)/2 + 1/2 − 1/l.
    for logit in logits:
        mean = 0.5 + logit / 12
        if logit.abs() > 0.1:
            mean = 0.5 / torch.tanh(logit / 2) + 0.5 - 1 / logit
        torch.testing.assert_close(grad(nll)(logit), mean - x, rtol=1e-5, atol=1e-7)


@given(mu=MEANS, log_var=LOG_VARIANCES)
def test_the_kl_gradient_is_mu_and_half_the_excess_variance(mu, log_var):
    mu = torch.tensor([[mu]], requires_grad=True)
    log_var = torch.tensor([[log_var]], requires_grad=True)
    by_mu, by_log_var = torch.autograd.grad(losses.kl_divergence(mu, log_var).sum(), (mu, log_var))

    torch.testing.assert_close(by_mu, mu.detach())
    torch.testing.assert_close(by_log_var, 0.5 * (log_var.detach().exp() - 1))


def test_an_unknown_likelihood_is_refused_with_the_names_that_exist():
    with pytest.raises(ValueError, match=r"'poisson'.*bernoulli.*continuous-bernoulli.*gaussian"):
        losses.reconstruction_nll(torch.zeros(2, 3), torch.zeros(2, 3), "poisson")


@pytest.mark.parametrize("shape", [(2, 784), (2, 1, 28, 27), (1, 1, 28, 28), (2, 28, 28)])
def test_shapes_that_would_broadcast_silently_are_refused(shape):
    with pytest.raises(ValueError, match=r"\(2, 1, 28, 28\)"):
        losses.reconstruction_nll(torch.zeros(shape), torch.zeros(2, 1, 28, 28))


# --- the objective -----------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [0.0, 0.25, 1.0, 4.0])
def test_total_weighs_the_kl_alone(beta, generator):
    logits, images = logits_and_images("grey", generator)
    mu, log_var = torch.randn((2, 5, 16), generator=generator)
    terms = losses.elbo_terms(logits, images, mu, log_var)

    assert terms.reconstruction.tolist() == losses.bernoulli_nll(logits, images).tolist()
    assert terms.kl.tolist() == losses.kl_divergence(mu, log_var).tolist()
    torch.testing.assert_close(terms.total(beta), terms.reconstruction + beta * terms.kl)


def test_total_is_the_negative_elbo_unless_told_otherwise():
    terms = losses.ElboTerms(torch.tensor([240.0, 1.0]), torch.tensor([16.0, 2.0]))
    assert terms.total().tolist() == [256.0, 3.0]


def test_elbo_terms_use_the_likelihood_that_is_named(generator):
    logits, images = logits_and_images("grey", generator)
    zeros = torch.zeros(5, 2)
    gaussian = losses.elbo_terms(logits, images, zeros, zeros, "gaussian").reconstruction
    assert gaussian.tolist() == losses.gaussian_nll(torch.sigmoid(logits), images).tolist()


class LinearGaussian:
    """z ~ N(0, 1), x|z ~ N(w z, σ²) in one dimension: evidence and posterior are known."""

    def __init__(self, w: float, sigma: float, x: float):
        self.w, self.sigma, self.x = w, sigma, x
        self.evidence = D.Normal(0.0, math.sqrt(w**2 + sigma**2)).log_prob(torch.tensor(x)).item()
        precision = 1 + (w / sigma) ** 2
        self.mean, self.variance = w * x / sigma**2 / precision, 1 / precision

    def elbo(self, mu: float, variance: float) -> float:
        """Exact: the Gaussian term is quadratic in z, so its mean is that at μ, plus w²σ_q²/2σ²."""
        mean = torch.tensor([[self.w * mu]]).double()
        at_mu = losses.gaussian_nll(mean, torch.tensor([[self.x]]).double(), self.sigma)
        spread = self.w**2 * variance / (2 * self.sigma**2)
        log_var = torch.tensor([[math.log(variance)]]).double()
        kl = losses.kl_divergence(torch.tensor([[mu]]).double(), log_var)
        return -losses.ElboTerms(at_mu + spread, kl).total().item()


@given(
    w=st.floats(-3, 3),
    sigma=st.floats(0.2, 2),
    x=st.floats(-4, 4),
    mu=st.floats(-4, 4),
    variance=st.floats(0.05, 4),
)
def test_no_posterior_lifts_the_elbo_above_the_evidence(w, sigma, x, mu, variance):
    model = LinearGaussian(w, sigma, x)
    gap = model.evidence - model.elbo(mu, variance)
    # log p(x) − ELBO = KL(q(z) ‖ p(z|x))
    posterior = D.Normal(model.mean, math.sqrt(model.variance))
    expected = D.kl_divergence(D.Normal(mu, math.sqrt(variance)), posterior).item()

    assert gap >= -1e-4
    assert gap == pytest.approx(expected, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize(("w", "sigma", "x"), [(1.0, 1.0, 0.5), (2.0, 0.3, -1.5), (0.0, 1.0, 2.0)])
def test_the_true_posterior_closes_the_gap_to_the_evidence(w, sigma, x):
    model = LinearGaussian(w, sigma, x)
    assert model.elbo(model.mean, model.variance) == pytest.approx(model.evidence, abs=1e-6)
    assert model.elbo(model.mean + 0.1, model.variance) < model.evidence
    assert model.elbo(model.mean, 1.2 * model.variance) < model.evidence


def test_a_sampled_elbo_meets_its_closed_form(generator):
    model, mu, variance = LinearGaussian(1.5, 0.5, 0.8), 0.2, 0.3
    z = mu + math.sqrt(variance) * torch.randn((100_000, 1), generator=generator)
    nll = losses.gaussian_nll(model.w * z, torch.full_like(z, model.x), model.sigma)
    kl = losses.kl_divergence(torch.tensor([[mu]]), torch.tensor([[math.log(variance)]]))
    sampled = -(nll + kl)

    error = sampled.std() / math.sqrt(len(z))
    assert abs(sampled.mean() - model.elbo(mu, variance)) < 5 * error


# --- scale -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("weight", "sigma"), [(0.001, 1.0), (0.001, 0.1), (1.0, 0.5)])
def test_mean_mse_with_a_weighted_kl_is_a_gaussian_beta_vae_at_the_equivalent_beta(
    weight, sigma, generator
):
    encoder = torch.nn.Linear(784, 4).double()
    decoder = torch.nn.Linear(2, 784).double()
    images = torch.rand((8, 784), generator=generator).double()
    noise = torch.randn((8, 2), generator=generator).double()
    parameters = [*encoder.parameters(), *decoder.parameters()]

    def gradient(objective) -> torch.Tensor:
        mu, log_var = encoder(images).chunk(2, dim=1)
        logits = decoder(mu + torch.exp(0.5 * log_var) * noise)
        value = objective(logits, losses.kl_divergence(mu, log_var)).mean()
        return torch.cat([g.flatten() for g in torch.autograd.grad(value, parameters)])

    beta = weight * 784 / (2 * sigma**2)
    usual = gradient(lambda logits, kl: losses.mean_squared_error(logits, images) + weight * kl)
    elbo = gradient(
        lambda logits, kl: losses.gaussian_nll(torch.sigmoid(logits), images, sigma) + beta * kl
    )

    torch.testing.assert_close(elbo, 784 / (2 * sigma**2) * usual)
    assert elbo.norm() > 1e-3, "two zero gradients would agree as well"


def test_mean_squared_error_is_the_mean_over_pixels_of_each_example(generator):
    logits, images = logits_and_images("grey", generator)
    expected = (torch.sigmoid(logits) - images).double().square().mean((1, 2, 3))
    torch.testing.assert_close(losses.mean_squared_error(logits, images).double(), expected)


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_linear_warmup_rises_straight_to_beta_and_stays(share):
    schedule = losses.linear_warmup(4.0, share)

    assert schedule(0.0) == 0
    assert schedule(share / 4) == pytest.approx(1.0)
    assert schedule(share / 2) == pytest.approx(2.0)
    assert schedule(share) == schedule((1 + share) / 2) == schedule(1.0) == 4.0


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, math.nan])
def test_a_warmup_share_outside_training_is_refused(share):
    with pytest.raises(ValueError, match=r"warm-up share .*\(0, 1\]"):
        losses.linear_warmup(1.0, share)


def test_cycles_start_at_zero_and_end_at_beta():
    schedule = losses.cyclical(2.0, cycles=4, share=0.5)
    assert schedule(0.0) == 0
    assert schedule(1.0) == 2
    for start in (0.0, 0.25, 0.5, 0.75):
        assert schedule(start) == 0
        assert schedule(start + 0.0625) == pytest.approx(1.0)
        assert schedule(start + 0.125) == schedule(start + 0.2) == 2


def test_one_cycle_is_a_warm_up():
    warm, cycle = losses.linear_warmup(1.5, 0.3), losses.cyclical(1.5, cycles=1, share=0.3)
    assert all(warm(i / 50) == pytest.approx(cycle(i / 50)) for i in range(51))


@pytest.mark.parametrize("wrong", [{"cycles": 0}, {"cycles": 2.5}, {"share": 0.0}, {"share": 1.5}])
def test_cycles_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="cycles|share"):
        losses.cyclical(1.0, **wrong)


def test_free_bits_count_a_dimension_at_least_at_its_allowance():
    mu = torch.tensor([[2.0, 0.0], [-2.0, 0.0]])
    log_var = torch.zeros_like(mu)  # KL per dimension: 2 and 0
    assert losses.free_bits(mu, log_var, 0.5) == pytest.approx(2.5)
    assert losses.free_bits(mu, log_var, 3.0) == pytest.approx(6.0)
    assert losses.free_bits(mu, log_var, 0.0) == pytest.approx(2.0)


def test_below_their_allowance_free_bits_give_no_gradient():
    mu = torch.tensor([[1.0, 0.1], [1.0, -0.1]], requires_grad=True)
    losses.free_bits(mu, torch.zeros(2, 2), 0.2).backward()
    assert (mu.grad[:, 0] > 0).all()
    assert (mu.grad[:, 1] == 0).all()


def test_the_mean_squared_error_is_a_loss_by_name():
    logits, images = torch.randn(3, 1, 28, 28), torch.rand(3, 1, 28, 28)
    named = losses.reconstruction_nll(logits, images, "mean-squared-error")
    assert torch.allclose(named, (images - logits.sigmoid()).square().mean((1, 2, 3)))
