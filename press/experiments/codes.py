"""What the explorer's page must know of the encoders: where garments lie in their latent spaces."""

from pathlib import Path

from torch import Tensor

from press.checkpoints import checkpoint_path
from press.code import code_digest
from press.files import kept, versions
from press.images import data_digest
from press.settings import Settings
from vae_helpers import latent
from vae_helpers.files import digest_json, load_tensors, save_tensors
from vae_helpers.losses import kl_per_dimension

MAP = "dense2"
TEN = ("dense10-beta-0.5", "dense10", "dense10-beta-4")
CONDITIONAL = "conditional2"
RUNS = (MAP, *TEN, CONDITIONAL)
MAPPED = 1_500  # test images whose codes the map shows
COMMAND = "python -m press measure codes"


def make(book) -> Path:
    """The file of the codes that the explorer shows, see ``kept``."""
    for run in RUNS:
        book.experiment(run)  # trained first, where it is missing
    of = codes_digest(book.settings)

    def write(path: Path) -> None:
        how = {"classes": list(book.images("test").classes), "command": COMMAND}
        save_tensors(path, shown(book), {"of": of, "versions": versions(), **how})

    path = codes_path(book.settings)
    return kept(path, of, make=write, remedy=COMMAND, settings=book.settings)


def shown(book) -> dict[str, Tensor]:
    """Of the map, μ ``(N, 2)`` and labels ``(N,)`` of test images. Of each model of ten dimensions,
    the first test image of each class and its μ; the mean and standard deviation of the aggregate
    posterior; and the mean KL in nats, ``(10,)`` each.
    """
    test = book.images("test")
    models = {name: book.experiment(name).model for name in RUNS}
    few = test.subset(slice(MAPPED))
    made = {
        f"{MAP}.codes": latent.encode(models[MAP], few)[0].half(),
        f"{MAP}.labels": few.labels.byte(),
    }
    firsts = [int((test.labels == label).nonzero()[0, 0]) for label in test.labels.unique()]
    for name in TEN:
        mu, log_var = latent.encode(models[name], test)
        posterior = latent.aggregate(models[name], test)
        made[f"{name}.images"] = test.images[firsts]
        made[f"{name}.codes"] = mu[firsts].half()
        made[f"{name}.mean"] = posterior.mean(0).half()
        made[f"{name}.deviation"] = posterior.std(0).half()
        made[f"{name}.kl"] = kl_per_dimension(mu, log_var).mean(0).half()
    return made


def codes_path(settings: Settings) -> Path:
    """Where the codes lie."""
    return settings.tables / "codes.safetensors"


def codes_digest(settings: Settings) -> str:
    """Of the models, images and code that the codes are made from. Raises CheckpointError."""
    paths = [checkpoint_path(run, settings) for run in RUNS]
    weights = [load_tensors(path)[1]["weights"] for path in paths]
    images = data_digest("test", "fashion-mnist", settings)
    return digest_json([weights, images, code_digest(shown)])
