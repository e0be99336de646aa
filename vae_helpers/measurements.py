"""Costly numbers, measured once by a command, stored as tables, and spot-checked by chapters.

A table is a list of rows; a row is a configuration, what was measured for it, and a digest of the
models and data it was measured on, so that it can be measured again on its own: a new model adds
rows and leaves the others. ``python -m vae_helpers measure NAME`` makes what is missing or stale,
and can be interrupted and called again.
"""

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from vae_helpers import corruptions, data, latent, runs, samplers
from vae_helpers.classifier import build_untrained, in_batches
from vae_helpers.files import write_atomically
from vae_helpers.metrics.frechet import frechet, kernel_distances, neighbour_scores
from vae_helpers.metrics.images import diversity, sharpness
from vae_helpers.metrics.likelihood import bound_of_weights, log_weights
from vae_helpers.results import Estimate, ResultError
from vae_helpers.settings import settings
from vae_helpers.storage import digest_json, hardware, load_tensors, save_tensors, versions

COUNT = 10_000  # images on each side of a Fréchet distance
TOY_COUNT = 1_000
DIVERSITY_COUNT = 1_000
LIKELIHOOD_IMAGES = 20  # images a row of the likelihood table holds
LIKELIHOOD_ROWS = 50
BOUNDS = (1, 10, 100, 1_000)
VAES = tuple(  # of the models of three classes, one: to show what it costs to lack the others
    name for name, run in runs.RUNS.items() if run.kind == "vae" and run.beta == 1
)
EX_POST = ("conv16-validated", "autoencoder16")
STRENGTHS = {
    "blur": (0.5, 1.0, 1.5, 2.0, 3.0),
    "noise": (0.05, 0.1, 0.2, 0.3, 0.5),
    "shuffle": (0.05, 0.1, 0.2, 0.5, 1.0),
}
SIZES = (500, 1_000, 2_000, 5_000, 10_000)
SIGMAS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
EMBEDDINGS = "embeddings"
EMBEDDED = 2_000  # test images in a t-SNE or UMAP picture
CLOSE = 0.01  # how far a row measured here may be from the stored one, as a share of it
COMMAND = "python -m vae_helpers measure"


# --- what is measured ---------------------------------------------------------------------------


def sample_quality(run: str, sampler: str, seed: int) -> dict[str, float]:
    """How 10,000 samples compare with the 10,000 test images, in the classifier's features.

    sampler: ``prior``, ``gaussian`` or ``mixture``, the latter two fitted to codes of the images
    the run was trained on; or ``real`` of the run ``training images``: as many of those.
    """
    made, reference = _sample_features(run, sampler, seed), _reference()
    kid = kernel_distances(reference, made, size=min(1_000, len(made)), seed=seed)
    scores = neighbour_scores(reference, made) if seed == 0 else {}
    return {"frechet": frechet(reference, made), "kid": float(kid.mean())} | scores


def corruption_score(features: str, kind: str, strength: float) -> dict[str, float]:
    """Fréchet distance of spoiled training images from clean test images.

    features: ``trained`` on 10,000 images, or ``untrained`` on 1,000. kind: a corruption, or
    ``samples`` of the standard run instead of training images.
    """
    count = _count() if features == "trained" else min(TOY_COUNT, _count())
    if kind == "samples":
        made = sampled("conv16", "prior", seed=0)[:count]
    else:
        clean = _some(data.load("train"), count, seed=0)[:][0]
        made = corruptions.corrupted(clean, kind, strength)
    if features == "trained":
        network, real = _classifier().features, _reference()
    else:
        network = build_untrained().eval()
        real = in_batches(network, _some(data.load("test"), count, seed=0)[:][0]).numpy()
    return {"frechet": frechet(real, in_batches(network, made).numpy())}


