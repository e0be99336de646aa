"""The terms of the ELBO, as equations. Every function returns nats **per example**.

One scale everywhere: summed over pixels and latent dimensions, to be averaged over examples.
On this scale β = 1 is the ELBO.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vae_helpers.data import checked_images


class ElboTerms(NamedTuple):
    """−ELBO = reconstruction + KL; both ``(B,)`` in nats per image."""

    reconstruction: Tensor
    kl: Tensor

    def total(self, beta: float = 1.0) -> Tensor:
        """What β-VAE minimizes, ``(B,)``: reconstruction + β·KL (Higgins et al. 2017)."""
        return self.reconstruction + beta * self.kl


def elbo_terms(
    logits: Tensor, images: Tensor, mu: Tensor, log_var: Tensor, likelihood: str = "bernoulli"
) -> ElboTerms:
    """Both terms of the −ELBO, ``(B,)`` each (Kingma & Welling 2014, eq. 10)."""
    return ElboTerms(reconstruction_nll(logits, images, likelihood), kl_divergence(mu, log_var))


def reconstruction_nll(logits: Tensor, images: Tensor, likelihood: str = "bernoulli") -> Tensor:
    """−log p(x|z), ``(B,)`` in nats, for ``logits`` and ``images`` of one shape ``(B, …)``.

    likelihood: ``bernoulli``, ``continuous-bernoulli`` or ``gaussian`` (σ = 1); or
    ``mean-squared-error``, which is not one and has no unit.
    Raises ValueError for another name, for shapes that differ, or for what are no pixels.
    """
    if likelihood not in LIKELIHOODS:
        raise ValueError(f"no likelihood {likelihood!r}; choose one of {', '.join(LIKELIHOODS)}")
    return LIKELIHOODS[likelihood](logits.float(), checked_images(images, logits.shape).float())


def bernoulli_nll(logits: Tensor, images: Tensor) -> Tensor:
    """−Σ x log p + (1 − x) log(1 − p) with p = sigmoid(logits); ``(B,)`` in nats.

    With grey x it cannot reach 0: see ``entropy_floor``.
    """
    images = checked_images(images, logits.shape)
    pixels = F.binary_cross_entropy_with_logits(logits, images.to(logits), reduction="none")
    return pixels.flatten(1).sum(1)


def continuous_bernoulli_nll(logits: Tensor, images: Tensor) -> Tensor:
    """The Bernoulli term made a density on [0, 1], ``(B,)`` (Loaiza-Ganem & Cunningham 2019)."""
    # log C(λ) = log(2 artanh(1 − 2λ) / (1 − 2λ)), which in logits l is log(l / tanh(l / 2)).
    near_half = logits.abs() < 1e-2  # there both are 0; the Taylor series is exact in float32
    safe = torch.where(near_half, torch.ones_like(logits), logits)
    log_c = torch.where(
        near_half, math.log(2) + logits**2 / 12, torch.log(safe / torch.tanh(safe / 2))
    )
    return bernoulli_nll(logits, images) - log_c.flatten(1).sum(1)


def gaussian_nll(mean: Tensor, images: Tensor, sigma: float = 1.0) -> Tensor:
    """−log N(x; mean, σ²I) of any real x, ``(B,)``: squared error over 2σ², and normalizer."""
    squared = (images - mean).square().flatten(1)
    return (squared / (2 * sigma**2) + math.log(sigma) + 0.5 * math.log(2 * math.pi)).sum(1)


def mean_squared_error(logits: Tensor, images: Tensor) -> Tensor:
    """The mean over pixels of (x − sigmoid(logits))², ``(B,)``: no nats, a different scale."""
    squared = (checked_images(images, logits.shape) - torch.sigmoid(logits)).square()
    return squared.flatten(1).mean(1)


LIKELIHOODS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "bernoulli": bernoulli_nll,
    "mean-squared-error": mean_squared_error,  # none: what is often minimized in place of one
    "continuous-bernoulli": continuous_bernoulli_nll,
    "gaussian": lambda logits, images: gaussian_nll(torch.sigmoid(logits), images),
}


def kl_divergence(mu: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(μ, σ²) ‖ N(0, I)), ``(B,)`` in nats: the sum of ``kl_per_dimension``."""
    return kl_per_dimension(mu, log_var).sum(1)


def kl_per_dimension(mu: Tensor, log_var: Tensor) -> Tensor:
    """½ (μ² + σ² − 1 − log σ²), ``(B, d)`` in nats (Kingma & Welling 2014, appendix B)."""
    # expm1(v) − v is never negative in floating point, unlike exp(v) − 1 − v near the prior.
    return 0.5 * (mu.square() + (torch.expm1(log_var) - log_var))


def entropy_floor(images: Tensor) -> Tensor:
    """The least Bernoulli NLL any p can reach, ``(B,)`` in nats, float64 on the CPU.

    Reached at p = x, it is the pixels' own entropy −Σ x log x + (1 − x) log(1 − x); 0 only for
    black and white.
    """
    some = checked_images(images, images.shape[1:] and images.shape)  # any (B, …)
    pixels = some.cpu().double().flatten(1)  # not every device has float64
    return -(torch.xlogy(pixels, pixels) + torch.xlogy(1 - pixels, 1 - pixels)).sum(1)


def linear_warmup(beta: float, share: float) -> Callable[[float], float]:
    """A β schedule: 0 to ``beta`` over the first ``share`` of training (Sønderby et al. 2016).

    The schedule takes training's progress in [0, 1]. Raises ValueError if share is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"warm-up share {share}; give a number in (0, 1]")
    return lambda progress: beta * min(1.0, progress / share)


def cyclical(beta: float, cycles: int = 4, share: float = 0.5) -> Callable[[float], float]:
    """A β schedule of ``cycles`` equal parts, each a ``linear_warmup`` of its own (Fu et al. 2019).

    Raises ValueError unless cycles is a whole number from 1 on and share is in (0, 1].
    """
    if cycles < 1 or cycles != int(cycles):
        raise ValueError(f"{cycles} cycles of β; give a whole number from 1 on")
    one = linear_warmup(beta, share)
    # The end belongs to the last cycle, not to a new one.
    return lambda progress: one(progress * cycles % 1.0 if progress < 1 else 1.0)


def free_bits(mu: Tensor, log_var: Tensor, least: float) -> Tensor:
    """Σⱼ max(λ, mean KLⱼ): the KL that training feels, with ``least`` = λ nats a dimension free.

    A scalar: the mean over the batch is taken before the maximum, so that a dimension may stay
    below λ for some images (Kingma et al. 2016, eq. 15). Raises ValueError for λ < 0.
    """
    if least < 0:
        raise ValueError(f"{least} free nats a dimension; give 0 or more")
    return kl_per_dimension(mu, log_var).mean(0).clamp(min=least).sum()
