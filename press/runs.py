"""Every trained model of the book, by name: a run is a value, and here are all of them."""

import json
import math
from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, fields, replace
from functools import partial

from torch import nn

from press.experiments.semi_supervised import build_m2, label_loss, m2_loss
from press.images import DATASETS, class_count, images
from press.settings import Settings
from vae_helpers.classifier import build_classifier, classifier_loss
from vae_helpers.data import ImageDataset
from vae_helpers.losses import LIKELIHOODS, cyclical, linear_warmup
from vae_helpers.models import build_vae
from vae_helpers.training import SCHEDULES, autoencoder_loss, vae_loss

LOSSES = {
    "vae": vae_loss,
    "autoencoder": autoencoder_loss,
    "classifier": classifier_loss,
    "semi-supervised": m2_loss,
    "supervised": label_loss,
}
ANNEALING = {
    "constant": lambda beta: lambda progress: beta,
    "linear": partial(linear_warmup, share=0.5),
    "cyclical": cyclical,
}
# Fields that only some kinds of run have; elsewhere they would be recorded, and do nothing.
ONLY_OF = {
    "likelihood": ("vae",),
    "free_bits": ("vae",),
    "conditional": ("vae",),
    "filmed": ("vae",),
    "beta": ("vae", "semi-supervised"),
    "annealing": ("vae", "semi-supervised"),
    "label_weight": ("semi-supervised",),
}


@dataclass(frozen=True)
class Run:
    """One training, as a value: everything that decides its result but the data's bytes.

    kind: ``vae``, ``autoencoder``, ``classifier`` (whose code is the features of its last layer),
    ``semi-supervised`` (M2), or ``supervised``, which trains the classifier of M2 alone.
    dataset: what ``images`` calls it.
    classes: those that are trained on and watched; all of them where none are named.
    conditional: labels go into encoder and decoder.
    likelihood: see ``losses.reconstruction_nll``. beta: its final value.
    annealing: the way there, ``constant``, ``linear`` over half of training, or ``cyclical``.
    free_bits: nats of KL a dimension that cost nothing.
    filmed: keep frames of the latent space of two dimensions along the way, see ``checkpoints``.
    train_share: below 1, that share of the training images is trained on and the rest validates.
    labelled: above 0, only so many labels are known, as many of each class; all that a run sees
    of the training images, but for ``semi-supervised`` ones, which see the others without.
    label_weight: what a nat of their cross-entropy counts there, see ``semi_supervised.m2_loss``.

    Raises ValueError for a value that does not exist, or that a run of this kind would ignore.
    """

    name: str
    body: str
    latent: int
    epochs: int
    kind: str = "vae"
    dataset: str = "fashion-mnist"
    classes: tuple[str, ...] = ()
    conditional: bool = False
    filmed: bool = False
    lr: float = 1e-3
    schedule: str = "constant"
    likelihood: str = "bernoulli"
    beta: float = 1.0
    annealing: str = "constant"
    free_bits: float = 0.0
    batch_size: int = 128
    train_share: float = 1.0
    labelled: int = 0
    label_weight: float = 0.0
    seed: int = 42

    def __post_init__(self):
        for name, choices in CHOICES.items():
            if (value := getattr(self, name)) not in choices:
                raise ValueError(f"no {name} {value!r}; choose one of {', '.join(choices)}")
        for name in ("latent", "epochs", "batch_size", "lr"):
            if not (value := getattr(self, name)) > 0:
                raise ValueError(f"{name}={value}; give more than 0")
            if name != "lr" and value != int(value):
                raise ValueError(f"{name}={value}; give a whole number")
        for name, kinds in ONLY_OF.items():
            if self.kind not in kinds and getattr(self, name) != DEFAULTS[name]:
                raise ValueError(f"a run of kind {self.kind!r} has no {name}; leave it out")
        if self.filmed and (self.latent != 2 or not self.classes):
            raise ValueError("a film shows two dimensions and its classes; give latent=2, classes")
        if self.kind == "semi-supervised" and not self.labelled:
            raise ValueError("a semi-supervised run learns from labels; give labelled")


