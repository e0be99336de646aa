"""What a code is like: its dimensions, its distance from the prior, its classes."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

ACTIVE = 0.01  # the variance of μ above which a dimension counts as used


def active_units(mu: Tensor) -> int:
    """How many dimensions of μ ``(N, d)`` vary by more than 0.01 over the data.

    Burda et al. 2016, appendix C. Raises ValueError for fewer than 2 codes or NaN.
    """
    return int((_checked(mu).double().var(0) > ACTIVE).sum())


def latent_statistics(mu: Tensor, log_var: Tensor) -> dict[str, Tensor]:
    """Per dimension ``(d,)``: min, max, mean and std of μ, and the aggregate posterior's moments.

    q(z) = 1/N Σ q(z|xₙ) has mean E[μ] and variance Var[μ] + E[σ²]; the prior's are 0 and 1.
    Raises as ``active_units`` does.
    """
    mu, variance = _checked(mu).double(), log_var.cpu().double().exp()
    return {
        "min": mu.min(0).values,
        "max": mu.max(0).values,
        "mean": mu.mean(0),
        "std": mu.std(0),
        "aggregate_std": (mu.var(0, correction=0) + variance.mean(0)).sqrt(),
    }


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
    if not log_var.isfinite().all():
        raise ValueError("log σ² is not finite; give a posterior that has a width")
    z = torch.randn(mu.shape, generator=generator) * torch.exp(0.5 * log_var) + mu
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


def silhouette(codes: Tensor, labels: Tensor) -> float:
    """Mean silhouette of the classes in ``codes`` ``(N, d)``: 1 far apart, 0 mixed, −1 worse.

    (b − a) / max(a, b) with a code's mean distance a to its own class and b to the nearest other
    (Rousseeuw 1987). Raises ValueError for fewer than two classes.
    """
    from sklearn.metrics import silhouette_score

    return float(silhouette_score(_checked(codes).numpy(), labels.cpu().numpy()))


def neighbour_accuracy(
    known: Tensor, known_labels: Tensor, codes: Tensor, labels: Tensor, k: int = 10
) -> Tensor:
    """Whether the majority of the k nearest ``known`` codes has the right class, ``(N,)`` of 0, 1.

    known ``(M, d)`` usually comes from training images, codes ``(N, d)`` from test images.
    Raises ValueError for fewer than k known codes.
    """
    from sklearn.neighbors import KNeighborsClassifier

    if len(known) < k:
        raise ValueError(f"{len(known)} known codes for {k} neighbours; give more")
    return _right(KNeighborsClassifier(k), known, known_labels, codes, labels)


def linear_accuracy(known: Tensor, known_labels: Tensor, codes: Tensor, labels: Tensor) -> Tensor:
    """Whether a linear classifier of ``known`` codes gets the class right, ``(N,)`` of 0, 1.

    Logistic regression with an L2 penalty of weight 1, on codes scaled to mean 0 and deviation 1
    (Alain & Bengio 2017 call it a probe). Otherwise as ``neighbour_accuracy``. Raises ValueError
    for NaN, or where only one class is known.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1_000))
    return _right(probe, known, known_labels, codes, labels)


def neighbourhoods(codes: Tensor, labels: Tensor, classes: int, k: int = 10) -> Tensor:
    """Of which class the k nearest other codes are, on average by class: rows sum to 1, ``(C, C)``.

    Of codes ``(N, d)`` with labels ``(N,)``; NaN in the row of a class without codes. Raises
    ValueError for k or fewer codes.
    """
    from sklearn.neighbors import NearestNeighbors

    codes, labels = _checked(codes).numpy(), labels.cpu()
    if len(codes) <= k:
        raise ValueError(f"{len(codes)} codes for {k} neighbours; give more")
    found = NearestNeighbors(n_neighbors=k).fit(codes).kneighbors(return_distance=False)
    shares = F.one_hot(labels[torch.from_numpy(found)], classes).double().mean(1)
    return torch.stack([shares[labels == one].mean(0) for one in range(classes)])


def _right(classifier, known: Tensor, known_labels: Tensor, codes: Tensor, labels: Tensor):
    classifier.fit(_checked(known).numpy(), known_labels.cpu().numpy())
    right = classifier.predict(codes.cpu().flatten(1).numpy()) == labels.cpu().numpy()
    return torch.from_numpy(right.astype(np.float64))


def _checked(codes: Tensor) -> Tensor:
    """Codes, or images as codes of their pixels, on the CPU."""
    if codes.ndim < 2 or len(codes) < 2:
        raise ValueError(f"codes of shape {tuple(codes.shape)}; give (N, d) with N > 1")
    if codes.isnan().any():
        raise ValueError("codes hold NaN; look at the model or the images they come from")
    return codes.cpu().flatten(1)
