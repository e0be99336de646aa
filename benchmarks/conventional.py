"""The loop that most tutorials use, to measure the book's against: torchvision, DataLoader, Adam.

Shuffled batches of 128 from ``ToTensor``, two workers, pinned memory where there is a GPU, float32,
the loss read back every step.
"""

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from vae_helpers.data import torchvision_dataset
from vae_helpers.models import VAE

BATCH = 128


def loader() -> DataLoader:
    """Fashion-MNIST's training images as tutorials load them."""
    return DataLoader(
        torchvision_dataset("train"),
        batch_size=BATCH,
        shuffle=True,
        num_workers=2,
        pin_memory=torch.cuda.is_available(),
    )


def epoch(model: VAE, batches: DataLoader, optimizer: torch.optim.Optimizer) -> float:
    """Train one epoch; return the mean −ELBO in nats per image."""
    device = next(model.parameters()).device
    model.train()
    total = 0.0
    for images, _ in batches:
        images = images.to(device)
        optimizer.zero_grad()
        logits, mu, log_var = model(images)
        reconstruction = F.binary_cross_entropy_with_logits(logits, images, reduction="sum")
        kl = -0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp())
        loss = (reconstruction + kl) / len(images)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(images)
    return total / len(batches.dataset)
