"""Learning from few labels: a VAE whose label is a latent, too (Kingma et al. 2014, model M2)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vae_helpers import losses
from vae_helpers.data import ImageDataset
from vae_helpers.models import VAE, drawn, seeded

HIDDEN = 400  # units of the classifier's only hidden layer


class M2(nn.Module):
    """p(x|y, z) p(y) p(z) with q(z|x, y) and q(y|x); p(y) is uniform.

    vae: a conditional VAE. ``classifier``: images ``(B, C, H, W)`` → logits of q(y|x) ``(B, C)``,
    with one hidden layer whose weights are drawn from ``seed``.
    """

    def __init__(self, vae: VAE, seed: int = 42):
        super().__init__()
        self.vae = vae
        with seeded(seed):
            layers = [nn.Linear(math.prod(vae.shape), HIDDEN), nn.ReLU()]
            self.classifier = nn.Sequential(nn.Flatten(), *layers, nn.Linear(HIDDEN, vae.classes))

    def forward(self, images: Tensor) -> Tensor:
        """Logits of q(y|x), ``(B, C)``."""
        return self.classifier(images).float()


def label_loss(model: M2, images, labels, beta=1.0, generator=None) -> dict[str, Tensor]:
    """Cross-entropy of q(y|x) in nats and error (0 or 1), ``(B,)`` each, and nothing else."""
    logits = model(images)
    return {
        "total": F.cross_entropy(logits, labels, reduction="none"),
        "error": (logits.argmax(1) != labels).float(),
    }


def m2_loss(
    model: M2, images, labels, beta=1.0, generator=None, *, labelled: ImageDataset, weight: float
) -> dict[str, Tensor]:
    """U(x) of a batch, and of another, drawn with its labels, L(x, y) − weight · log q(y|x).

    ``(B,)`` each, in nats (equations 7 to 9, where the weight is called α). ``labelled``: the
    images that the second batch is drawn from, with replacement. The first batch's own labels
    serve to count ``error`` (0 or 1) and are not learned from.
    """
    device = labels.device
    some = drawn(torch.randint, len(labelled), labels.shape, device=device, generator=generator)
    known, answers = labelled.to(device)[some]
    unlabelled = unlabelled_bound(model, images, beta, generator)
    joint = labelled_bound(model, known, answers, beta, generator)
    total = unlabelled + joint + weight * label_loss(model, known, answers)["total"]
    with torch.no_grad():
        error = label_loss(model, images, labels)["error"]
    return {"total": total, "unlabelled": unlabelled, "labelled": joint, "error": error}


def labelled_bound(model: M2, images, labels, beta=1.0, generator=None) -> Tensor:
    """L(x, y) ≥ −log p(x, y), ``(B,)`` in nats: −ELBO under the label, and −log p(y)."""
    logits, mu, log_var = model.vae(images, generator, labels)
    return losses.elbo_terms(logits, images, mu, log_var).total(beta) + math.log(model.vae.classes)


def unlabelled_bound(model: M2, images, beta=1.0, generator=None) -> Tensor:
    """U(x) ≥ −log p(x), ``(B,)`` in nats: the expected L(x, y) under q(y|x), less its entropy."""
    log_q = torch.log_softmax(model(images), dim=1)  # (B, C)
    count, classes = log_q.shape
    every = torch.arange(classes, device=images.device).repeat(count)
    bounds = labelled_bound(model, images.repeat_interleave(classes, 0), every, beta, generator)
    # Σ_y q(y|x) (L(x, y) + log q(y|x))
    return (log_q.exp() * (bounds.view(count, classes) + log_q)).sum(1)
