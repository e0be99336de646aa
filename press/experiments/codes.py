"""What the explorer's page must know of the encoders: where garments lie in their latent spaces."""

from pathlib import Path

from press.checkpoints import checkpoint_path
from press.experiments.common import MEASURE
from press.files import versions
from press.settings import Settings
from vae_helpers import latent
from vae_helpers.files import digest_json, load_tensors, save_tensors
from vae_helpers.losses import kl_per_dimension

MAP = "dense2"
TEN = ("dense10-beta-0.5", "dense10", "dense10-beta-4")
CONDITIONAL = "conditional2"
RUNS = (MAP, *TEN, CONDITIONAL)
MAPPED = 1_500  # test images whose codes the map shows
COMMAND = f"{MEASURE} codes"


def make(book) -> Path:
    """Make the codes that the explorer shows where they are missing or stale; return their file.

    Of the map, μ ``(N, 2)`` and labels ``(N,)`` of test images. Of each model of ten dimensions,
    the first test image of each class and its μ; the mean and standard deviation of the aggregate
    posterior; and the mean KL in nats, ``(10,)`` each.
    """
    models, test = {name: book.experiment(name).model for name in RUNS}, book.images("test")
    path, of = codes_path(book.settings), models_digest(book.settings)
    rests_on = {"of": of, "data": test.digest, "mapped": MAPPED}
    if path.exists() and rests_on.items() <= load_tensors(path)[1].items():
        return path
    few = test.subset(slice(MAPPED))
    made = {
        f"{MAP}.codes": latent.encode(models[MAP], few)[0].half(),
        f"{MAP}.labels": few.labels.byte(),
    }
    firsts = [int((test.labels == label).nonzero()[0, 0]) for label in test.labels.unique()]
    for name in TEN:
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
    head = {"classes": test.classes, "command": COMMAND, "versions": versions()}
    save_tensors(path, made, rests_on | head)
    return path


def codes_path(settings: Settings) -> Path:
    """Where the codes lie."""
    return settings.assets / "results" / "tables" / "codes.safetensors"


def models_digest(settings: Settings) -> str:
    """A digest of the explorer's models, which their codes carry. Raises CheckpointError."""
    paths = [checkpoint_path(run, settings) for run in RUNS]
    return digest_json([load_tensors(path)[1]["weights"] for path in paths])
