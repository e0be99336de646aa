"""Grids of one's own, ``python -m press sweep latent=2,10``: a VAE for each combination."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from press.experiments.common import crossed
from press.experiments.trained import swept
from press.runs import DEFAULTS, ONE_CYCLE, Run
from press.stored import Table

# What may vary from run to run, and what it is where nothing is said.
AXES = {"body": "dense", "latent": 10, "beta": 1.0, "epochs": 10, **ONE_CYCLE, "seed": 0}
AXES |= {name: DEFAULTS[name] for name in ("annealing", "likelihood", "batch_size", "dataset")}


def grid(file: Path | None = None, **axes: Sequence) -> Table:
    """A table of a VAE for each combination of values: ``grid(latent=(2, 10), seed=(0, 1))``.

    What is not named stays as ``AXES`` has it. file: where the table lies, and may have other
    grids' rows already; what it has is not trained again. Raises ValueError for no axis, and for
    an axis or a value that no run has.
    """
    if unknown := axes.keys() - AXES.keys():
        raise ValueError(f"no axis {', '.join(sorted(unknown))}; choose from {', '.join(AXES)}")
    # The same value twice would be the same training twice.
    given = {
        axis: list(dict.fromkeys(type(AXES[axis])(str(one)) for one in many))  # 2.7 is no int
        for axis, many in axes.items()
    }
    if not (given and all(given.values())):
        raise ValueError("a grid without values; give some for at least one axis, like latent=2,10")
    name = " ".join(f"{axis}={','.join(map(str, many))}" for axis, many in given.items())
    configurations = crossed(**{axis: given.get(axis, (one,)) for axis, one in AXES.items()})
    run = partial(Run, "grid")
    for one in configurations:
        run(**one)  # better an error now than on every worker
    return replace(swept(name, lambda book: configurations, run), file=file)
