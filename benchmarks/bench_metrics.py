"""Fréchet distance against scipy.linalg.sqrtm, and importance-weighted bounds in images a second.

python benchmarks/bench_metrics.py [--store]
"""

import warnings

import numpy as np
import scipy.linalg
import torch
from timing import BOOK, Numbers, in_turn, main, ratio, seconds, spread

from vae_helpers.metrics.frechet import frechet
from vae_helpers.metrics.posterior import log_weights

REPEATS = 15
SAMPLES = 10_000
FEATURES = (64, 128, 256, 512, 1_024)
BOUNDED = ("dense2", "dense10", "conv16", "residual32")
IMAGES = 200
IMPORTANCE = (10, 100, 1_000)


def by_matrix_root(a: np.ndarray, b: np.ndarray) -> float:
    """The same distance as most implementations have it, through the root of S₁S₂."""
    s1, s2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SciPy's, where the root turns out complex
        root = scipy.linalg.sqrtm(s1 @ s2)
    shift = np.sum((a.mean(0) - b.mean(0)) ** 2)
    return float(shift + np.trace(s1 + s2 - 2 * root.real))


def features(d: int, seed: int, samples: int = SAMPLES) -> np.ndarray:
    """Features like a network's: correlated, with variances over two decades."""
    random = np.random.default_rng(seed)
    mixing = np.linalg.qr(random.normal(size=(d, d)))[0] * np.geomspace(10, 0.1, d)
    return random.normal(size=(samples, d)) @ mixing


def measured() -> Numbers:
    numbers: Numbers = {}
    for d in FEATURES:
        a, b = features(d, 0), features(d, 1)
        slow, fast = in_turn(lambda: by_matrix_root(a, b), lambda: frechet(a, b), REPEATS)  # noqa: B023
        numbers[f"frechet {d} ratio"] = ratio(slow, fast), "times"
        numbers[f"frechet {d} seconds"] = spread(fast), "seconds"
        apart = abs(by_matrix_root(a, b) / frechet(a, b) - 1)
        assert apart < 1e-6, f"{d} features: the two differ by {apart:g} of their value"
    images = BOOK.images("test")[:IMAGES][0]
    for name in BOUNDED:
        model = BOOK.experiment(name).model
        for samples in IMPORTANCE if name == "conv16" else IMPORTANCE[1:2]:
            times = [seconds(lambda: log_weights(model, images, samples)) for _ in range(4)]  # noqa: B023
            rates = [IMAGES / one for one in times[1:]]
            numbers[f"bound {name} {samples}"] = spread(rates), "images/s"
    model = BOOK.experiment("conv16").model

    def one_by_one():
        for i in range(20):
            log_weights(model, images[i : i + 1], IMPORTANCE[1])

    slow, fast = in_turn(one_by_one, lambda: log_weights(model, images[:20], 100), 3)
    numbers["bound ratio"] = ratio(slow, fast), "times"
    return numbers


if __name__ == "__main__":
    torch.manual_seed(0)
    command = "python benchmarks/bench_metrics.py --store"
    main(__doc__, command, BOOK.images("test").digest, measured)