CHOICES = {
    "kind": LOSSES,
    "dataset": DATASETS,
    "schedule": SCHEDULES,
    "annealing": ANNEALING,
    "likelihood": LIKELIHOODS,
}
DEFAULTS = json.loads(
    json.dumps({one.name: one.default for one in fields(Run) if one.default is not MISSING})
)
ONE_CYCLE = {"lr": 4e-3, "schedule": "one-cycle"}
DENSE = {"body": "dense", "epochs": 30, **ONE_CYCLE}
FILMED = {"body": "conv", "latent": 2, "epochs": 20, "filmed": True, **ONE_CYCLE} | {
    "classes": ("T-shirt/top", "Trouser", "Sneaker")
}
RUNS = {
    run.name: run
    for run in (
        Run("conv16", body="conv", latent=16, epochs=25),
        Run("conv16-one-cycle", body="conv", latent=16, epochs=25, **ONE_CYCLE),
        Run("dense20-validated", body="dense", latent=20, epochs=30, train_share=0.9),
        Run("beta-0.1", **FILMED, beta=0.1),
        Run("beta-0.5", **FILMED, beta=0.5),
        Run("beta-1", **FILMED),
        Run("dense2", **DENSE, latent=2),
        Run("conv16-validated", body="conv", latent=16, epochs=25, train_share=0.9),
        Run(
            "autoencoder16",
            body="conv",
            latent=16,
            epochs=25,
            kind="autoencoder",
            train_share=0.9,
        ),
        Run(
            "classifier",
            body="resnet18",
            latent=128,
            epochs=20,
            kind="classifier",
            lr=2e-3,
            schedule="one-cycle",
            train_share=0.95,
        ),
        Run("dense2-beta-0.5", **DENSE, latent=2, beta=0.5),
        Run("dense10-beta-0.5", **DENSE, latent=10, beta=0.5),
        Run("dense10", **DENSE, latent=10),
        Run("dense10-beta-4", **DENSE, latent=10, beta=4.0),
        Run("conditional2", **DENSE, latent=2, conditional=True),
        Run("conv2-beta-0.5", body="conv", latent=2, epochs=12, **ONE_CYCLE, beta=0.5),
        # Its body, rate and size were chosen on held-out training images.
        Run("residual32", body="residual", latent=32, epochs=40, lr=2e-3, schedule="one-cycle"),
        Run(
            "deep-conv-mse",
            body="deep-conv",
            latent=2,
            epochs=10,
            **ONE_CYCLE,
            likelihood="mean-squared-error",
            beta=0.001,
            batch_size=512,
        ),
        # The same objective with the KL at its full weight: what a mean over pixels does to β = 1.
        Run("collapsed", body="conv", latent=10, epochs=5, likelihood="mean-squared-error"),
        Run("mnist-dense2", body="dense", latent=2, epochs=20, dataset="mnist"),
    )
}


def find_run(name: str, settings: Settings) -> Run:
    """The run of that name, in the smoke profile shortened to one epoch. Raises KeyError."""
    if name not in RUNS:
        raise KeyError(f"no run {name!r}; choose one of {', '.join(RUNS)}")
    return shortened(RUNS[name], settings)


def shortened(run: Run, settings: Settings) -> Run:
    """The run itself, or in the smoke profile one epoch of it, of a hundred labels at most."""
    return replace(run, epochs=1, labelled=min(run.labelled, 100)) if settings.smoke else run


def settled(run: Run) -> dict:
    """What decides the run's result, as JSON; fields at their defaults are left out."""
    # So a new field changes no old run's digest.
    values = json.loads(json.dumps(asdict(run)))
    return {key: value for key, value in values.items() if DEFAULTS.get(key, ...) != value}


def build(run: Run) -> nn.Module:
    """The run's model before training."""
    if run.kind == "classifier":
        return build_classifier(run.latent, run.seed)
    classes = class_count(run.dataset)
    if run.kind in ("semi-supervised", "supervised"):
        return build_m2(run.body, run.latent, classes, run.seed)
    return build_vae(
        run.body,
        run.latent,
        seed=run.seed,
        variational=run.kind == "vae",
        classes=classes if run.conditional else 0,
    )


def training_images(run: Run, settings: Settings) -> tuple[ImageDataset, ImageDataset | None]:
    """The images that run learns from, and those that it holds out, if any."""
    found = _of_classes(run, images("train", run.dataset, settings))
    if run.labelled and run.kind != "semi-supervised":
        found = found.balanced(run.labelled, run.seed)
    return found.split(run.train_share, run.seed) if run.train_share < 1 else (found, None)


def test_images(run: Run, settings: Settings) -> ImageDataset:
    """The test images of the run's dataset and classes."""
    return _of_classes(run, images("test", run.dataset, settings))


test_images.__test__ = False  # pytest shall not take it for a test


def _of_classes(run: Run, found: ImageDataset) -> ImageDataset:
    return found.only(run.classes) if run.classes else found


def loss_of(run: Run, settings: Settings) -> Callable:
    """The loss that ``fit`` is to minimize for that run."""
    if run.kind == "vae":
        return partial(vae_loss, likelihood=run.likelihood, free_bits=run.free_bits)
    if run.kind == "semi-supervised":
        known = images("train", run.dataset, settings).balanced(run.labelled, run.seed)
        return partial(m2_loss, labelled=known, weight=run.label_weight)
    return LOSSES[run.kind]


def recipe(run: Run, settings: Settings) -> dict:
    """How ``fit`` is to train the run's model: its loss, β, rate, order and length."""
    return {
        "loss": loss_of(run, settings),
        "beta": ANNEALING[run.annealing](run.beta),
        "epochs": run.epochs,
        "batch_size": run.batch_size,
        "lr": run.lr,
        "schedule": run.schedule,
        "seed": run.seed,
    }


def steps_an_epoch(run: Run, found: ImageDataset) -> int:
    """How many batches the run makes of its training images."""
    return math.ceil(len(found) / run.batch_size)


def work(run: Run, settings: Settings) -> int:
    """Floating-point operations that training the run takes: what to expect of its length."""
    from torch.utils.flop_counter import FlopCounterMode  # brings a compiler along

    found, _ = training_images(run, settings)
    with FlopCounterMode(display=False) as counted:
        terms = loss_of(run, settings)(build(run), *found[:2])
        terms["total"].mean().backward()
    return counted.get_total_flops() // 2 * len(found) * run.epochs
