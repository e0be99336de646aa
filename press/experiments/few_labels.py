"""Classifiers that learn from few labels: of pixels or codes, by M2, with a CVAE's samples."""

from dataclasses import replace

import torch
from torch import Tensor

from press.checkpoints import Experiment
from press.experiments.common import crossed, from_seeds, projected, seeds
from press.experiments.trained import swept, train_row
from press.runs import ONE_CYCLE, RUNS, Run, build
from press.semi_supervised import label_loss
from press.stored import Table
from vae_helpers import latent
from vae_helpers.classifier import in_batches
from vae_helpers.data import ImageDataset
from vae_helpers.models import VAE
from vae_helpers.training import evaluate

PROBED = "conv16-one-cycle"
PROBE_LABELS = (100, 1_000, 10_000)
FEW_LABELS = {100: 100.0, 1_000: 10.0}  # labels → their weight in M2, by held-out images
LABEL_METHODS = ("labels alone", "M2")
STEPS = 1_500  # of a classifier on these labels alone


def probe(book, features: str, labels: int, seed: int) -> dict[str, float]:
    """Test accuracy of simple classifiers of what a representation tells, from so many labels.

    features: ``μ`` of the best convolutional model, 16 numbers; that of the same network
    ``untrained``; as many ``PCA`` components; or all ``pixels``. ``linear`` is logistic regression
    on features scaled to mean 0 and deviation 1 (Alain & Bengio 2017 call it a probe);
    ``neighbours`` the vote of five. The labelled images are as many of each class.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pool, test = book.images("train"), book.images("test")
    model = book.experiment(PROBED).model if features == "μ" else build(RUNS[PROBED])
    known = pool.balanced(labels, seed)
    codes, mine = (_features(features, model, pool, images) for images in (known, test))
    five = KNeighborsClassifier(5).fit(codes, known.labels)
    line = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1_000))
    line.fit(codes.numpy(), known.labels.numpy())
    return {
        "linear": float(line.score(mine.numpy(), test.labels.numpy())),
        "neighbours": float(five.score(mine, test.labels)),
    }


def _features(name: str, model: VAE, pool: ImageDataset, images: ImageDataset) -> Tensor:
    if name == "pixels":
        return images[:][0].flatten(1)
    if name == "PCA":
        return projected(images, pool, model.latent)
    return latent.encode(model, images)[0]


def _probed(book) -> list[dict]:
    features, every = ("μ", "PCA", "pixels", "untrained"), len(book.images("train"))
    few = crossed(labels=(100, 200) if book.smoke else PROBE_LABELS, seed=seeds(book))
    many = [] if book.smoke else [{"labels": every, "seed": 0}]
    return [{"features": name} | one for name in features for one in few + many]


def accuracy(book, one: Experiment) -> dict[str, float]:
    """The share of test images that a classifier names right."""
    errors = evaluate(one.model, one.test, loss=label_loss)["error"]
    return {"accuracy": 1 - float(errors.double().mean())}


def _of_few_labels(labels: int, method: str, seed: int) -> Run:
    """M2, or the classifier that is a part of it alone."""
    size = {"body": "dense", "latent": 16, "labelled": labels, "seed": seed}
    if method == "M2":
        size |= {"kind": "semi-supervised", "label_weight": FEW_LABELS[labels]}
        return Run("few-labels", epochs=10, **size, **ONE_CYCLE)
    epochs = STEPS * 50 // labels
    return Run("few-labels", kind="supervised", batch_size=50, epochs=epochs, **size)


SHARES = {600: (300, 100), 6_000: (60, 10)}  # labels → epochs of their CVAE and classifier


def augmentation(book, labels: int, samples: str, seed: int) -> dict[str, float]:
    """Test accuracy of a classifier of few labelled images, without or with a CVAE's samples.

    The CVAE has seen these images alone and adds as many samples, as many of each class; both
    classifiers are trained for about as many steps on what they get, mirrored and shifted.
    ``recognized``: the share of samples that the book's classifier, which knows all labels, calls
    as meant.
    """
    run = _trained(labels, "without", seed)
    if samples == "without":
        return accuracy(book, train_row(book, run))
    cvae = train_row(book, _trained(labels, samples, seed))
    model, images = cvae.model, cvae.images
    meant = torch.arange(len(images)) % model.classes
    made = latent.decode(model, latent.frozen(len(images), model.latent, 1.0, seed), meant)
    called = in_batches(book.classifier, made, "probabilities").argmax(1)
    half = replace(run, epochs=max(1, run.epochs // 2))  # of twice as many: as many steps
    both = ImageDataset(
        torch.cat([images.images, (255 * made).round().byte()]),
        torch.cat([images.labels, meant]),
        images.classes,
        f"{images.name} and as many samples",
    )
    recognized = float((called == meant).double().mean())
    return accuracy(book, train_row(book, half, both)) | {"recognized": recognized}


def _trained(labels: int, samples: str, seed: int) -> Run:
    """The CVAE whose samples are added, or the classifier that does without."""
    of_cvae, of_classifier = SHARES[labels]
    few = {"labelled": labels, "seed": seed}
    if samples == "with":
        return Run("augmentation", "dense", 10, of_cvae, conditional=True, **ONE_CYCLE, **few)
    how = {"kind": "classifier", "lr": 2e-3, "schedule": "one-cycle", "batch_size": 64}
    return Run("augmentation", "resnet18", 64, of_classifier, **how, **few)


def _needs(samples: str, **_) -> tuple[str, ...]:
    return ("classifier",) if samples == "with" else ()


FEW = from_seeds(3, labels=FEW_LABELS, method=LABEL_METHODS)
ADDED = from_seeds(5, labels=SHARES, samples=("without", "with"))
TABLES = (
    Table("probes", probe, _probed, lambda features, **_: (PROBED,) if features == "μ" else ()),
    swept("few-labels", FEW, _of_few_labels, accuracy),
    Table("augmentation", augmentation, ADDED, _needs, _trained),
)
