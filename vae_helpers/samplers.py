"""Where latents to decode come from: the prior, or a density fitted to codes afterwards.

A sampler maps (count, generator) to latents ``(count, d)``. Fitting a density to the codes of
training images after training is Ghosh et al.'s ex-post density estimation (2020).
"""

from collections.abc import Callable

import torch
from torch import Tensor

Sampler = Callable[[int, torch.Generator], Tensor]


def prior(latent: int) -> Sampler:
    """z ~ N(0, I) of ``latent`` dimensions."""
    return lambda count, generator: torch.randn((count, latent), generator=generator)


def gaussian(codes: Tensor) -> Sampler:
    """z ~ N(m, S) with the mean and covariance of ``codes`` ``(N, d)``: a mixture of one."""
    return mixture(codes, components=1)


def mixture(codes: Tensor, components: int = 10, seed: int = 0) -> Sampler:
    """z from a Gaussian mixture with full covariances, fitted to ``codes`` ``(N, d)`` by EM.

    Raises ValueError for NaN or fewer codes than ten per component.
    """
    from sklearn.mixture import GaussianMixture

    if len(codes) < 10 * components:
        raise ValueError(
            f"{len(codes)} codes for {components} components; give at least {10 * components}"
        )
    if codes.isnan().any():
        raise ValueError("codes hold NaN; look at the model or the images they come from")
    fitted = GaussianMixture(components, random_state=seed).fit(codes.double().numpy())
    weights = torch.from_numpy(fitted.weights_)
    means = torch.from_numpy(fitted.means_)
    roots = torch.linalg.cholesky(torch.from_numpy(fitted.covariances_))

    def sample(count: int, generator: torch.Generator) -> Tensor:
        which = torch.multinomial(weights, count, replacement=True, generator=generator)
        noise = torch.randn(means[which].shape, generator=generator, dtype=means.dtype)
        return (means[which] + (roots[which] @ noise[:, :, None]).squeeze(2)).float()

    return sample
