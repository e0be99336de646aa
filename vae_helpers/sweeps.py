"""Trainings of which only numbers are kept: one row of a table each, no weights.

``python -m vae_helpers sweep NAME`` makes what is missing of a table, on the workers of a Dask
cluster; it can be interrupted. Instead of a name, axes make a grid: ``latent=2,10 beta=0.5,1``.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import fields, replace
from functools import lru_cache, partial
from itertools import pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from vae_helpers import data, judge, latent, losses, runs, tables, together
from vae_helpers.classifier import in_batches
from vae_helpers.files import alone
from vae_helpers.garments import FACTORS, LEVELS
from vae_helpers.metrics.detection import auroc
from vae_helpers.metrics.disentanglement import dci, mutual_information_gap
from vae_helpers.metrics.images import diversity, sharpness
from vae_helpers.metrics.likelihood import bound_of_weights, log_weights
from vae_helpers.metrics.posterior import (
    active_units,
    mutual_information,
    neighbour_accuracy,
)
from vae_helpers.models import VAE
from vae_helpers.results import ResultError
from vae_helpers.runs import ONE_CYCLE, Run
from vae_helpers.semi_supervised import label_loss
from vae_helpers.settings import settings
from vae_helpers.storage import digest_json
from vae_helpers.tables import Table
from vae_helpers.together import Task
from vae_helpers.training import SCHEDULES, History, evaluate, fit

if TYPE_CHECKING:
    from distributed import Client

COMMAND = "python -m vae_helpers sweep"
SEEDS = (0, 1, 2)
FIVE = (0, 1, 2, 3, 4)
NEIGHBOURS = 10_000  # training codes that a test image's neighbours are looked for in
DENSE = {"body": "dense", **ONE_CYCLE}
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
CHANGES = {  # of a report's model of MNIST
    "none": {},
    "Fashion-MNIST": {"dataset": "fashion-mnist"},
    "one-cycle": ONE_CYCLE,
    "convolutions": {"body": "conv"},
    "10 dimensions": {"latent": 10},
    "convolutions, 10 dimensions": {"body": "conv", "latent": 10},
    "β = 0.5": {"beta": 0.5},
}
STEPS = 1_500  # of a classifier on a hundred or a thousand labels alone
SHARES = {600: (300, 100), 6_000: (60, 10)}  # labels → epochs of their CVAE and classifier
FEW_LABELS = {100: 100.0, 1_000: 10.0}  # labels → their weight in M2, by held-out images
LABEL_METHODS = ("labels alone", "M2")
REPEATED = (  # runs of the book that are trained from four more seeds
    "dense2",
    "dense2-beta-0.5",
    "dense10",
    "conditional2",
    "conv2-beta-0.5",
    "conv16",
    "conv16-one-cycle",
    "residual32",
    "deep-conv-mse",
    "mnist-dense2",
)
FILMED = ("beta-0.1", "beta-0.5", "beta-1")  # and so are these, for how their pictures look
MORE_SEEDS = (0, 1, 2, 3)
OTHER = {"fashion-mnist": "mnist", "mnist": "fashion-mnist"}  # strange images
BOUNDED, BOUND = 100, 1_000  # test images, and importance samples of each
TRAINING_SIZES = (500, 1_000, 2_000, 5_000, 10_000, 20_000, 60_000)
EPOCHS_OF_ALL = 10  # of the largest; the smaller ones are seen as often as takes as many steps
CONVERGED = 15  # epochs after which that report calls its training converged


# --- a row --------------------------------------------------------------------------------------


def scores(model: VAE, run: Run) -> dict[str, float]:
    """A VAE on its test images: −ELBO, reconstruction and KL in nats, and what it minimized.

    These with the Bernoulli likelihood and β = 1, whatever the model was trained on; ``objective``
    with its own; ``error`` is the standard error of the −ELBO over images. Besides, how many units
    are active, and what its codes tell of the image, see ``metrics.posterior``.
    """
    test = runs.test_images(run)
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
    return _judged(*train(run), run)


def _judged(model: VAE, history: History, run: Run) -> dict[str, float]:
    row = scores(model, run) | {"train": history.curve("train")[-1]}
    if _knows_all_garments(run):
        generator = torch.Generator().manual_seed(run.seed)
        latents = torch.randn((judge.count(), model.latent), generator=generator)
        row["frechet"] = judge.distance(
            latent.decode(model, latents, latent.labels_for(model, len(latents)))
        )
    return row


def _knows_all_garments(run: Run) -> bool:
    return run.dataset == "fashion-mnist" and not run.classes


def repeated(run: str, seed: int) -> dict[str, float]:
    """That run of the book from that seed, as ``learned`` tells it; its own seed's model is stored.

    Besides, where a model takes no labels: ``bound``, by how many nats per image the bound of
    1,000 importance samples exceeds that of one; and the AUROC with which it tells the other
    dataset's images from its own, ``blind`` by their −ELBO, ``sighted`` by what of it is above
    each image's floor.
    """
    model, history, one = _from_seed(run, seed)
    row = _judged(model, history, one)
    if one.conditional:
        return row
    sides = [data.load("test", dataset) for dataset in (one.dataset, OTHER[one.dataset])]
    surprise = [evaluate(model, images)["total"].double() for images in sides]
    above = [
        nats - losses.entropy_floor(images[:][0])
        for nats, images in zip(surprise, sides, strict=True)
    ]
    weights = log_weights(
        model,
        sides[0][:BOUNDED][0],
        BOUND if not settings().smoke else 10,
        torch.Generator().manual_seed(0),
    )
    gained = bound_of_weights(weights, len(weights)) - bound_of_weights(weights, 1)
    return row | {
        "bound": float(gained.double().mean()),
        "blind": auroc(*surprise)[0],
        "sighted": auroc(*above)[0],
    }


def pictured(run: str, seed: int) -> dict[str, float]:
    """As ``repeated``, and how its pictures look instead: ``sharpness`` of as many samples of the
    prior as there are test images, in per cent of theirs, and of what is ``reconstructed`` of them;
    ``diversity``, the mean L2 distance between two samples.
    """
    model, history, one = _from_seed(run, seed)
    test = runs.test_images(one)
    samples = latent.decode(model, latent.frozen(len(test), model.latent, 1.0, seed=0))
    reconstructed = latent.decode(model, latent.encode(model, test)[0])
    share = 100 / sharpness(test[:][0]).mean()
    return _judged(model, history, one) | {
        "sharpness": float(share * sharpness(samples).mean()),
        "reconstructed": float(share * sharpness(reconstructed).mean()),
        "diversity": diversity(samples)[0],
    }


def _from_seed(run: str, seed: int) -> tuple[VAE, History, Run]:
    if (one := again(run, seed)) is not None:
        return *train(one), one
    stored = runs.trained(run)
    return stored.model, stored.history, stored.run


def again(run: str, seed: int) -> Run | None:
    """That run of the book with another seed; None for its own, whose model is there."""
    one = runs.find_run(run)
    return None if seed == one.seed else replace(one, seed=seed)


def digits(run: Run) -> dict[str, float]:
    """``learned``, and how it went: training epochs that ended higher than the one before, and
    the nats gained after those at which the report stopped looking; and the share of test images
    whose class most of the ten nearest of 10,000 training codes have.
    """
    model, history = train(run)
    curve = history.curve("train")
    known, test = (data.load(split, run.dataset) for split in ("train", "test"))
    known = known.subset(slice(NEIGHBOURS))
    votes = neighbour_accuracy(
        latent.encode(model, known)[0], known.labels, latent.encode(model, test)[0], test.labels
    )
    return _judged(model, history, run) | {
        "rises": sum(after > before for before, after in pairwise(curve)),
        "late": curve[min(CONVERGED, len(curve)) - 1] - curve[-1],
        "votes": float(votes.mean()),
    }


def augmented(labels: int, samples: str, seed: int) -> dict[str, float]:
    """Test accuracy of a classifier of few labelled images, without or with a CVAE's samples.

    The CVAE has seen these images alone and adds as many samples, as many of each class; both
    classifiers are trained for about as many steps, and both see what they get mirrored and
    shifted.
    ``recognized``: the share of the samples that the judge, who knows all labels, calls as meant.
    """
    run = _classifier_of_few(labels, seed)
    if samples == "without":
        return {"accuracy": _accuracy(train(run)[0], run)}
    model, _ = train(_cvae_of_few(labels, seed))
    images, _ = runs.training_images(run)
    latents = latent.frozen(len(images), model.latent, 1.0, seed)
    meant = latent.labels_for(model, len(images))
    made = latent.decode(model, latents, meant)
    called = in_batches(judge.network().probabilities, made).argmax(1)
    both = data.ImageDataset(
        torch.cat([images.images, (255 * made).round().byte()]),
        torch.cat([images.labels, meant]),
        images.classes,
        f"{images.name} and as many samples",
    )
    half = replace(run, epochs=max(1, run.epochs // 2))  # of twice as many: as many steps
    return {
        "accuracy": _accuracy(train(half, both)[0], run),
        "recognized": float((called == meant).double().mean()),
    }


def classified(run: Run) -> dict[str, float]:
    """Test accuracy of what that run learned of its few labels."""
    return {"accuracy": _accuracy(train(run)[0], run)}


def _accuracy(model: torch.nn.Module, run: Run) -> float:
    errors = evaluate(model, data.load("test", run.dataset), loss=label_loss)["error"]
    return 1 - float(errors.double().mean())


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


def train(run: Run, images: data.ImageDataset | None = None) -> tuple[VAE, History]:
    """The run's model, trained here, and how it went; a training that was cut off is resumed.

    images: what to train on instead of the run's own training images. Nothing is kept of it.
    """
    images = images or runs.training_images(run)[0]
    name = digest_json([runs.settled(run), images.digest])
    state = settings().work / "sweeps" / f"{name}.safetensors"
    model = runs.build(run)
    with alone(state.with_suffix(".lock")):  # a worker that Dask gave up may still be at it
        history, _ = fit(model, images, **runs.recipe(run), state=state, progress=_tell.get())
        state.unlink()
    return model.eval(), history


_tell: ContextVar[bool | Callable[[float], None]] = ContextVar("tell", default=False)


# --- on a cluster -------------------------------------------------------------------------------


def sweep(table: Table, client: "Client") -> Path:
    """Make what is missing of that table on the workers of a cluster; return its file.

    Only a table's name, a configuration and a digest travel: workers read images and models from
    their own disks, and raise ResultError where these are not the ones that the table is made of.
    Raises what ``together.each`` raises; a next call goes on with the rows that are missing.
    """
    return tables.measure(table, partial(_on_workers, client))


def _on_workers(client: "Client", table: Table, configurations: Sequence[dict]) -> Iterator[dict]:
    tasks = [
        Task(
            " ".join([table.name, *(f"{key}={value}" for key, value in one.items())]),
            partial(_measured, table.name, one, tables.digest(table, one)),
            _work(table.trains(one)),
        )
        for one in configurations
    ]
    for _, row in together.each(client, tasks):
        yield row


def _measured(name: str, configuration: dict, digest: str, tell: Callable) -> dict:
    table = find(name)
    if tables.digest(table, configuration) != digest:
        raise ResultError(
            f"{name}, {configuration}: this worker has other images, models or code; give it the "
            "same checkout, VAE_PROFILE and data (VAE_DATA_DIR) as the machine that asks"
        )
    token = _tell.set(tell)
    try:
        return tables.measured_row(table, configuration)
    finally:
        _tell.reset(token)


@lru_cache(maxsize=256)
def _work(run: Run | None) -> int:
    return runs.work(run) if run else 1


def find(name: str, file: Path | None = None) -> Table:
    """The table of that name; or ``latent=2,10 beta=1``, a ``grid`` in that file.

    Raises KeyError where there is no such table, and what ``grid`` raises.
    """
    if "=" not in name:
        return TABLES[name]
    axes = {axis: values.split(",") for axis, values in (one.split("=") for one in name.split())}
    return grid(file, **axes)


AXES = {  # of a grid: what may vary from run to run, and what it is where nothing is said
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
    grids' rows already; what it has is not trained again. Raises ValueError for an axis or a value
    that no run has.
    """
    if unknown := axes.keys() - AXES.keys():
        raise ValueError(f"no axis {', '.join(sorted(unknown))}; choose from {', '.join(AXES)}")
    values = {name: tuple(axes.get(name, (default,))) for name, default in AXES.items()}
    kinds = {one.name: one.type for one in fields(Run)}
    for name, many in values.items():
        values[name] = tuple(_as(kinds[name], name, one) for one in many)
    configurations = [dict(zip(values, one, strict=True)) for one in product(*values.values())]

    for one in configurations:
        # Builds each: better an error now than on every worker.
        _work(runs.shortened(_possible(Run("grid", **one))))
    named = " ".join(f"{name}={','.join(map(str, values[name]))}" for name in axes)
    table = _sweep(named, lambda: configurations, lambda **one: Run("grid", **one))
    return replace(table, file=file)


