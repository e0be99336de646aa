"""The loop that most tutorials use, to measure the book's against: torchvision, DataLoader, Adam.

Shuffled batches of 128 from ``ToTensor``, two workers, pinned memory where there is a GPU, float32,
the loss read back every step.
"""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from timing import BOOK
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from press.images import obtain
from press.settings import Settings
from vae_helpers.models import VAE

BATCH = 128


def torchvision_dataset(split: str, settings: Settings) -> datasets.FashionMNIST:
    """Fashion-MNIST as torchvision's own class with ``ToTensor``.

    torchvision unpacks beside the files it finds, so it works on a copy among what is built.
    """
    root = settings.build / "torchvision"
    if not root.exists():
        files = list(obtain("fashion-mnist", settings).glob("*.gz"))
        root.parent.mkdir(parents=True, exist_ok=True)
        # Elsewhere first: torchvision trusts what an interrupted call has left half unpacked.
        with tempfile.TemporaryDirectory(prefix=".torchvision-", dir=root.parent) as scratch:
            raw = Path(scratch, "whole", "FashionMNIST", "raw")
            raw.mkdir(parents=True)
            for file in files:
                shutil.copyfile(file, raw / file.name)
            datasets.FashionMNIST(Path(scratch, "whole"), download=True)
            with contextlib.suppress(OSError):  # another process was faster
                os.rename(Path(scratch, "whole"), root)
    return datasets.FashionMNIST(root, train=split == "train", transform=transforms.ToTensor())


def loader() -> DataLoader:
    """Fashion-MNIST's training images as tutorials load them."""
    return DataLoader(
        torchvision_dataset("train", BOOK.settings),
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