def size_bias(made: str, size: int, seed: int) -> dict[str, float]:
    """The Fréchet distance of only ``size`` images from all test images.

    made: ``conv16`` for its prior samples, or ``training images``.
    """
    features = _sample_features(made, "real" if made == "training images" else "prior", 0)
    chosen = np.random.default_rng(seed).permutation(len(features))[:size]
    return {"frechet": frechet(_reference(), features[chosen])}


def frozen_quality(sigma: float, seed: int) -> dict[str, float]:
    """Samples of the standard run from z ~ N(0, σ²I): 10,000 of them, diversity of 1,000."""
    model, judge = runs.trained("conv16").model, _classifier()
    made = latent.decode(model, latent.frozen(_count(), model.latent, sigma, seed))
    features = in_batches(judge.features, made)
    confidence = in_batches(judge.probabilities_of, features).max(1).values
    return {
        "diversity": diversity(made[:DIVERSITY_COUNT])[0],
        "sharpness": float(sharpness(made).mean()),
        "confidence": float(confidence.double().mean()),
        "frechet": frechet(_reference(), features.numpy()),
    }


def likelihood(part: int) -> dict[str, float]:
    """Importance-weighted bounds of the standard run on 20 test images, in nats per image."""
    start = part * LIKELIHOOD_IMAGES
    images = data.load("test")[start : start + LIKELIHOOD_IMAGES][0]
    weights = log_weights(
        runs.trained("conv16").model,
        images,
        BOUNDS[-1] if not settings().smoke else 10,
        torch.Generator().manual_seed(part),
    )
    return {
        f"K{samples}": float(bound_of_weights(weights, min(samples, len(weights))).mean())
        for samples in BOUNDS
    }


# --- the ingredients ----------------------------------------------------------------------------


def sampled(run: str, sampler: str, seed: int) -> Tensor:
    """As many images ``(N, 1, 28, 28)`` as there are test images, from that run and sampler."""
    latents = make_sampler(run, sampler)(_count(), torch.Generator().manual_seed(seed))
    return latent.decode(runs.trained(run).model, latents)


@lru_cache(maxsize=8)
def make_sampler(run: str, sampler: str) -> samplers.Sampler:
    """The prior, or a density fitted to the codes of the images that the run was trained on.

    No test image has a part in it. Raises ValueError for a sampler that does not exist.
    """
    one = runs.trained(run)
    if sampler == "prior":
        return samplers.prior(one.model.latent)
    if sampler not in ("gaussian", "mixture"):
        raise ValueError(f"no sampler {sampler!r}; choose prior, gaussian or mixture")
    codes = latent.aggregate(one.model, runs.training_images(one.run)[0])
    return samplers.gaussian(codes) if sampler == "gaussian" else samplers.mixture(codes)


@lru_cache(maxsize=2)
def _sample_features(run: str, sampler: str, seed: int) -> np.ndarray:
    if sampler == "real":
        images = _some(data.load("train"), _count(), seed)[:][0]
    else:
        images = sampled(run, sampler, seed)
    return in_batches(_classifier().features, images).numpy()


@lru_cache(maxsize=1)
def _reference() -> np.ndarray:
    return in_batches(_classifier().features, data.load("test")[:COUNT][0]).numpy()


@lru_cache(maxsize=1)
def _classifier():
    return runs.trained("classifier").model


def _some(images: data.ImageDataset, count: int, seed: int) -> data.ImageDataset:
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return images.subset(order[:count])


def _count() -> int:
    return min(COUNT, len(data.load("test")))


# --- tables -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """What is measured for which configurations, and the runs that one of them needs."""

    row: Callable[..., dict[str, float]]
    configurations: Callable[[], Iterable[dict]]
    runs: Callable[[dict], tuple[str, ...]]


def _seeds() -> range:
    return range(2 if settings().smoke else 3)


def _sample_configurations() -> Iterable[dict]:
    pairs = [("training images", "real"), *((name, "prior") for name in (*VAES, "autoencoder16"))]
    pairs += [(name, sampler) for name in EX_POST for sampler in ("gaussian", "mixture")]
    return [{"run": r, "sampler": s, "seed": seed} for r, s in pairs for seed in _seeds()]


