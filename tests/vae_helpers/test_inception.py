"""Inception's features: with weights of our own making, and without any."""

import pickle
import sys

import pytest
import torch

from vae_helpers.data import garments
from vae_helpers.errors import DataError
from vae_helpers.metrics.inception import inception_features

CLOTHES = garments(3, seed=0)[:][0]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file as the real one is, but with random numbers in it."""
    extractor = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extractor, "load_state_dict_from_url", lambda *a, **k: {})
        patch.setattr(torch.nn.Module, "load_state_dict", lambda self, state: None)
        made = extractor.FeatureExtractorInceptionV3("random", ["2048"])
    torch.save(made.state_dict(), path)
    return path


def test_features_have_inceptions_size_and_repeat(weights):
    found = inception_features(CLOTHES, weights)
    assert found.shape == (3, 2048)
    assert (found == inception_features(CLOTHES, weights)).all()
    assert (found[0] != found[1]).any()


def test_missing_weights_are_named_with_where_to_get_them(tmp_path):
    pytest.importorskip("torch_fidelity")
    with pytest.raises(DataError, match=r"none.pth: no Inception weights; get https://"):
        inception_features(CLOTHES, tmp_path / "none.pth")


def test_a_file_that_would_run_code_is_refused_and_does_not_run(tmp_path):
    pytest.importorskip("torch_fidelity")

    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    def bare(value, path):
        path.write_bytes(pickle.dumps(value, protocol=2))

    for save in (torch.save, bare):
        path = tmp_path / "trap.pth"
        save({"fc.weight": Trap()}, path)
        with pytest.raises(DataError, match="trap.pth: no Inception weights"):
            inception_features(CLOTHES, path)
    assert not (tmp_path / "ran").exists()


def test_without_the_library_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(DataError, match=r"pip install 'vae-helpers\[inception\]'"):
        inception_features(CLOTHES, tmp_path / "weights.pth")


def test_grey_images_and_the_same_in_rgb_have_the_same_features(weights):
    grey, rgb = (inception_features(c, weights) for c in (CLOTHES, CLOTHES.repeat(1, 3, 1, 1)))
    assert (grey == rgb).all()


def test_wrong_images_are_refused_before_anything_is_loaded(tmp_path):
    with pytest.raises(ValueError, match="scale them"):
        inception_features(255 * CLOTHES, tmp_path / "weights.pth")
