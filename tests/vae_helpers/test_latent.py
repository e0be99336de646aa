"""A latent space: passes, samplers and their moments; the ends, lengths and seeds of walks."""

import math

import pytest
import torch

from vae_helpers import latent
from vae_helpers.data import garments
from vae_helpers.losses import kl_per_dimension
from vae_helpers.models import build_vae

CLOTHES = garments(700, seed=5)  # more than one batch of an inference
MODEL = build_vae("dense", 3).eval()


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_encoding_in_batches_is_encoding_at_once():
    with torch.inference_mode():
        whole = MODEL.encode(CLOTHES[:][0])
    for found, expected in zip(latent.encode(MODEL, CLOTHES), whole, strict=True):
        assert torch.allclose(found, expected, atol=1e-5)


def test_decoding_in_batches_gives_pixels():
    z = normal(700, 3)
    with torch.inference_mode():
        assert torch.allclose(latent.decode(MODEL, z), MODEL.generate(z), atol=1e-6)


def test_latents_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"for a model with 3; give \(N, 3\)"):
        latent.decode(MODEL, normal(5, 2))
    with pytest.raises(ValueError, match=r"give \(N, 3\)"):
        latent.decode(MODEL, normal(3))


def test_the_aggregate_repeats_with_its_seed_and_has_the_posterior_s_moments():
    mu, log_var = latent.encode(MODEL, CLOTHES)
    one, same, other = (latent.aggregate(MODEL, CLOTHES, seed) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    scaled = (one - mu) / torch.exp(0.5 * log_var)
    assert abs(float(scaled.mean())) < 4 / math.sqrt(scaled.numel())
    assert float(scaled.std()) == pytest.approx(1, abs=0.07)


def test_the_aggregate_of_an_autoencoder_is_its_codes():
    plain = build_vae("dense", 3, variational=False).eval()
    assert torch.equal(latent.aggregate(plain, CLOTHES), latent.encode(plain, CLOTHES)[0])


def test_straight_lines_have_equal_steps_and_both_ends():
    start, end = normal(5), normal(5, seed=1)
    line = latent.interpolate(start, end, 7)
    assert torch.allclose(line[0], start)
    assert torch.allclose(line[-1], end)
    assert torch.allclose(line.diff(dim=0), ((end - start) / 6).expand(6, 5), atol=1e-6)


def test_the_manifold_is_even_in_probability_and_reads_as_a_map():
    grid = latent.quantile_grid(5).view(5, 5, 2)
    probabilities = torch.special.ndtr(grid[0, :, 0])
    assert torch.allclose(probabilities, torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9]))
    assert (grid[:, :, 0].diff(dim=1) > 0).all()  # to the right
    assert (grid[:, :, 1].diff(dim=0) < 0).all()  # the top is large, as on a plot
    assert grid[2, 2].tolist() == pytest.approx([0, 0], abs=1e-6)


def test_frozen_latents_have_the_spread_asked_for():
    z = latent.frozen(20_000, 4, 0.5, seed=0)
    assert float(z.std()) == pytest.approx(0.5, rel=0.01)
    assert float(z.mean()) == pytest.approx(0, abs=0.01)
    assert not latent.frozen(10, 4, 0.0, seed=0).any()
    assert torch.equal(latent.frozen(9, 2, 2.0, seed=3), 2 * latent.frozen(9, 2, 1.0, seed=3))


def test_walks_cross_the_mean_and_move_one_dimension():
    codes = torch.randn((500, 3), generator=torch.Generator().manual_seed(0)) * torch.tensor(
        [1.0, 2.0, 0.1]
    ) + torch.tensor([0.0, 5.0, -1.0])
    walks = latent.traverse(codes, steps=5, reach=2.0)
    assert walks.shape == (3, 5, 3)
    for dimension in range(3):
        assert torch.allclose(walks[dimension, 2], codes.mean(0))
        others = [i for i in range(3) if i != dimension]
        assert torch.equal(walks[dimension][:, others], codes.mean(0)[others].expand(5, -1))
        ends = walks[dimension, [0, -1], dimension]
        assert torch.allclose(ends.diff(), 4 * codes.std(0)[dimension])


def test_a_conditional_model_is_encoded_with_the_labels_of_its_images():
    model, images = build_vae("dense", 2, classes=10).eval(), garments(30)
    mu, _ = latent.encode(model, images)
    with torch.inference_mode():
        assert torch.allclose(mu, model.encode(*images[:])[0], atol=1e-5)
    labels = torch.arange(25) % 10
    with torch.inference_mode():
        expected = model.generate(mu[:25], labels)
    assert torch.allclose(latent.decode(model, mu[:25], labels), expected, atol=1e-5)


def test_a_model_without_classes_does_not_look_at_labels():
    model, codes = build_vae("dense", 2), torch.zeros(3, 2)
    for labels in (torch.tensor([0, 1, 7]), torch.zeros(2)):
        assert torch.equal(latent.decode(model, codes, labels), latent.decode(model, codes))


def test_as_many_labels_as_latents_are_wanted():
    model = build_vae("dense", 2, classes=10).eval()
    with pytest.raises((ValueError, RuntimeError)):
        latent.decode(model, torch.zeros(3, 2), torch.zeros(2, dtype=torch.int64))


def test_dimensions_come_in_the_order_of_their_kl():
    dimensions, kl = latent.by_kl(MODEL, CLOTHES)
    expected = kl_per_dimension(*latent.encode(MODEL, CLOTHES)).mean(0)
    assert sorted(dimensions.tolist()) == [0, 1, 2]
    assert (kl.diff() < 0).all()
    assert torch.equal(expected[dimensions], kl)


def test_images_of_any_shape_go_in_and_come_out():
    model = build_vae("residual", 3, (3, 17, 23))
    pictures = latent.decode(model, normal(6, 3))
    assert pictures.shape == (6, 3, 17, 23)
    assert ((pictures > 0) & (pictures < 1)).all()