def _sample_runs(configuration: dict) -> tuple[str, ...]:
    return ("classifier", *({configuration["run"]} & runs.RUNS.keys()))


def _corruption_configurations() -> Iterable[dict]:
    steps = [("blur", 0.0), ("samples", 0.0)]
    steps += [(kind, strength) for kind, many in STRENGTHS.items() for strength in many]
    return [
        {"features": features, "kind": kind, "strength": strength}
        for features in ("untrained", "trained")
        for kind, strength in steps
    ]


TABLES = {
    "samples": Table(sample_quality, _sample_configurations, _sample_runs),
    "corruptions": Table(
        corruption_score, _corruption_configurations, lambda _: ("conv16", "classifier")
    ),
    "sizes": Table(
        size_bias,
        lambda: [
            {"made": made, "size": size, "seed": seed}
            for made in ("conv16", "training images")
            for size in SIZES
            for seed in _seeds()
        ],
        lambda _: ("conv16", "classifier"),
    ),
    "frozen": Table(
        frozen_quality,
        lambda: [{"sigma": sigma, "seed": seed} for sigma in SIGMAS for seed in _seeds()],
        lambda _: ("conv16", "classifier"),
    ),
    "likelihood": Table(
        likelihood,
        lambda: [{"part": part} for part in range(2 if settings().smoke else LIKELIHOOD_ROWS)],
        lambda _: ("conv16",),
    ),
}


def measured(name: str) -> list[dict]:
    """The rows of that table, as stored; measured first in smoke runs and retrained ones.

    Raises ResultError where the table is missing, or belongs to other models, data or
    configurations.
    """
    if settings().smoke or settings().retrain:
        measure(name)
    rows = _rows(_path(name))
    current = _current(name, rows)
    wanted = list(TABLES[name].configurations())
    if len(current) < len(wanted):
        raise ResultError(
            f"the table {name!r} has {len(current)} of the {len(wanted)} rows that belong to these "
            f"models and data; run `{COMMAND} {name}`"
        )
    return current


def check(name: str, **configuration) -> dict:
    """Measure one row of that table again, here; return the stored one.

    Raises ResultError where a number is off by more than 1 %, and KeyError for a configuration
    that the table does not have. Smoke runs and retrained ones have measured it themselves.
    """
    rows = [row for row in measured(name) if configuration.items() <= row.items()]
    if len(rows) != 1:
        raise KeyError(f"{len(rows)} rows of {name!r} have {configuration}; name one of them")
    if settings().smoke or settings().retrain:
        return rows[0]
    for what, value in TABLES[name].row(**configuration).items():
        if not math.isclose(value, rows[0][what], rel_tol=CLOSE, abs_tol=1e-3):
            raise ResultError(
                f"{name}, {configuration}: stored {what} {rows[0][what]} but {value:.6g} here; if "
                f"the code is right, delete that row and run `{COMMAND} {name}`"
            )
    return rows[0]


def embedded() -> tuple[Tensor, dict[str, Tensor]]:
    """μ of the standard run for the first test images ``(N, d)``, and its stored embeddings.

    Raises ResultError where they are missing or belong to other codes.
    """
    now, path = settings(), _path(EMBEDDINGS)
    if now.smoke or now.retrain:
        measure(EMBEDDINGS)
    codes = _codes_to_embed()
    if not path.exists():
        raise ResultError(f"no embeddings are stored; run `{COMMAND} {EMBEDDINGS}`")
    tensors, header = load_tensors(path)
    if header["of"] != _embedding_digest():
        raise ResultError(
            f"the embeddings belong to another model or data; run `{COMMAND} {EMBEDDINGS}`"
        )
    return codes, {name: tensors[name].float() for name in latent.EMBEDDINGS}


