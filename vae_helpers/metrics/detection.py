"""How well a score tells anomalies from normal examples."""

import math

import numpy as np
from torch import Tensor

from vae_helpers.metrics import finite


def auroc(normal: Tensor, anomalous: Tensor) -> tuple[float, float]:
    """P(an anomaly scores higher than a normal example), ties counting ½, and its standard error.

    Scores ``(N,)`` and ``(M,)``; ½ is chance, below it the score is the wrong way round. It is the
    area under the ROC curve; the error is DeLong's, of a two-sample U-statistic (DeLong et al.
    1988). Raises ValueError for fewer than two of either, or NaN.
    """
    from scipy.stats import rankdata

    low, high = (finite(scores, "scores").ravel() for scores in (normal, anomalous))
    if min(len(low), len(high)) < 2:
        raise ValueError(f"{len(low)} normal, {len(high)} anomalous scores; give two of each")
    ranks = rankdata(np.concatenate([low, high]))  # ties share their mean rank
    # Of one example: the share of the other kind that it is on the right side of.
    above = (ranks[len(low) :] - rankdata(high)) / len(low)
    below = 1 - (ranks[: len(low)] - rankdata(low)) / len(high)
    variance = above.var(ddof=1) / len(high) + below.var(ddof=1) / len(low)
    return float(above.mean()), math.sqrt(variance)