CHOICES = {"schedule": SCHEDULES, "annealing": runs.ANNEALING, "dataset": data.DATASETS}


def _possible(run: Run) -> Run:
    for name, choices in CHOICES.items():
        if (value := getattr(run, name)) not in choices:
            raise ValueError(f"no {name} {value!r}; choose one of {', '.join(choices)}")
    for name in ("epochs", "batch_size", "lr"):
        if not (value := getattr(run, name)) > 0:
            raise ValueError(f"{name}={value}; give more than 0")
    return run


def _as(kind: type, name: str, value) -> int | float | str:
    try:
        return kind(value)
    except ValueError as error:
        raise ValueError(f"{name}={value} is no {kind.__name__}") from error


# --- tables -------------------------------------------------------------------------------------


def _seeds(many: tuple[int, ...] = SEEDS) -> tuple[int, ...]:
    return many[:2] if settings().smoke else many


def _grid(name: str, values, seeds: tuple[int, ...] = SEEDS) -> list[dict]:
    values = list(values)
    some = values[:: len(values) - 1] if settings().smoke else values  # the first and the last
    return [{name: value, "seed": seed} for value in some for seed in _seeds(seeds)]


def _sweep(name: str, configurations, run, row=learned, judged: bool = True) -> Table:
    """A table of rows that each train a run; ``run`` makes the run of a configuration.

    judged: a row of garments has a Fréchet distance, and so depends on the judge.
    """

    def of(configuration: dict) -> Run:
        return runs.shortened(run(**configuration))

    return Table(
        name,
        COMMAND,
        lambda **configuration: row(of(configuration)),
        configurations,
        runs=lambda configuration: (
            ("classifier",) if judged and of(configuration).dataset == "fashion-mnist" else ()
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


def _classifier_of_few(labels: int, seed: int) -> Run:
    return runs.shortened(
        Run(
            "augmentation",
            body="resnet18",
            latent=64,
            epochs=SHARES[labels][1],
            kind="classifier",
            lr=2e-3,
            schedule="one-cycle",
            batch_size=64,
            labelled=labels,
            seed=seed,
        )
    )


def _cvae_of_few(labels: int, seed: int) -> Run:
    return runs.shortened(
        Run(
            "augmentation",
            **DENSE,
            latent=10,
            epochs=SHARES[labels][0],
            conditional=True,
            labelled=labels,
            seed=seed,
        )
    )


def _of_few_labels(labels: int, method: str, seed: int) -> Run:
    run = Run("few-labels", body="dense", latent=16, epochs=10, labelled=labels, seed=seed)
    if method == "M2":
        weight = FEW_LABELS[labels]
        return replace(run, kind="semi-supervised", label_weight=weight, **ONE_CYCLE)
    return replace(run, kind="supervised", batch_size=50, epochs=STEPS * 50 // labels)


def _seeded(names: Sequence[str]) -> list[dict]:
    seeds = MORE_SEEDS[:1] if settings().smoke else MORE_SEEDS
    return [{"run": name, "seed": one} for name in names for one in (runs.RUNS[name].seed, *seeds)]


def _seeded_runs(configuration: dict) -> tuple[str, ...]:
    run = runs.RUNS[configuration["run"]]
    own = (run.name,) * (configuration["seed"] == run.seed)
    return own + ("classifier",) * _knows_all_garments(run)


def _as_many_steps(images: int) -> int:
    """Epochs of so many images that take as many steps as ``EPOCHS_OF_ALL`` of the most."""
    steps = [math.ceil(many / Run.batch_size) for many in (TRAINING_SIZES[-1], images)]
    return round(EPOCHS_OF_ALL * steps[0] / steps[1])


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
            lambda: _grid("latent", LATENT_SIZES, FIVE),
            lambda latent, seed: Run("latent-sizes", **DENSE, latent=latent, epochs=10, seed=seed),
        ),
        _sweep(
            "betas",
            lambda: _grid("beta", BETAS, FIVE),
            lambda beta, seed: Run("betas", **DENSE, latent=10, epochs=10, beta=beta, seed=seed),
        ),
        Table(
            "seeds",
            COMMAND,
            repeated,
            lambda: _seeded(REPEATED[:2] if settings().smoke else REPEATED),
            runs=_seeded_runs,
            trains=lambda configuration: again(**configuration),
        ),
        Table(
            "beta-seeds",
            COMMAND,
            pictured,
            lambda: _seeded(FILMED),
            runs=_seeded_runs,
            trains=lambda configuration: again(**configuration),
        ),
        _sweep(
            "training-sizes",
            lambda: _grid("images", TRAINING_SIZES, FIVE),
            lambda images, seed: Run(
                "training-sizes",
                **DENSE,
                latent=10,
                epochs=_as_many_steps(images),
                labelled=images,
                seed=seed,
            ),
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
        _sweep(
            "digits",
            lambda: [{"change": one, "seed": seed} for one in CHANGES for seed in _seeds()],
            lambda change, seed: replace(
                Run("digits", body="dense", latent=2, epochs=20, dataset="mnist", seed=seed),
                **CHANGES[change],
            ),
            digits,
        ),
        Table(
            "augmentation",
            COMMAND,
            augmented,
            lambda: [
                {"labels": labels, "samples": samples, "seed": seed}
                for labels in SHARES
                for samples in ("without", "with")
                for seed in _seeds(FIVE)
            ],
            runs=lambda configuration: ("classifier",) * (configuration["samples"] == "with"),
            trains=lambda configuration: (
                _classifier_of_few if configuration["samples"] == "without" else _cvae_of_few
            )(configuration["labels"], configuration["seed"]),
        ),
        _sweep(
            "few-labels",
            lambda: [
                {"labels": labels} | one
                for labels in FEW_LABELS
                for one in _grid("method", LABEL_METHODS)
            ],
            _of_few_labels,
            classified,
            judged=False,
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
