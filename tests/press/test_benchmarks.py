"""What the benchmarks measure against: torchvision's own dataset, as tutorials load it."""

import importlib

import pytest
import torch
import torchvision.datasets.mnist

from press.images import images
from press.settings import ROOT


@pytest.fixture
def conventional(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("conventional")


def test_torchvision_s_dataset_agrees(conventional, real):
    for split in ("train", "test"):
        theirs = conventional.torchvision_dataset(split, real)
        ours = images(split, "fashion-mnist", real)
        assert len(theirs) == len(ours)
        assert torch.equal(theirs.data, ours.images[:, 0])
        assert torch.equal(theirs.targets, ours.labels)
        torch.testing.assert_close(theirs[7][0], ours[7][0])
    assert {path.name for path in real.build.iterdir()} == {"torchvision"}


def test_torchvision_s_dataset_survives_an_interrupted_unpacking(conventional, real, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torchvision.datasets.mnist, "download_and_extract_archive", stopped)
        with pytest.raises(KeyboardInterrupt):
            conventional.torchvision_dataset("test", real)
    assert len(conventional.torchvision_dataset("test", real)) == 10_000
    assert {path.name for path in real.build.iterdir()} == {"torchvision"}
