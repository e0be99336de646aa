"""Classifiers that learn from few labels, with all other images seen without, or not at all."""

from press.checkpoints import Experiment
from press.experiments.common import crossed, seeds
from press.experiments.semi_supervised import label_loss
from press.experiments.trained import swept, train
from press.runs import ONE_CYCLE, Run
from vae_helpers.training import evaluate

FEW_LABELS = {100: 100.0, 1_000: 10.0}  # labels → their weight in M2, by held-out images
LABEL_METHODS = ("labels alone", "M2")
STEPS = 1_500  # of a classifier on these labels alone


def few_labels(book, labels: int, method: str, seed: int) -> dict[str, float]:
    """Test accuracy of what was learned."""
    return {"accuracy": accuracy(train(book, of_few_labels(labels, method, seed)))}


def accuracy(one: Experiment) -> float:
    """The share of test images that a classifier names right."""
    errors = evaluate(one.model, one.test, loss=label_loss)["error"]
    return 1 - float(errors.double().mean())


def of_few_labels(labels: int, method: str, seed: int) -> Run:
    """M2, or the classifier that is a part of it alone."""
    size = {"body": "dense", "latent": 16, "labelled": labels, "seed": seed}
    if method == "M2":
        size |= {"kind": "semi-supervised", "label_weight": FEW_LABELS[labels]}
        return Run("few-labels", epochs=10, **size, **ONE_CYCLE)
    epochs = STEPS * 50 // labels
    return Run("few-labels", kind="supervised", batch_size=50, epochs=epochs, **size)


TABLES = (
    swept(
        "few-labels",
        lambda book: crossed(labels=FEW_LABELS, method=LABEL_METHODS, seed=seeds(book)),
        of_few_labels,
        few_labels,
        judged=False,
    ),
)
