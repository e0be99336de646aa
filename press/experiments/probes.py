"""What simple classifiers read off representations of images, from few labels or all."""

from torch import Tensor

from press.experiments.common import MEASURE, crossed, principal, seeds
from press.runs import RUNS, build
from press.stored import Table
from vae_helpers import latent
from vae_helpers.data import ImageDataset
from vae_helpers.metrics.posterior import linear_accuracy, neighbour_accuracy
from vae_helpers.models import VAE

PROBED = "conv16-one-cycle"
PROBE_LABELS = (100, 1_000, 10_000)


def probe(book, features: str, labels: int, seed: int) -> dict[str, float]:
    """Test accuracy of simple classifiers of what a representation tells, from so many labels.

    features: ``μ`` of the best convolutional model, 16 numbers; that of the same network
    ``untrained``; as many ``PCA`` components; or all ``pixels``. ``linear`` is logistic regression,
    ``neighbours`` the vote of five. The labelled images are as many of each class.
    """
    pool, test = book.images("train"), book.images("test")
    model = book.experiment(PROBED).model if features == "μ" else build(RUNS[PROBED])
    known = pool.balanced(labels, seed)
    codes, mine = (_features(features, model, pool, images) for images in (known, test))
    five = neighbour_accuracy(codes, known.labels, mine, test.labels, k=5)
    return {
        "linear": float(linear_accuracy(codes, known.labels, mine, test.labels).mean()),
        "neighbours": float(five.mean()),
    }


def _features(name: str, model: VAE, pool: ImageDataset, images: ImageDataset) -> Tensor:
    if name == "pixels":
        return images[:][0].flatten(1)
    if name == "PCA":
        mean, directions = principal(pool, model.latent)
        return (images[:][0].flatten(1) - mean) @ directions
    return latent.encode(model, images)[0]


def _configurations(book) -> list[dict]:
    features, every = ("μ", "PCA", "pixels", "untrained"), len(book.images("train"))
    few = crossed(labels=(100, 200) if book.smoke else PROBE_LABELS, seed=seeds(book))
    many = [] if book.smoke else [{"labels": every, "seed": 0}]
    return [{"features": name} | one for name in features for one in few + many]


TABLES = (
    Table(
        *("probes", MEASURE, probe, _configurations),
        runs=lambda configuration: (PROBED,) * (configuration["features"] == "μ"),
    ),
)
