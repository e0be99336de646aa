"""Costly numbers of the book's models: what they are, and the tables they stand in.

``python -m vae_helpers measure NAME`` makes what is missing or stale of a table.
"""

import math
import time
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vae_helpers import (
    compression,
    corruptions,
    data,
    export,
    judge,
    latent,
    runs,
    samplers,
    sweeps,
    tables,
)
from vae_helpers.classifier import build_untrained, in_batches
from vae_helpers.losses import PIXELS, kl_per_dimension
from vae_helpers.metrics.frechet import frechet, kernel_distances, neighbour_scores
from vae_helpers.metrics.images import diversity, sharpness
from vae_helpers.metrics.likelihood import bound_of_weights, log_weights
from vae_helpers.metrics.posterior import linear_accuracy, neighbour_accuracy
from vae_helpers.results import ResultError
from vae_helpers.settings import settings
from vae_helpers.storage import digest_json, load_tensors, save_tensors, versions
from vae_helpers.tables import Table, over_seeds
from vae_helpers.training import fit

__all__ = ["over_seeds"]  # for chapters, beside ``measured`` and ``check``
TIMED_STEPS = 50
TOY_COUNT = 1_000
DIVERSITY_COUNT = 1_000
LIKELIHOOD_IMAGES = 20  # images a row of the likelihood table holds
LIKELIHOOD_ROWS = 50
LINEAR = "64 components"
COMPONENTS = 64
CODERS = {  # with rounding steps, or qualities
    **dict.fromkeys(("dense2", "conv16-one-cycle", "residual32"), (0.25, 0.5, 1.0, 2.0, 4.0)),
    LINEAR: (0.1, 0.25, 0.5, 1.0, 1.5, 2.0),
    "JPEG": (1, 10, 20, 40, 60),
    "PNG": (0,),
}
CODED_IMAGES = 2_000
PROBED = "conv16-one-cycle"
PROBE_LABELS = (100, 1_000, 10_000)
BOUNDS = (1, 10, 100, 1_000)
VAES = (  # of chapters 2 to 9; the last one to show what it costs to lack classes
    "conv16",
    "conv16-one-cycle",
    "dense20-validated",
    "dense2",
    "conv16-validated",
    "beta-1",
)
MODELS = tuple(  # all that know every class of Fashion-MNIST
    name
    for name, run in runs.RUNS.items()
    if run.kind == "vae" and run.dataset == "fashion-mnist" and not run.classes
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
MAPPED = 1_500  # test images whose codes the explorer's map shows
COMMAND = "python -m vae_helpers measure"


# --- what is measured ---------------------------------------------------------------------------


def model_scores(run: str) -> dict[str, float]:
    """A VAE of the book on the test images: its terms of the ELBO in nats, and what it minimized.

    The same for every objective: a model trained on another likelihood is judged by Bernoulli's.
    """
    one = runs.trained(run)
    return sweeps.scores(one.model, one.run)


def training_time(run: str) -> dict[str, float]:
    """Seconds that training that run takes here, from the median of fifty of its steps."""
    one = runs.find_run(run)
    images, _ = runs.training_images(one)
    clock = []

    def tick(model, step: int) -> dict:
        clock.append(time.perf_counter())
        return {}

    some = images.subset(slice(TIMED_STEPS * one.batch_size))
    recipe = runs.recipe(one) | {"epochs": 1}
    fit(runs.build(one), some, **recipe, snapshot=tick, progress=False)
    steps = one.epochs * math.ceil(len(images) / one.batch_size)
    return {"seconds": float(np.median(np.diff(clock))) * steps}


def sample_quality(run: str, sampler: str, seed: int) -> dict[str, float]:
    """How 10,000 samples compare with the 10,000 test images, in the classifier's features.

    sampler: ``prior``, ``gaussian`` or ``mixture``, the latter two fitted to codes of the images
    the run was trained on; or ``real`` of the run ``training images``: as many of those.
    """
    made, real = _sample_features(run, sampler, seed), judge.reference()
    kid = kernel_distances(real, made, size=min(1_000, len(made)), seed=seed)
    scores = neighbour_scores(real, made) if seed == 0 else {}
    return {"frechet": frechet(real, made), "kid": float(kid.mean())} | scores


def class_samples(label: int, seed: int) -> dict[str, float]:
    """Samples of one class from the conditional model: what the judge calls them, and how far off.

    As many as there are test images of the class; ``called 0`` … are the shares of the judge's
    answers. For comparison, ``real`` is the share of the test images that it recognizes, and
    ``floor`` the distance of as many training images from the test images.
    """
    model, test, pool = runs.trained("conditional2").model, data.load("test"), data.load("train")
    seen = judge.reference()
    if not settings().smoke:  # whose classes have fewer images than the judge has features
        seen, pool = seen[(test.labels == label).numpy()], pool.only([label])
    latents = latent.frozen(len(seen), model.latent, 1.0, seed)
    made = judge.features(latent.decode(model, latents, torch.full((len(seen),), label)))
    training = _some(pool, len(seen), seed)
    called, right = (
        in_batches(judge.network().probabilities_of, torch.from_numpy(what)).argmax(1)
        for what in (made, seen)
    )
    shares = torch.bincount(called, minlength=model.classes).double() / len(called)
    return {
        "accuracy": float(shares[label]),
        "real": float((right == label).double().mean()),
        "frechet": frechet(seen, made),
        "floor": frechet(seen, judge.features(training[:][0])),
    } | {f"called {i}": float(share) for i, share in enumerate(shares)}


def corruption_score(features: str, kind: str, strength: float) -> dict[str, float]:
    """Fréchet distance of spoiled training images from clean test images.

    features: ``trained`` on 10,000 images, or ``untrained`` on 1,000. kind: a corruption, or
    ``samples`` of the standard run instead of training images.
    """
    count = judge.count() if features == "trained" else min(TOY_COUNT, judge.count())
    if kind == "samples":
        made = sampled("conv16", "prior", seed=0)[:count]
    else:
        clean = _some(data.load("train"), count, seed=0)[:][0]
        made = corruptions.corrupted(clean, kind, strength)
    if features == "trained":
        return {"frechet": judge.distance(made)}
    network = build_untrained().eval()
    real = in_batches(network, _some(data.load("test"), count, seed=0)[:][0]).numpy()
    return {"frechet": frechet(real, in_batches(network, made).numpy())}


def size_bias(made: str, size: int, seed: int) -> dict[str, float]:
    """The Fréchet distance of only ``size`` images from all test images.

    made: ``conv16`` for its prior samples, or ``training images``.
    """
    features = _sample_features(made, "real" if made == "training images" else "prior", 0)
    chosen = np.random.default_rng(seed).permutation(len(features))[:size]
    return {"frechet": frechet(judge.reference(), features[chosen])}


def frozen_quality(sigma: float, seed: int) -> dict[str, float]:
    """Samples of the standard run from z ~ N(0, σ²I): 10,000 of them, diversity of 1,000."""
    model = runs.trained("conv16").model
    made = latent.decode(model, latent.frozen(judge.count(), model.latent, sigma, seed))
    features = judge.features(made)
    probabilities = in_batches(judge.network().probabilities_of, torch.from_numpy(features))
    return {
        "diversity": diversity(made[:DIVERSITY_COUNT])[0],
        "sharpness": float(sharpness(made).mean()),
        "confidence": float(probabilities.max(1).values.double().mean()),
        "frechet": frechet(judge.reference(), features),
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


def coding(coder: str, setting: float) -> dict[str, float]:
    """What a coder of pictures takes and keeps, on 2,000 test images, see ``coded``.

    ``bits`` per pixel with their standard error ``error``, and ``decibels`` of signal to noise; of
    JPEG also ``files``, bits per pixel with its headers. PNG keeps everything.
    """
    images = data.load("test").subset(slice(CODED_IMAGES))
    made, bits = coded(coder, setting)
    row = {
        "bits": float(bits.double().mean()) / PIXELS,
        "error": float(bits.double().std()) / PIXELS / math.sqrt(len(images)),
    }
    if coder == "JPEG":
        _, files, _ = compression.jpeg(images.images, int(setting))
        row["files"] = float(files.double().mean()) / PIXELS
    if coder != "PNG":
        row["decibels"] = compression.psnr(float((made - images[:][0]).square().mean()))
    return row


def coded(coder: str, setting: float) -> tuple[Tensor, Tensor]:
    """The first 2,000 test images as they arrive ``(N, 1, 28, 28)``, and the bits of each ``(N,)``.

    coder: a VAE of the book or ``64 components``, linear ones, with ``setting`` as its rounding
    step; ``JPEG`` without its headers, with its quality; or ``PNG``, which has no setting.
    """
    images = data.load("test").subset(slice(CODED_IMAGES))
    if coder == "PNG":
        return images[:][0], compression.png_bits(images.images)
    if coder == "JPEG":
        made, _, scans = compression.jpeg(images.images, int(setting))
        return made, scans
    if coder == LINEAR:
        mean, directions = latent.principal_directions(data.load("train"), COMPONENTS)
        codes, bits = _coder(coder).quantize((images[:][0].flatten(1) - mean) @ directions, setting)
        return (codes @ directions.T + mean).clamp(0, 1).view(images[:][0].shape), bits
    model = runs.trained(coder).model
    codes, bits = _coder(coder).quantize(latent.encode(model, images)[0], setting)
    return latent.decode(model, codes), bits


@lru_cache(maxsize=4)
def _coder(name: str) -> compression.Coder:
    known = data.load("train").subset(slice(10_000))
    if name == LINEAR:
        mean, directions = latent.principal_directions(data.load("train"), COMPONENTS)
        return compression.coder((known[:][0].flatten(1) - mean) @ directions)
    return compression.coder(*latent.encode(runs.trained(name).model, known))


def probe(features: str, labels: int, seed: int) -> dict[str, float]:
    """Test accuracy of simple classifiers of what a representation tells, from so many labels.

    features: ``μ`` of the best convolutional model, 16 numbers; that of the same network
    ``untrained``; as many ``PCA`` components; or all ``pixels``. ``linear`` is logistic regression,
    ``neighbours`` the vote of five. The labelled images are as many of each class.
    """
    known, test = data.load("train").balanced(labels, seed), data.load("test")
    codes, mine = (_features_of(features, part) for part in (known, test))
    five = neighbour_accuracy(codes, known.labels, mine, test.labels, k=5)
    return {
        "linear": float(linear_accuracy(codes, known.labels, mine, test.labels).mean()),
        "neighbours": float(five.mean()),
    }


def _features_of(name: str, images: data.ImageDataset) -> Tensor:
    if name == "pixels":
        return images[:][0].flatten(1)
    if name == "PCA":
        mean, directions = latent.principal_directions(data.load("train"), runs.RUNS[PROBED].latent)
        return (images[:][0].flatten(1) - mean) @ directions
    one = runs.trained(PROBED)
    model = one.model if name == "μ" else runs.build(one.run).eval()
    return latent.encode(model, images)[0]


# --- the ingredients ----------------------------------------------------------------------------


def sampled(run: str, sampler: str, seed: int) -> Tensor:
    """As many images ``(N, 1, 28, 28)`` as there are test images, from that run and sampler.

    Of a conditional run, as many of each class.
    """
    model = runs.trained(run).model
    latents = make_sampler(run, sampler)(judge.count(), torch.Generator().manual_seed(seed))
    return latent.decode(model, latents, latent.labels_for(model, len(latents)))


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
        return judge.features(_some(data.load("train"), judge.count(), seed)[:][0])
    return judge.features(sampled(run, sampler, seed))


def _some(images: data.ImageDataset, count: int, seed: int) -> data.ImageDataset:
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return images.subset(order[:count])


# --- tables -------------------------------------------------------------------------------------


def _seeds() -> range:
    return range(2 if settings().smoke else 3)


def _probe_configurations() -> Iterable[dict]:
    every = len(data.load("train"))
    return [
        {"features": features, "labels": labels, "seed": seed}
        for features in ("μ", "PCA", "pixels", "untrained")
        for labels in ((100, 200) if settings().smoke else (*PROBE_LABELS, every))
        for seed in (_seeds() if labels < every else (0,))
    ]


def _sample_configurations() -> Iterable[dict]:
    names = dict.fromkeys((*VAES, "autoencoder16", *MODELS))
    pairs = [("training images", "real"), *((name, "prior") for name in names)]
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
    table.name: table
    for table in (
        Table(
            "models",
            COMMAND,
            model_scores,
            lambda: [{"run": name} for name in MODELS],
            lambda configuration: (configuration["run"],),
        ),
        Table(
            "speed",
            COMMAND,
            training_time,
            lambda: [{"run": name} for name in MODELS],
            lambda configuration: (configuration["run"],),
        ),
        Table("samples", COMMAND, sample_quality, _sample_configurations, _sample_runs),
        Table(
            "classes",
            COMMAND,
            class_samples,
            lambda: [
                {"label": label, "seed": seed}
                for label in range(len(data.FASHION_CLASSES))
                for seed in _seeds()
            ],
            lambda _: ("conditional2", "classifier"),
        ),
        Table(
            "corruptions",
            COMMAND,
            corruption_score,
            _corruption_configurations,
            lambda _: ("conv16", "classifier"),
        ),
        Table(
            "sizes",
            COMMAND,
            size_bias,
            lambda: [
                {"made": made, "size": size, "seed": seed}
                for made in ("conv16", "training images")
                for size in SIZES
                for seed in _seeds()
            ],
            lambda _: ("conv16", "classifier"),
        ),
        Table(
            "frozen",
            COMMAND,
            frozen_quality,
            lambda: [{"sigma": sigma, "seed": seed} for sigma in SIGMAS for seed in _seeds()],
            lambda _: ("conv16", "classifier"),
        ),
        Table(
            "compression",
            COMMAND,
            coding,
            lambda: [
                {"coder": coder, "setting": setting}
                for coder, many in CODERS.items()
                for setting in many
            ],
            lambda configuration: tuple({configuration["coder"]} & runs.RUNS.keys()),
        ),
        Table(
            "probes",
            COMMAND,
            probe,
            _probe_configurations,
            lambda configuration: (PROBED,) * (configuration["features"] == "μ"),
        ),
        Table(
            "likelihood",
            COMMAND,
            likelihood,
            lambda: [{"part": part} for part in range(2 if settings().smoke else LIKELIHOOD_ROWS)],
            lambda _: ("conv16",),
        ),
    )
}


def measured(name: str) -> list[dict]:
    """The rows of the table of that name, see ``tables.measured``; KeyError where there is none."""
    return tables.measured(find_table(name))


def check(name: str, **configuration) -> dict:
    """One row of the table of that name, measured again here, see ``tables.check``."""
    return tables.check(find_table(name), **configuration)


def measure(name: str) -> Path:
    """Make what is missing or stale of the table of that name; return its file."""
    return FILES[name]() if name in FILES else tables.measure(find_table(name))


def find_table(name: str) -> Table:
    """The table of that name, measured here or swept. Raises KeyError where there is none."""
    known = TABLES | sweeps.TABLES
    if name not in known:
        raise KeyError(f"no table {name!r}; choose one of {', '.join(known)}")
    return known[name]


def embedded() -> tuple[Tensor, dict[str, Tensor]]:
    """μ of the standard run for the first test images ``(N, d)``, and its stored embeddings.

    Raises ResultError where they are missing or belong to other codes.
    """
    now, path = settings(), _embeddings_path()
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


def _embed() -> Path:
    path, of = _embeddings_path(), _embedding_digest()
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


def _embeddings_path() -> Path:
    return tables.folder() / f"{EMBEDDINGS}.safetensors"


def _encode() -> Path:
    """Measure the codes that the explorer shows, see ``export.scripts``; return their file.

    Of the map, μ ``(N, 2)`` and labels ``(N,)`` of test images. Of each model of ten dimensions,
    the first test image of each class and its μ; the mean and standard deviation of the aggregate
    posterior; and the mean KL in nats, ``(10,)`` each.
    """
    models, test = {name: runs.trained(name).model for name in export.RUNS}, data.load("test")
    path = export.codes_path(settings().assets)
    of = {"of": export.models_digest(settings().assets), "data": test.digest, "mapped": MAPPED}
    if path.exists() and of.items() <= load_tensors(path)[1].items():
        return path
    some = test.subset(slice(MAPPED))
    made = {
        f"{export.MAP}.codes": latent.encode(models[export.MAP], some)[0].half(),
        f"{export.MAP}.labels": some.labels.byte(),
    }
    firsts = [int((test.labels == label).nonzero()[0, 0]) for label in test.labels.unique()]
    for name in export.TEN:
        mu, log_var = latent.encode(models[name], test)
        posterior = latent.aggregate(models[name], test)
        summary = {
            "codes": mu[firsts],
            "mean": posterior.mean(0),
            "deviation": posterior.std(0),
            "kl": kl_per_dimension(mu, log_var).mean(0),
        }
        made |= {f"{name}.{what}": values.half() for what, values in summary.items()}
        made[f"{name}.images"] = test.images[firsts]
    command = f"{COMMAND} {export.CODES}"
    head = of | {"classes": test.classes, "command": command, "versions": versions()}
    save_tensors(path, made, head)
    return path


FILES = {EMBEDDINGS: _embed, export.CODES: _encode}  # tables of another form
