"""Every picture: arrays and tensors in, a ``Figure`` out; captions stand where it is shown.

Figures have a style of their own, whatever matplotlib's settings are, and change none of these.
"""

from vae_helpers.figures.charts import bars, intensities, intervals, matrix, spreads
from vae_helpers.figures.curves import curves, histograms, loss_curves, rate_distortion
from vae_helpers.figures.pictures import image_grid, manifold, picture_grid, picture_rows
from vae_helpers.figures.spaces import data_flow, latent_maps, latent_plane
from vae_helpers.figures.style import COLORS, MARKERS, WIDTH, drawable, png, style

__all__ = [
    "COLORS", "MARKERS", "WIDTH", "bars", "curves", "data_flow", "drawable", "histograms",
    "image_grid", "intensities", "intervals", "latent_maps", "latent_plane", "loss_curves",
    "manifold", "matrix", "picture_grid", "picture_rows", "png", "rate_distortion", "spreads",
    "style",
]  # fmt: skip
