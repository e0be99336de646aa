"""Samples of one class from the conditional model: whether they are what was asked for."""

import torch

from press import fid
from press.experiments.common import MEASURE, crossed, seeds, some
from press.stored import Table
from vae_helpers import latent
from vae_helpers.classifier import in_batches
from vae_helpers.metrics.frechet import frechet


def class_samples(book, label: int, seed: int) -> dict[str, float]:
    """What the classifier calls samples of a class, and how far off they are.

    As many as there are test images of the class; ``called 0`` … are the shares of the answers.
    For comparison, ``real`` is the share of the test images that are recognized, and ``floor`` the
    distance of as many training images from the test images.
    """
    model, classifier = book.experiment("conditional2").model, book.classifier
    seen, pool = fid.reference(book), book.images("train")
    if not book.smoke:  # whose classes have fewer images than the classifier has features
        seen, pool = seen[(book.images("test").labels == label).numpy()], pool.only([label])
    latents = latent.frozen(len(seen), model.latent, 1.0, seed)
    samples = latent.decode(model, latents, torch.full((len(seen),), label))
    made = fid.features(book, samples)
    floor = fid.features(book, some(pool, len(seen), seed)[:][0])
    called, right = (
        in_batches(classifier, torch.from_numpy(what), "probabilities_of").argmax(1)
        for what in (made, seen)
    )
    shares = torch.bincount(called, minlength=model.classes).double() / len(called)
    return {
        "accuracy": float(shares[label]),
        "real": float((right == label).double().mean()),
        "frechet": frechet(seen, made),
        "floor": frechet(seen, floor),
    } | {f"called {i}": float(share) for i, share in enumerate(shares)}


TABLES = (
    Table(
        *("classes", MEASURE, class_samples),
        lambda book: crossed(label=range(10), seed=seeds(book)),
        runs=lambda configuration: ("conditional2", "classifier"),
    ),
)
