"""Measures of a model, each in its own module; none knows a figure or the classifier."""

import numpy as np
from torch import Tensor


def finite(values, what: str) -> np.ndarray:
    """Numbers as a float64 array, wherever a tensor of them lies. ValueError for NaN or infinity.

    what: these numbers in words, for that error.
    """
    values = values.detach().cpu() if isinstance(values, Tensor) else values
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"{what} hold NaN or infinity; look at the model or images they come from")
    return values
