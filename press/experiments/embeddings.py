"""Maps of the standard run's codes in two dimensions, and how far to trust them."""

import warnings
from pathlib import Path

import torch
from torch import Tensor

from press.experiments.common import MEASURE
from press.files import versions
from press.stored.artefacts import kept
from press.stored.tables import tables_folder
from vae_helpers import latent
from vae_helpers.files import digest_json, load_tensors, save_tensors

METHODS = ("t-SNE", "UMAP")
EMBEDDED = 2_000  # test images in a picture
COMMAND = f"{MEASURE} embeddings"


def embeddings(codes: Tensor, seed: int = 0) -> dict[str, Tensor]:
    """t-SNE and UMAP of codes ``(N, d)``, ``(N, 2)`` each: slow, and not the same everywhere.

    van der Maaten & Hinton 2008; McInnes et al. 2018. Raises ModuleNotFoundError where umap-learn
    is not installed.
    """
    from sklearn.manifold import TSNE

    with warnings.catch_warnings():
        # umap-learn's bars look for widgets that no one here wants.
        warnings.simplefilter("ignore")
        try:
            from umap import UMAP
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("UMAP needs umap-learn: pip install umap-learn") from error
    methods = (TSNE(random_state=seed), UMAP(random_state=seed, n_jobs=1))
    return {
        name: torch.from_numpy(method.fit_transform(codes.numpy())).float()
        for name, method in zip(METHODS, methods, strict=True)
    }


def trustworthiness(codes: Tensor, embedding: Tensor, k: int = 10) -> float:
    """How far neighbours in ``embedding`` ``(N, 2)`` are neighbours of ``codes`` ``(N, d)``, too.

    1 where every embedded neighbour is a true one, ½ for random places (Venna & Kaski 2001).
    """
    from sklearn.manifold import trustworthiness

    return float(trustworthiness(codes.numpy(), embedding.numpy(), n_neighbors=k))


def embedded(book) -> tuple[Tensor, dict[str, Tensor]]:
    """μ of the standard run for the first test images ``(N, d)``, and its stored embeddings.

    Raises ResultError where they are missing or belong to other codes.
    """
    path = kept(
        _path(book),
        _digest(book),
        found=_found,
        make=lambda path: make(book),
        remedy=COMMAND,
        settings=book.settings,
    )
    tensors, _ = load_tensors(path)
    return _codes(book), {name: tensors[name].float() for name in METHODS}


def make(book) -> Path:
    """Make the embeddings where they are missing or stale; return their file."""
    path, of = _path(book), _digest(book)
    if not path.exists() or _found(path) != of:
        made = {name: points.half() for name, points in embeddings(_codes(book)).items()}
        save_tensors(path, made, {"of": of, "command": COMMAND, "versions": versions()})
    return path


def _codes(book) -> Tensor:
    images = book.images("test").subset(slice(300 if book.smoke else EMBEDDED))
    return latent.encode(book.experiment("conv16").model, images)[0]


def _digest(book) -> str:
    return digest_json([book.experiment("conv16").digest, book.images("test").digest, EMBEDDED])


def _path(book) -> Path:
    return tables_folder(book) / "embeddings.safetensors"


def _found(path: Path) -> str:
    return load_tensors(path)[1]["of"]
