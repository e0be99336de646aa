"""Numbers with their errors, which differences are more than chance, and how well a score tells.

Samples are of one number each, say the −ELBO of five trainings or of each image; differences are
a − b.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from vae_helpers.metrics import finite

LEVEL = 0.05  # the share of true null hypotheses that may be rejected, and 1 − the confidence


@dataclass(frozen=True)
class Estimate:
    """A number, its error and the count it rests on; formats as ``241.98 ± 0.87``."""

    value: float
    error: float | None = None
    n: int | None = None

    def __format__(self, spec: str) -> str:
        text = format(self.value, spec)
        return text if self.error is None else f"{text} ± {format(self.error, spec)}"


def estimate(examples: Tensor) -> Estimate:
    """The mean of ``examples`` ``(N,)`` with its standard error, in double precision."""
    examples = examples.cpu().double().flatten()
    n = len(examples)
    error = float(examples.std()) / math.sqrt(n) if n > 1 else None
    return Estimate(float(examples.mean()), error, n)


@dataclass(frozen=True)
class Difference:
    """A difference of means, its 95 % confidence interval, and the two-sided p-value of none."""

    value: float
    low: float
    high: float
    p: float

    def __format__(self, spec: str) -> str:
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"


def welch(a: ArrayLike, b: ArrayLike) -> Difference:
    """The difference of two independent samples, ``(n,)`` and ``(m,)``, whose spreads may differ.

    Welch 1947. Raises ValueError for fewer than two values of either, NaN, or no spread at all.
    """
    from scipy.stats import ttest_ind

    (a, rounding_a), (b, rounding_b) = _sample(a), _sample(b)
    if np.ptp(a) <= rounding_a and np.ptp(b) <= rounding_b:
        raise ValueError("values without any spread say nothing of chance; give other seeds")
    return _difference(a.mean() - b.mean(), ttest_ind(a, b, equal_var=False))


def paired(a: ArrayLike, b: ArrayLike) -> Difference:
    """The difference of two samples ``(n,)`` whose n-th values belong together, as of one image.

    Student's t of the n differences, from which all that the pairs share has gone. Raises
    ValueError for fewer than two pairs, samples of two lengths, NaN, or differences that are all
    the same, but for rounding.
    """
    from scipy.stats import ttest_rel

    (a, rounding_a), (b, rounding_b) = _sample(a), _sample(b)
    if len(a) != len(b):
        raise ValueError(f"{len(a)} values and {len(b)} do not make pairs")
    if np.ptp(a - b) <= rounding_a + rounding_b:
        raise ValueError("differences without any spread say nothing of chance; give other pairs")
    return _difference((a - b).mean(), ttest_rel(a, b))


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


def holm(p: Sequence[float]) -> list[float]:
    """p-values adjusted for how many there are, in the order given.

    Rejecting those below a level keeps the probability of even one false rejection below it,
    however the tests depend on each other (Holm 1979). Raises ValueError outside [0, 1].
    """
    if not all(0 <= one <= 1 for one in p):
        raise ValueError(f"{list(p)}: p-values lie between 0 and 1")
    adjusted, most = [0.0] * len(p), 0.0
    for rank, index in enumerate(np.argsort(p, kind="stable")):
        most = max(most, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = most
    return adjusted


def _sample(given: ArrayLike) -> tuple[np.ndarray, float]:
    """The values ``(n,)``, and the spread that rounding alone may give numbers of their size."""
    values = finite(given, "values").ravel()
    if len(values) < 2:
        raise ValueError(f"{len(values)} values; a spread takes two")
    single = "float32" in str(getattr(given, "dtype", ""))  # an array's or a tensor's
    return values, 4 * (2.0**-23 if single else 2.0**-52) * np.abs(values).max()


def _difference(value: float, test) -> Difference:
    interval = test.confidence_interval(1 - LEVEL)
    return Difference(float(value), float(interval.low), float(interval.high), float(test.pvalue))
