"""Trainings of which only numbers are kept: one row of a table each, no weights.

``python -m vae_helpers sweep NAME`` makes what is missing of a table; it can be interrupted.
"""

from dataclasses import replace

import torch

from vae_helpers import data, judge, latent, runs
from vae_helpers.garments import FACTORS, LEVELS
from vae_helpers.metrics.disentanglement import dci, mutual_information_gap
from vae_helpers.metrics.posterior import active_units, mutual_information
from vae_helpers.models import VAE
from vae_helpers.runs import Run
from vae_helpers.settings import settings
from vae_helpers.tables import Table
from vae_helpers.training import History, evaluate, fit

COMMAND = "python -m vae_helpers sweep"
SEEDS = (0, 1, 2)
DENSE = {"body": "dense", "lr": 4e-3, "schedule": "one-cycle"}
LATENT_SIZES = (2, 4, 8, 16, 32, 64)
BETAS = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)
ANNEALED = (1.0, 10.0)
METHODS = {  # how β gets there
    "constant": {},
    "linear warm-up": {"annealing": "linear"},
    "cyclical": {"annealing": "cyclical"},
    "free bits": {"free_bits": 0.5},
}
TRAVERSED = (0.5, 1.0, 4.0)


# --- a row --------------------------------------------------------------------------------------


def scores(model: VAE, run: Run) -> dict[str, float]:
    """A VAE on its test images: −ELBO, reconstruction and KL in nats, and what it minimized.

    These with the Bernoulli likelihood and β = 1, whatever the model was trained on; ``objective``
    with its own; ``error`` is the standard error of the −ELBO over images. Besides, how many units
    are active, and what its codes tell of the image, see ``metrics.posterior``.
    """
    test = data.load("test", run.dataset)
    nats = evaluate(model, test)
    own = evaluate(model, test, loss=runs.recipe(run)["loss"], beta=run.beta)
    mu, log_var = latent.encode(model, test)
    informed = mutual_information(mu, log_var, torch.Generator().manual_seed(0))
    return {
        "elbo": float(nats["total"].double().mean()),
        "error": float(nats["total"].double().std() / len(test) ** 0.5),
        "reconstruction": float(nats["reconstruction"].double().mean()),
        "kl": float(nats["kl"].double().mean()),
        "objective": float(own["total"].double().mean()),
        "active": active_units(mu),
        "information": informed,
    }


def learned(run: Run) -> dict[str, float]:
    """``scores`` of that run, trained for this alone, its last training loss ``train``, and the
    Fréchet distance of its samples.
    """
    model, history = train(run)
    row = scores(model, run) | {"train": history.curve("train")[-1]}
    if run.dataset == "fashion-mnist":
        generator = torch.Generator().manual_seed(run.seed)
        latents = torch.randn((judge.count(), model.latent), generator=generator)
        row["frechet"] = judge.distance(
            latent.decode(model, latents, latent.labels_for(model, len(latents)))
        )
    return row


def disentangled(run: Run | None, baseline: str, seed: int) -> dict[str, float]:
    """MIG and DCI of codes of 2,000 garments that no model was trained on.

    A VAE's code is a sample of its posterior, as its decoder sees it: a dimension that is switched
    off is noise. baseline: where there is no run, ``random`` for the means of an encoder that was
    never trained, or ``PCA`` for the first ten principal components of the pixels.
    """
    train_images, test = (data.load(split, "garments") for split in ("train", "test"))
    if baseline == "PCA":
        pixels = train_images[:][0].flatten(1).double()
        _, directions = torch.linalg.eigh(pixels.T.cov())  # ascending
        codes = (test[:][0].flatten(1) - pixels.mean(0)) @ directions[:, -10:]
    elif run is None:
        codes, _ = latent.encode(runs.build(_traversed(1.0, seed)).eval(), test)
    else:
        codes = latent.aggregate(train(run)[0], test, seed)
    codes, factors = codes.double().numpy(), test.factors.numpy()
    return {"mig": mutual_information_gap(codes, factors)} | dci(
        codes, factors, categories=tuple(FACTORS.index(name) for name in LEVELS)
    )


def train(run: Run) -> tuple[VAE, History]:
    """The run's model, trained here and kept nowhere, and how it went."""
    model = runs.build(run)
    images, _ = runs.training_images(run)
    history, _ = fit(model, images, **runs.recipe(run), progress=False)
    return model.eval(), history


# --- tables -------------------------------------------------------------------------------------


def _seeds() -> tuple[int, ...]:
    return SEEDS[:2] if settings().smoke else SEEDS


def _grid(name: str, values) -> list[dict]:
    values = list(values)
    some = values[:: len(values) - 1] if settings().smoke else values  # the first and the last
    return [{name: value, "seed": seed} for value in some for seed in _seeds()]


def _sweep(name: str, configurations, run) -> Table:
    """A table of ``learned`` rows; ``run`` makes the run of a configuration."""

    def of(configuration: dict) -> Run:
        return runs.shortened(run(**configuration))

    return Table(
        name,
        COMMAND,
        lambda **configuration: learned(of(configuration)),
        configurations,
        runs=lambda configuration: (
            ("classifier",) if of(configuration).dataset == "fashion-mnist" else ()
        ),
        trains=of,
    )


def _traversed(beta: float, seed: int) -> Run:
    return runs.shortened(
        Run(
            "disentanglement",
            **DENSE,
            latent=10,
            epochs=30,
            dataset="garments",
            beta=beta,
            seed=seed,
        )
    )


def _garment_configurations() -> list[dict]:
    coded = [f"β = {beta:g}" for beta in TRAVERSED]
    return [{"codes": codes, "seed": seed} for codes in (*coded, "random") for seed in _seeds()] + [
        {"codes": "PCA", "seed": 0}
    ]


def _of_garments(codes: str, seed: int) -> Run | None:
    return _traversed(float(codes[4:]), seed) if codes.startswith("β") else None


TABLES = {
    table.name: table
    for table in (
        _sweep(
            "latent-sizes",
            lambda: _grid("latent", LATENT_SIZES),
            lambda latent, seed: Run("latent-sizes", **DENSE, latent=latent, epochs=10, seed=seed),
        ),
        _sweep(
            "betas",
            lambda: _grid("beta", BETAS),
            lambda beta, seed: Run("betas", **DENSE, latent=10, epochs=10, beta=beta, seed=seed),
        ),
        _sweep(
            "annealing",
            lambda: [{"beta": beta} | one for beta in ANNEALED for one in _grid("method", METHODS)],
            lambda beta, method, seed: replace(
                Run("annealing", **DENSE, latent=32, epochs=10, beta=beta, seed=seed),
                **METHODS[method],
            ),
        ),
        _sweep(
            "budgets",  # of reports that stopped early
            lambda: [{"run": "conditional2", "epochs": 3}],
            lambda run, epochs: replace(runs.RUNS[run], epochs=epochs),
        ),
        Table(
            "disentanglement",
            COMMAND,
            lambda codes, seed: disentangled(_of_garments(codes, seed), codes, seed),
            _garment_configurations,
            trains=lambda configuration: _of_garments(**configuration),
            dataset="garments",
        ),
    )
}
