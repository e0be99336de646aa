"""Two unbiased estimators of one gradient, to see what reparameterization buys."""

from collections.abc import Callable

import torch
from torch import Tensor

from vae_helpers.models import VAE, noise


def gradient_samples(
    f: Callable[[Tensor], Tensor],
    mu: Tensor,
    log_var: Tensor,
    count: int,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """``count`` single-sample estimates of ∇_μ E[f(z)], z ~ N(μ, σ²), by estimator, ``(count, d)``.

    f: latents ``(count, d)`` → values ``(count,)``; mu, log_var: ``(d,)``.

    - ``reparameterized``: ∇_μ f(μ + σ⊙ε) (Kingma & Welling 2014, section 2.4)
    - ``score function``: f(z) ∇_μ log q(z) = f(z) (z − μ)/σ² (Williams 1992)
    - ``score function, baseline``: the same with f's mean over the other samples subtracted
    """
    sigma = torch.exp(0.5 * log_var)
    centre = mu.expand(count, -1).clone().requires_grad_(True)
    z = centre + sigma * noise((count, len(mu)), mu.device, generator)
    values = f(z)
    (pathwise,) = torch.autograd.grad(values.sum(), centre)
    values, score = values.detach()[:, None], ((z.detach() - mu) / sigma**2)
    # Leaving the sample itself out keeps the estimate unbiased.
    others = (values.sum() - values) / (count - 1)
    return {
        "reparameterized": pathwise,
        "score function": values * score,
        "score function, baseline": (values - others) * score,
    }


def head_gradients(model: VAE, images: Tensor, loss: Callable[..., Tensor]) -> dict[str, float]:
    """The norm of the loss's gradient at each of the encoder's heads, by head.

    loss: (logits, images, mu, log_var) → scalar. The model's own gradients are left as they were.
    """
    heads = {"μ": model.encoder.mu.weight, "log σ²": model.encoder.log_var.weight}
    logits, mu, log_var = model(images, torch.Generator().manual_seed(0))
    gradients = torch.autograd.grad(loss(logits, images, mu, log_var), list(heads.values()))
    return {name: float(g.norm()) for name, g in zip(heads, gradients, strict=True)}
