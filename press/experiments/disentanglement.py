"""Whether single dimensions of a code tell single factors that garments were drawn from."""

import torch

from press.experiments.common import from_seeds
from press.experiments.trained import train_row
from press.images import drawing
from press.runs import DENSE, Run, build
from press.stored import Table
from vae_helpers import latent
from vae_helpers.garments import FACTORS, LEVELS, sample_factors
from vae_helpers.metrics.disentanglement import dci, mutual_information_gap

TRAVERSED = (0.5, 1.0, 4.0)
CODES = tuple(f"β = {beta:g}" for beta in TRAVERSED)


def disentangled(book, codes: str, seed: int) -> dict[str, float]:
    """MIG and DCI of codes of 2,000 garments that no model was trained on.

    codes: ``β = 0.5`` …, a sample of a VAE's posterior, as its decoder sees it: a dimension that
    is switched off is noise. For comparison ``random``, the means of an encoder that was never
    trained, or ``PCA``, the first ten principal components of the pixels.
    """
    images, test = (book.images(split, "garments") for split in ("train", "test"))
    if codes == "PCA":
        pixels = images[:][0].flatten(1).double()
        _, directions = torch.linalg.eigh(pixels.T.cov())  # ascending
        found = (test[:][0].flatten(1) - pixels.mean(0)) @ directions[:, -10:]
    elif codes == "random":
        found, _ = latent.encode(build(_of_codes("β = 1", seed)), test)
    else:
        found = latent.aggregate(train_row(book, _of_codes(codes, seed)).model, test, seed)
    found = found.double().numpy()
    factors = sample_factors(*drawing("test", "garments", book.settings))
    return {"mig": mutual_information_gap(found, factors)} | dci(
        found, factors, categories=tuple(FACTORS.index(name) for name in LEVELS)
    )


def _of_codes(codes: str, seed: int) -> Run | None:
    """The run whose codes these are, where there is one."""
    if not codes.startswith("β"):
        return None
    size = {**DENSE, "latent": 10, "dataset": "garments"}
    return Run("disentanglement", **size, beta=float(codes[4:]), seed=seed)


def _codes(book) -> list[dict]:
    return [*from_seeds(3, codes=(*CODES, "random"))(book), {"codes": "PCA", "seed": 0}]


TABLES = (Table("disentanglement", disentangled, _codes, trains=_of_codes, dataset="garments"),)
