"""Maps of the standard run's codes in two dimensions."""

import warnings
from pathlib import Path

import torch
from torch import Tensor

from press.code import code_digest
from press.files import kept, versions
from press.images import data_digest
from vae_helpers import latent
from vae_helpers.files import digest_json, load_tensors, save_tensors

EMBEDDED = 2_000  # test images in a picture
COMMAND = "python -m press measure embeddings"


def embeddings(codes: Tensor, seed: int = 0) -> dict[str, Tensor]:
    """t-SNE and UMAP of codes ``(N, d)``, ``(N, 2)`` each: slow, and not the same everywhere.

    van der Maaten & Hinton 2008; McInnes et al. 2018.
    """
    from sklearn.manifold import TSNE

    with warnings.catch_warnings():
        # umap-learn's bars look for widgets that no one here wants.
        warnings.simplefilter("ignore")
        from umap import UMAP
    methods = {"t-SNE": TSNE(random_state=seed), "UMAP": UMAP(random_state=seed, n_jobs=1)}
    maps = {name: method.fit_transform(codes.numpy()) for name, method in methods.items()}
    return {name: torch.from_numpy(points).half() for name, points in maps.items()}


def embedded(book) -> tuple[Tensor, dict[str, Tensor]]:
    """μ of the standard run for the first test images ``(N, d)``, and its stored embeddings.

    Raises ResultError where they are missing or belong to other codes.
    """
    maps, _ = load_tensors(make(book))
    return _codes(book), {name: maps[name].float() for name in ("t-SNE", "UMAP")}


def make(book) -> Path:
    """The file of the embeddings, see ``kept``."""
    data = data_digest("test", "fashion-mnist", book.settings)
    of = digest_json([book.experiment("conv16").digest, data, code_digest(_maps)])

    def write(path: Path) -> None:
        save_tensors(path, _maps(book), {"of": of, "command": COMMAND, "versions": versions()})

    path = book.settings.tables / "embeddings.safetensors"
    return kept(path, of, make=write, remedy=COMMAND, settings=book.settings)


def _codes(book) -> Tensor:
    few = book.images("test").subset(slice(300 if book.smoke else EMBEDDED))
    return latent.encode(book.experiment("conv16").model, few)[0]


def _maps(book) -> dict[str, Tensor]:
    return embeddings(_codes(book))
