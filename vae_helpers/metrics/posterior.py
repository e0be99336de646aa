"""What a posterior tells: in how many dimensions, of its image, of the evidence."""

import math

import torch
from torch import Tensor

from vae_helpers.data import checked_images
from vae_helpers.losses import reconstruction_nll
from vae_helpers.metrics import finite
from vae_helpers.models import VAE, device_of, evaluating

ACTIVE = 0.01  # the variance of μ above which a dimension counts as used


def active_units(mu: Tensor) -> int:
    """How many dimensions of μ ``(N, d)`` vary by more than 0.01 over the data.

    Burda et al. 2016, appendix C. Raises ValueError for fewer than 2 codes or NaN.
    """
    return int((_checked(mu).double().var(0) > ACTIVE).sum())


def mutual_information(
    mu: Tensor, log_var: Tensor, generator: torch.Generator | None = None
) -> float:
    """I(x; z) = E log q(z|x) / q(z) in nats: how much a sampled code tells of its image.

    The aggregate posterior q(z) is the mixture of the posteriors of all N images given, μ and
    log σ² ``(N, d)``; so the estimate is never above log N (Hoffman & Johnson 2016; Dieng et al.
    2019). 0 for a collapsed posterior. Raises as ``active_units`` does, and ValueError for a
    log σ² that is not finite: a plain autoencoder's codes tell everything.
    """
    mu, log_var = _checked(mu), log_var.cpu()
    finite(log_var, "values of log σ²")
    z = torch.randn(mu.shape, generator=generator, dtype=mu.dtype) * torch.exp(0.5 * log_var) + mu
    precision = torch.exp(-log_var)
    total = 0.0
    for start in range(0, len(z), 500):
        part = z[start : start + 500]
        # log q(z|xₙ) for every n, without its (2π)^(d/2), which cancels:
        # −½ Σ (z² − 2 z μₙ + μₙ²) / σₙ² + log σₙ²
        quadratic = part.square() @ precision.T - 2 * part @ (mu * precision).T
        log_q = -0.5 * (quadratic + (mu.square() * precision + log_var).sum(1))
        own = log_q.diagonal(start)  # of the image that the code was drawn for
        aggregate = torch.logsumexp(log_q, dim=1) - math.log(len(mu))
        total += float((own - aggregate).double().sum())
    return total / len(z)


@torch.inference_mode()
def log_weights(
    model: VAE, images: Tensor, samples: int, generator: torch.Generator | None = None
) -> Tensor:
    """log p(x|z_k) p(z_k) / q(z_k|x) of posterior samples z_k, ``(samples, B)`` in nats.

    images: ``(B, C, H, W)``. On the CPU. Raises ValueError for samples < 1.
    """
    if samples < 1:
        raise ValueError(f"{samples} importance samples; give at least 1")
    images = checked_images(images).to(device_of(model))
    with evaluating(model):
        mu, log_var = model.encode(images)
        prior = torch.distributions.Normal(torch.zeros_like(mu), torch.ones_like(mu))
        posterior = torch.distributions.Normal(mu, torch.exp(0.5 * log_var))
        weights = []
        for _ in range(samples):
            z = model.reparameterize(mu, log_var, generator)
            log_likelihood = -reconstruction_nll(model.decode(z), images)
            weights.append(log_likelihood + prior.log_prob(z).sum(1) - posterior.log_prob(z).sum(1))
    return torch.stack(weights).cpu()


def bound_of_weights(weights: Tensor, samples: int) -> Tensor:
    """A lower bound on log p(x), ``(B,)``, that tightens as ``samples`` K grows.

    log 1/K Σ_k p(x|z_k) p(z_k) / q(z_k|x), z_k ~ q(z|x)  (Burda et al. 2016, eq. 8); its
    expectation at K = 1 is the ELBO. weights: what ``log_weights`` gives, ``(many, B)``; of all
    disjoint groups of K, the mean. Raises ValueError where K does not divide ``many``.
    """
    if samples < 1 or len(weights) % samples:
        raise ValueError(f"groups of {samples} from {len(weights)} weights; give a divisor")
    groups = weights.view(-1, samples, weights.shape[1])
    return (torch.logsumexp(groups, dim=1) - math.log(samples)).mean(0)


def _checked(codes: Tensor) -> Tensor:
    if codes.ndim != 2 or len(codes) < 2:
        raise ValueError(f"codes of shape {tuple(codes.shape)}; give (N, d) with N > 1")
    finite(codes, "codes")
    return codes.cpu()
