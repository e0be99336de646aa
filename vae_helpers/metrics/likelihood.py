"""How likely a model finds an image: bounds on log p(x) in nats per image."""

import math

import torch
from torch import Tensor

from vae_helpers.losses import reconstruction_nll
from vae_helpers.models import VAE, device_of, evaluating


def importance_bound(
    model: VAE, images: Tensor, samples: int, generator: torch.Generator | None = None
) -> Tensor:
    """A lower bound on log p(x), ``(B,)``, that tightens as ``samples`` K grows.

    log 1/K Σ_k p(x|z_k) p(z_k) / q(z_k|x), z_k ~ q(z|x)  (Burda et al. 2016, eq. 8); its
    expectation at K = 1 is the ELBO. images: ``(B, C, H, W)``. ValueError for samples < 1.
    """
    return bound_of_weights(log_weights(model, images, samples, generator), samples)


@torch.inference_mode()
def log_weights(
    model: VAE, images: Tensor, samples: int, generator: torch.Generator | None = None
) -> Tensor:
    """log p(x|z_k) p(z_k) / q(z_k|x) of posterior samples z_k, ``(samples, B)`` in nats.

    On the CPU. Raises ValueError for samples < 1.
    """
    if samples < 1:
        raise ValueError(f"{samples} importance samples; give at least 1")
    images = images.to(device_of(model))
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
    """``importance_bound`` of K = ``samples``, ``(B,)``, from ``log_weights`` ``(many, B)``.

    The mean over all disjoint groups of K. ValueError where K does not divide ``many``.
    """
    if samples < 1 or len(weights) % samples:
        raise ValueError(f"groups of {samples} from {len(weights)} weights; give a divisor")
    groups = weights.view(-1, samples, weights.shape[1])
    return (torch.logsumexp(groups, dim=1) - math.log(samples)).mean(0)
