"""Grids of one's own, ``python -m press sweep latent=2,10``: a VAE for each combination."""

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from press.experiments.common import crossed
from press.experiments.trained import swept
from press.runs import Run
from press.stored import Table
from vae_helpers.models import BODIES

AXES = {  # what may vary from run to run, and what it is where nothing is said
    "body": "dense",
    "latent": 10,
    "beta": 1.0,
    "epochs": 10,
    "lr": 4e-3,
    "schedule": "one-cycle",
    "annealing": "constant",
    "likelihood": "bernoulli",
    "batch_size": 128,
    "dataset": "fashion-mnist",
    "seed": 0,
}


def grid(file: Path | None = None, **axes: Sequence) -> Table:
    """A table of a VAE for each combination of values: ``grid(latent=(2, 10), seed=(0, 1))``.

    What is not named stays as ``AXES`` has it. file: where the table lies, and may have other
    grids' rows already; what it has is not trained again. Raises ValueError for no axis, and for
    an axis or a value that no run has.
    """
    if unknown := axes.keys() - AXES.keys():
        raise ValueError(f"no axis {', '.join(sorted(unknown))}; choose from {', '.join(AXES)}")
    if not axes or not all(len(many) for many in axes.values()):
        raise ValueError("a grid without values; give some for at least one axis, like latent=2,10")
    # The same value twice would be the same training twice.
    given = {axis: tuple(dict.fromkeys(_as(axis, one) for one in axes[axis])) for axis in axes}
    name = " ".join(f"{axis}={','.join(map(str, many))}" for axis, many in given.items())
    configurations = crossed(**{axis: given.get(axis, (one,)) for axis, one in AXES.items()})
    for one in configurations:
        _of(**one)  # better an error now than on every worker
    return replace(swept(name, lambda book: configurations, _of), file=file)


def named(name: str, file: Path | None = None) -> Table:
    """The grid of that name, ``latent=2,10 beta=1``: so a worker finds it. Raises as ``grid``."""
    axes = dict(one.split("=", 1) for one in name.split())
    return grid(file, **{axis: values.split(",") for axis, values in axes.items()})


def _of(body: str, **options) -> Run:
    if body not in BODIES:
        raise ValueError(f"no body {body!r}; choose one of {', '.join(BODIES)}")
    return Run("grid", body=body, **options)


KINDS = {one.name: one.type for one in fields(Run)}


def _as(axis: str, value) -> int | float | str:
    kind = KINDS[axis]
    try:
        made = kind(value)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{axis}={value} is no {kind.__name__}") from error
    if kind is int and made != float(value):
        raise ValueError(f"{axis}={value} is no whole number")
    return made
