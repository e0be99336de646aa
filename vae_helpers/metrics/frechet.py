"""Distances between two sets of feature vectors, ``(N, d)`` arrays. They know no classifier.

Everything is computed in float64.
"""

from collections.abc import Iterator

import numpy as np

from vae_helpers.metrics import finite

NEIGHBOURS = 5
BLOCK = 1_000  # rows of a distance matrix held at a time


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Squared Fréchet distance of Gaussians fitted to two sets of features (Heusel et al. 2017).

    ‖μ₁ − μ₂‖² + tr(S₁ + S₂ − 2 (S₁ S₂)^½), in squared feature units; with Inception's features it
    is called FID. Biased upwards where sets are small. Raises ValueError for shapes that differ,
    NaN, or no more samples than features, whose covariance would be singular.
    """
    a, b = _checked(a, b)
    count, features = min(len(a), len(b)), a.shape[1]
    if count <= features:
        raise ValueError(
            f"{count} samples of {features} features have a singular covariance; give more than "
            f"{features}"
        )
    moments = [(one.mean(0), np.atleast_2d(np.cov(one, rowvar=False))) for one in (a, b)]
    return frechet_of_gaussians(*moments[0], *moments[1])


def frechet_of_gaussians(
    mean1: np.ndarray, cov1: np.ndarray, mean2: np.ndarray, cov2: np.ndarray
) -> float:
    """‖μ₁ − μ₂‖² + tr(S₁ + S₂ − 2 (S₁ S₂)^½) from means ``(d,)`` and covariances ``(d, d)``.

    S₁S₂ has the eigenvalues of the symmetric S₁^½ S₂ S₁^½: real and, but for rounding, never
    negative, where a general matrix root of S₁S₂ may turn complex.
    """
    values, vectors = np.linalg.eigh(cov1)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    inner = root @ cov2 @ root
    overlap = np.sqrt(np.maximum(np.linalg.eigvalsh((inner + inner.T) / 2), 0)).sum()
    shift = np.sum((mean1 - mean2) ** 2)
    return float(max(0.0, shift + np.trace(cov1) + np.trace(cov2) - 2 * overlap))


def kernel_distances(
    a: np.ndarray, b: np.ndarray, size: int = 1_000, subsets: int = 20, seed: int = 0
) -> np.ndarray:
    """Squared kernel distances (KID) of random subsets, ``(subsets,)``: unbiased, may be negative.

    Maximum mean discrepancy with the kernel (x·y/d + 1)³ (Bińkowski et al. 2018, section 4).
    Raises ValueError where a set is smaller than a subset, and as ``frechet`` does.
    """
    a, b = _checked(a, b)
    if min(len(a), len(b)) < size or size < 2:
        raise ValueError(f"subsets of {size} from {len(a)} and {len(b)} samples; give more samples")
    chosen = np.random.default_rng(seed)

    def kernel(x, y):
        return (x @ y.T / x.shape[1] + 1) ** 3

    def one() -> float:
        x, y = (part[chosen.permutation(len(part))[:size]] for part in (a, b))
        within = [
            (k.sum() - np.trace(k)) / (size * (size - 1)) for k in (kernel(x, x), kernel(y, y))
        ]
        return sum(within) - 2 * kernel(x, y).mean()

    return np.array([one() for _ in range(subsets)])


def neighbour_scores(real: np.ndarray, made: np.ndarray, k: int = NEIGHBOURS) -> dict[str, float]:
    """Precision, recall, density and coverage of ``made`` against ``real``, from k-NN balls.

    precision: share of made samples within some real one's ball; recall: the reverse
    (Kynkäänniemi et al. 2019). density: real balls around a made sample, over k, may exceed 1;
    coverage: share of real balls that hold a made sample (Naeem et al. 2020). A ball reaches to
    its centre's k-th neighbour of the same set. Raises ValueError for k or fewer samples.
    """
    real, made = _checked(real, made)
    if min(len(real), len(made)) <= k:
        raise ValueError(f"{min(len(real), len(made))} samples for {k} neighbours; give more")
    real_radius, made_radius = _radii(real, k), _radii(made, k)
    inside_real = np.zeros(len(made), dtype=int)  # real balls that hold this made sample
    inside_made = np.zeros(len(real), dtype=int)
    covered = np.zeros(len(real), dtype=bool)
    for rows, squared in _squared_distances(real, made):
        held = squared <= real_radius[rows, None]
        inside_real += held.sum(0)
        covered[rows] = held.any(1)
        inside_made[rows] = (squared <= made_radius).sum(1)
    return {
        "precision": float((inside_real > 0).mean()),
        "recall": float((inside_made > 0).mean()),
        "density": float(inside_real.mean() / k),
        "coverage": float(covered.mean()),
    }


def _radii(points: np.ndarray, k: int) -> np.ndarray:
    found = _squared_distances(points, points)
    # Position 0 is the point itself.
    return np.concatenate([np.partition(squared, k, axis=1)[:, k] for _, squared in found])


def _squared_distances(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Of some rows of ``a`` at a time: which, and how far they are from all of ``b``."""
    for start in range(0, len(a), BLOCK):
        rows = slice(start, start + BLOCK)
        squared = (a[rows] ** 2).sum(1)[:, None] + (b**2).sum(1) - 2 * a[rows] @ b.T
        yield rows, np.maximum(squared, 0)


def _checked(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = finite(a, "features"), finite(b, "features")
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"features of shapes {a.shape} and {b.shape}; give (N, d) and (M, d)")
    return a, b
