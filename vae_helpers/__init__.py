"""Variational autoencoders for images of any size, in functions that read like the equations.

What is most often needed stands here, as ``vae_helpers.fit``; the rest in its modules, as
``vae_helpers.losses``. Either is imported when it is first asked for: ``import vae_helpers`` costs
nothing. Nothing prints but the bar of ``fit``. What cannot be done raises a ``VaeError`` or, for a
wrong argument, ValueError.
"""

from importlib import import_module

_EXPORTS = {
    "classifier": "",
    "data": "ImageDataset fashion_mnist from_array from_csv mnist",
    "errors": "CheckpointError DataError TrainingError VaeError WriteError",
    "figures": "",
    "files": "",
    "films": "",
    "garments": "",
    "latent": "decode encode interpolate traverse",
    "losses": "elbo_terms",
    "metrics": "",
    "metrics.differences": "Estimate estimate",
    "models": "VAE build_vae",
    "training": "History autoencoder_loss best_device evaluate fit vae_loss",
}
_HOMES = {name: module for module, names in _EXPORTS.items() for name in names.split()}
__all__ = sorted([*_HOMES, *(module for module in _EXPORTS if "." not in module)])


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
