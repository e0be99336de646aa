"""Every trained model of the book, by name: a run is a value, and here are all of them."""

import json
import math
from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, fields, replace
from functools import partial

from torch import nn

from press.images import CLASSES, DATASETS, images
from press.semi_supervised import M2, label_loss, m2_loss
from press.settings import Settings
from vae_helpers.classifier import build_classifier, classifier_loss
from vae_helpers.data import ImageDataset
from vae_helpers.losses import LIKELIHOODS, cyclical, linear_warmup
from vae_helpers.models import BODIES, build_vae
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
ONLY_OF = dict.fromkeys(("likelihood", "free_bits", "conditional", "filmed"), ("vae",))
ONLY_OF |= dict.fromkeys(("beta", "annealing"), ("vae", "semi-supervised"))
ONLY_OF |= {"label_weight": ("semi-supervised",)}


@dataclass(frozen=True)
class Run:
    """One training, as a value: everything that decides its result but the data's bytes.

    Raises ValueError for a value that does not exist, or that a run of this kind would ignore.
    """

    name: str
    body: str
    latent: int
    epochs: int
    kind: str = "vae"  # or another key of ``LOSSES``; a classifier's latents are its features
    dataset: str = "fashion-mnist"  # what ``images`` calls it
    classes: tuple[str, ...] = ()  # that are trained on and watched; all where none are named
    conditional: bool = False  # labels go into encoder and decoder
    filmed: bool = False  # frames of a latent space of two dimensions are kept along the way
    lr: float = 1e-3
    schedule: str = "constant"
    likelihood: str = "bernoulli"  # see ``losses.reconstruction_nll``
    beta: float = 1.0  # its final value
    annealing: str = "constant"  # the way there; ``linear`` over half of training, or ``cyclical``
    free_bits: float = 0.0  # nats of KL a dimension that cost nothing
    batch_size: int = 128
    train_share: float = 1.0  # of the training images; the others validate
    labelled: int = 0  # so many labels are known; images without are for ``semi-supervised`` alone
    label_weight: float = 0.0  # of a nat of their cross-entropy, see ``semi_supervised.m2_loss``
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
    "body": (*BODIES, "resnet18"),
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
LOWER_CYCLE = {"lr": 2e-3, "schedule": "one-cycle"}
DENSE = {"body": "dense", "epochs": 30, **ONE_CYCLE}
CONV = {"body": "conv", "latent": 16, "epochs": 25}
SQUARED = {"likelihood": "mean-squared-error"}
FILMED = {"body": "conv", "latent": 2, "epochs": 20, "filmed": True, **ONE_CYCLE}
FILMED |= {"classes": ("T-shirt/top", "Trouser", "Sneaker")}
RUNS = {
    run.name: run
    for run in (
        Run("conv16", **CONV),
        Run("conv16-one-cycle", **CONV, **ONE_CYCLE),
        Run("dense20-validated", "dense", latent=20, epochs=30, train_share=0.9),
        Run("beta-0.1", **FILMED, beta=0.1),
        Run("beta-0.5", **FILMED, beta=0.5),
        Run("beta-1", **FILMED),
        Run("dense2", **DENSE, latent=2),
        Run("conv16-validated", **CONV, train_share=0.9),
        Run("autoencoder16", **CONV, kind="autoencoder", train_share=0.9),
        Run("classifier", "resnet18", 128, 20, "classifier", **LOWER_CYCLE, train_share=0.95),
        Run("dense2-beta-0.5", **DENSE, latent=2, beta=0.5),
        Run("dense10-beta-0.5", **DENSE, latent=10, beta=0.5),
        Run("dense10", **DENSE, latent=10),
        Run("dense10-beta-4", **DENSE, latent=10, beta=4.0),
        Run("conditional2", **DENSE, latent=2, conditional=True),
        Run("conv2-beta-0.5", "conv", latent=2, epochs=12, **ONE_CYCLE, beta=0.5),
        # Its body, rate and size were chosen on held-out training images.
        Run("residual32", "residual", latent=32, epochs=40, **LOWER_CYCLE),
        Run("deep-conv-mse", "deep-conv", 2, 10, beta=1e-3, batch_size=512, **SQUARED, **ONE_CYCLE),
        # The same objective with the KL at its full weight: what a mean over pixels does to β = 1.
        Run("collapsed", "conv", latent=10, epochs=5, **SQUARED),
        Run("mnist-dense2", "dense", latent=2, epochs=20, dataset="mnist"),
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
    of_labels = run.kind in ("semi-supervised", "supervised")
    vae = build_vae(
        run.body,
        run.latent,
        seed=run.seed,
        variational=run.kind != "autoencoder",
        classes=CLASSES if run.conditional or of_labels else 0,
    )
    return M2(vae, run.seed) if of_labels else vae


def images_of(run: Run, split: str, settings: Settings) -> ImageDataset:
    """The ``train`` or ``test`` images of the run's dataset and classes."""
    found = images(split, run.dataset, settings)
    return found.only(run.classes) if run.classes else found


def training_images(run: Run, settings: Settings) -> tuple[ImageDataset, ImageDataset | None]:
    """The images that run learns from, and those that it holds out, if any."""
    found = images_of(run, "train", settings)
    if run.labelled and run.kind != "semi-supervised":
        found = found.balanced(run.labelled, run.seed)
    return found.split(run.train_share, run.seed) if run.train_share < 1 else (found, None)


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
    same = ("epochs", "batch_size", "lr", "schedule", "seed")
    how = {"loss": loss_of(run, settings), "beta": ANNEALING[run.annealing](run.beta)}
    return how | {name: getattr(run, name) for name in same}


def steps_an_epoch(run: Run, found: ImageDataset) -> int:
    """How many batches the run makes of its training images."""
    return math.ceil(len(found) / run.batch_size)


def operations(run: Run, settings: Settings) -> int:
    """Floating-point operations that training the run takes: what to expect of its length."""
    from torch.utils.flop_counter import FlopCounterMode  # brings a compiler along

    found, _ = training_images(run, settings)
    with FlopCounterMode(display=False) as counted:
        terms = loss_of(run, settings)(build(run), *found[:2])
        terms["total"].mean().backward()
    return counted.get_total_flops() // 2 * len(found) * run.epochs
