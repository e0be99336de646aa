"""Every picture: arrays and tensors in, a ``Figure`` out; captions stand where it is shown.

Figures have a style of their own, whatever matplotlib's settings are, and change none of these.
"""

from vae_helpers.figures.charts import (
    bars,
    curves,
    histograms,
    latent_maps,
    loss_curves,
    matrix,
    name_classes,
)
from vae_helpers.figures.pictures import manifold, picture_grid, picture_rows, show_picture
from vae_helpers.figures.style import COLORS, WIDTH, name_rows, panel, panels, style, styled

__all__ = [
    "COLORS", "WIDTH", "bars", "curves", "histograms", "latent_maps", "loss_curves", "manifold",
    "matrix", "name_classes", "name_rows", "panel", "panels", "picture_grid", "picture_rows",
    "show_picture", "style", "styled",
]  # fmt: skip
