"""How far single latent dimensions stand for single factors, where the factors are known."""

import numpy as np

from vae_helpers.metrics import finite

BINS = 20
CHANCE = 0.05  # R², or accuracy above guessing, below which a factor counts as not predicted


def mutual_information_gap(codes: np.ndarray, factors: np.ndarray) -> float:
    """MIG: mean over factors of (I(z_j; v) − I(z_k; v)) / H(v), j and k the two best dimensions.

    Chen et al. 2018. codes ``(N, d)``, factors ``(N, F)``; a column of more than 20 different
    values is cut into as many bins that hold as many each. From 0, where no factor has a dimension
    of its own, to 1. Raises as ``dci`` does.
    """
    from sklearn.metrics import mutual_info_score

    codes, factors = _checked(codes, factors)
    gaps = []
    for factor in map(_binned, factors.T):
        shared = np.sort([mutual_info_score(_binned(code), factor) for code in codes.T])
        second = shared[-2] if len(shared) > 1 else 0.0
        gaps.append((shared[-1] - second) / mutual_info_score(factor, factor))
    return float(np.mean(gaps))


def dci(
    codes: np.ndarray, factors: np.ndarray, categories: tuple[int, ...] = (), seed: int = 0
) -> dict[str, float]:
    """Disentanglement, completeness and informativeness, after Eastwood & Williams (2018).

    A random forest predicts each factor from codes ``(N, d)``; its importances R ``(d, F)`` say
    which dimensions it uses. Disentanglement: each dimension serves one factor, 1 − H(R_j·)/log F,
    weighted by what the dimension is used for. Completeness: each factor needs one dimension,
    1 − H(R_·k)/log d. Informativeness: mean R², or accuracy above guessing, on a held-out half.

    Unlike in the paper, a factor's importances count as much as it is predicted, and not at all
    below 5 %; ``predicted`` is the share of factors above it. Codes that predict nothing score 0
    everywhere; those that predict a single factor are disentangled by definition.

    categories: columns of ``factors`` ``(N, F)`` that are categories. Raises ValueError for fewer
    than 100 codes, counts that differ, NaN or infinity, a factor that never changes, fewer than
    two factors, or a category that is no column.
    """
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    codes, factors = _checked(codes, factors)
    count = factors.shape[1]
    if count < 2 or not set(categories) <= set(range(count)):
        raise ValueError(f"{count} factors with categories {categories}; give 2 or more, by column")
    order = np.random.default_rng(seed).permutation(len(codes))
    codes, factors = codes[order], factors[order]
    half = len(codes) // 2
    importances, informed = [], []
    for k, factor in enumerate(factors.T):
        kind = RandomForestClassifier if k in categories else RandomForestRegressor
        # Every split may ask every dimension: offered a few, it would have to use the wrong ones.
        forest = kind(20, max_depth=12, min_samples_leaf=5, max_features=1.0, random_state=seed)
        forest.fit(codes[:half], factor[:half])
        score = forest.score(codes[half:], factor[half:])
        if k in categories:
            guess = np.bincount(factor.astype(int)).max() / len(factor)
            score = (score - guess) / (1 - guess)
        informed.append(score if score > CHANCE else 0.0)
        # An importance adds up to 1 however little is predicted: weighed by what is.
        importances.append(forest.feature_importances_ * informed[-1])
    used = np.array(importances).T
    return {
        "disentanglement": _one_sidedness(used),
        "completeness": _one_sidedness(used.T),
        "informativeness": float(np.mean(informed)),
        "predicted": float(np.mean(np.array(informed) > 0)),
    }


def _one_sidedness(used: np.ndarray) -> float:
    """1 − entropy of each row over log of its length, weighted by the row's share of the whole."""
    total = used.sum()
    if total == 0:
        return 0.0
    if used.shape[1] == 1:  # nothing to choose from
        return 1.0
    rows = used.sum(1)
    shares = used[rows > 0] / rows[rows > 0, None]
    logs = np.log(np.where(shares > 0, shares, 1.0))
    one_sided = 1 + (shares * logs).sum(1) / np.log(used.shape[1])
    return float((one_sided * rows[rows > 0]).sum() / total)


def _binned(values: np.ndarray) -> np.ndarray:
    different = np.unique(values)
    if len(different) <= BINS:
        return np.searchsorted(different, values)
    # Equal values share a bin; an outlier moves no edge.
    edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))
    return np.searchsorted(edges, values, side="right")


def _checked(codes: np.ndarray, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    codes, factors = finite(codes, "codes"), finite(factors, "factors")
    if codes.ndim != 2 or factors.ndim != 2 or len(codes) != len(factors) or len(codes) < 100:
        raise ValueError(
            f"codes of shape {codes.shape} for factors of shape {factors.shape}; give at least 100 "
            "of each, (N, d) and (N, F)"
        )
    if (factors == factors[:1]).all(0).any():
        raise ValueError("a factor is the same everywhere; leave out what never changes")
    return codes, factors