def over_seeds(rows: Iterable[dict], what: str, **configuration) -> Estimate:
    """Mean and standard deviation (not error) of a measured value over the matching rows."""
    values = [row[what] for row in rows if configuration.items() <= row.items() and what in row]
    if not values:
        raise KeyError(f"no row has {what} for {configuration}")
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Estimate(float(np.mean(values)), spread, len(values))


def measure(name: str) -> Path:
    """Measure that table, or go on where an interrupted call stopped; return its file.

    Does nothing where it is up to date. Raises KeyError for a table that does not exist.
    """
    if name == EMBEDDINGS:
        return _embed()
    if name not in TABLES:
        raise KeyError(f"no table {name!r}; choose one of {', '.join(TABLES)}")
    path, unfinished = _path(name), settings().work / "measurements" / f"{name}.json"
    table = TABLES[name]
    rows = _current(name, _rows(unfinished) or _rows(path))
    todo = [one for one in table.configurations() if not any(_fits(one, row) for row in rows)]
    if not todo and path.exists():
        return path
    for configuration in tqdm(todo, desc=name, unit="row", disable=settings().smoke):
        values = {key: float(f"{v:.6g}") for key, v in table.row(**configuration).items()}
        rows.append(configuration | values | {"of": _digest(name, configuration)})
        _write(unfinished, name, rows)
    order = list(table.configurations())
    rows.sort(key=lambda row: next(i for i, one in enumerate(order) if _fits(one, row)))
    _write(path, name, rows)
    unfinished.unlink(missing_ok=True)
    return path


def _fits(configuration: dict, row: dict) -> bool:
    return configuration.items() <= row.items()


def _rows(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []


def _current(name: str, rows: list[dict]) -> list[dict]:
    """The rows of today's configurations that were measured on today's models and data."""
    wanted = {_digest(name, one): one for one in TABLES[name].configurations()} if rows else {}
    return [row for row in rows if row["of"] in wanted and _fits(wanted[row["of"]], row)]


def _write(path: Path, name: str, rows: list[dict]) -> None:
    head = {"command": f"{COMMAND} {name}", "hardware": hardware(), "versions": versions()}
    text = json.dumps(head, indent=1, ensure_ascii=False).removesuffix("\n}")
    # One row, one line: a table that reads as one, and a diff that shows what changed.
    lines = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in rows)
    write_atomically(path, f'{text},\n "rows": [\n{lines}\n ]\n}}\n'.encode())


def _digest(name: str, configuration: dict) -> str:
    models = [_run_digest(run) for run in TABLES[name].runs(configuration)]
    return digest_json([models, data.load("test").digest, configuration])


def _run_digest(run: str) -> str:
    # Without loading the model where its checkpoint is the same file as before.
    path = runs.checkpoint_path(run)
    if not path.exists():
        return runs.trained(run).digest
    stat = path.stat()
    return _digest_of_file(run, path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _digest_of_file(run: str, path: Path, mtime: int, size: int) -> str:
    return runs.trained(run).digest


def _embed() -> Path:
    path, of = _path(EMBEDDINGS), _embedding_digest()
    if not path.exists() or load_tensors(path)[1]["of"] != of:
        made = latent.embeddings(_codes_to_embed())
        header = {"of": of, "command": f"{COMMAND} {EMBEDDINGS}", "versions": versions()}
        save_tensors(path, {name: points.half() for name, points in made.items()}, header)
    return path


def _codes_to_embed() -> Tensor:
    images = data.load("test").subset(slice(300 if settings().smoke else EMBEDDED))
    return latent.encode(runs.trained("conv16").model, images)[0]


def _embedding_digest() -> str:
    return digest_json([runs.trained("conv16").digest, data.load("test").digest, EMBEDDED])


def _path(name: str) -> Path:
    kind = "safetensors" if name == EMBEDDINGS else "json"
    return settings().assets / "results" / "tables" / f"{name}.{kind}"
