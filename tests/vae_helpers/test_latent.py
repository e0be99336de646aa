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


def test_great_circles_have_both_ends_equal_angles_and_lengths_between():
    start, end = 2 * normal(6), normal(6, seed=1)
    arc = latent.interpolate_spherical(start, end, 9)
    assert torch.allclose(arc[0], start, atol=1e-5)
    assert torch.allclose(arc[-1], end, atol=1e-5)
    lengths = arc.norm(dim=1)
    assert torch.allclose(lengths.diff(), (lengths[-1] - lengths[0]).expand(8) / 8, atol=1e-5)
    units = arc / lengths[:, None]
    angles = torch.arccos((units[1:] * units[:-1]).sum(1).clamp(-1, 1))
    assert float(angles.std()) < 1e-3


@pytest.mark.parametrize("factor", [2.0, -1.0])
def test_great_circles_without_an_angle_go_straight(factor):
    start = normal(4)
    assert torch.allclose(
        latent.interpolate_spherical(start, factor * start, 5),
        latent.interpolate(start, factor * start, 5),
    )


def test_the_manifold_is_even_in_probability_and_reads_as_a_map():
    grid = latent.manifold(5).view(5, 5, 2)
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


def test_kept_dimensions_stay_and_the_others_are_the_prior_s():
    code = torch.tensor([5.0, -5.0, 7.0])
    z = latent.keep_dimensions(code, [0, 2], 50, seed=1)
    assert (z[:, [0, 2]] == code[[0, 2]]).all()
    assert torch.equal(z[:, 1], latent.frozen(50, 3, 1.0, seed=1)[:, 1])
    assert code.tolist() == [5, -5, 7]


def test_principal_components_find_the_widest_direction_with_a_fixed_sign():
    direction = torch.tensor([0.6, -0.8, 0.0])
    codes = 3 * normal(500, 1) * direction + 0.1 * normal(500, 3, seed=1)
    points, shares = latent.principal_components(codes)
    # The largest coefficient, −0.8 here, is made positive.
    assert torch.allclose(points[:, 0], -(codes - codes.mean(0)) @ direction, atol=0.2)
    assert float(shares[0]) > 0.99
    flipped, _ = latent.principal_components(-codes)
    assert torch.allclose(flipped, -points, atol=1e-4)


def test_shares_of_all_components_add_up_to_one():
    assert float(latent.principal_components(normal(50, 4), 4)[1].sum()) == pytest.approx(1)


def test_a_plane_reads_like_a_picture():
    places = latent.plane(2.0, 3)
    assert places.tolist() == [
        [-2, 2], [0, 2], [2, 2],
        [-2, 0], [0, 0], [2, 0],
        [-2, -2], [0, -2], [2, -2],
    ]  # fmt: skip


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
    labels = latent.labels_for(model, 25)
    assert labels.tolist() == [*range(10), *range(10), *range(5)]
    with torch.inference_mode():
        expected = model.generate(mu[:25], labels)
    assert torch.allclose(latent.decode(model, mu[:25], labels), expected, atol=1e-5)
    assert latent.labels_for(build_vae("dense", 2), 5) is None


def test_as_many_labels_as_latents_are_wanted():
    model = build_vae("dense", 2, classes=10).eval()
    with pytest.raises((ValueError, RuntimeError)):
        latent.decode(model, torch.zeros(3, 2), torch.zeros(2, dtype=torch.int64))


def test_principal_directions_are_the_best_linear_code():
    from sklearn.decomposition import PCA

    images = garments(300)
    mean, directions = latent.principal_directions(images, 5)
    pixels = images[:][0].flatten(1)
    assert torch.allclose(directions.T @ directions, torch.eye(5), atol=1e-5)
    back = (pixels - mean) @ directions @ directions.T + mean
    known = PCA(5).fit(pixels.numpy())
    expected = known.inverse_transform(known.transform(pixels.numpy()))
    assert torch.allclose(back, torch.from_numpy(expected), atol=1e-3)
    spread = ((pixels - mean) @ directions).var(0)
    assert (spread.diff() <= 0).all()  # widest first


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


# --- samplers -----------------------------------------------------------------------------------


def draw(sampler, count=40_000, seed=0):
    return sampler(count, torch.Generator().manual_seed(seed))


def test_the_prior_has_mean_0_and_covariance_i():
    z = draw(latent.prior(3))
    assert torch.allclose(z.mean(0), torch.zeros(3), atol=0.03)
    assert torch.allclose(z.T.cov(), torch.eye(3), atol=0.04)


def test_a_gaussian_has_the_codes_mean_and_covariance():
    codes = normal(5_000, 3) @ normal(3, 3, seed=1) + torch.tensor([5.0, 0.0, -2.0])
    z = draw(latent.gaussian(codes))
    assert torch.allclose(z.mean(0), codes.mean(0), atol=0.06)
    assert torch.allclose(z.T.cov(), codes.T.cov(), atol=0.15)


def test_a_mixture_keeps_apart_what_one_gaussian_would_join():
    sign = torch.where(torch.arange(2_000) % 4 == 0, -1.0, 1.0)[:, None]  # one to three
    codes = 10 * sign + normal(2_000, 2)
    z = draw(latent.mixture(codes, components=2))
    assert float((z.abs() < 5).any(1).double().mean()) < 1e-3  # nothing between the clusters
    assert float((z[:, 0] < 0).double().mean()) == pytest.approx(0.25, abs=0.01)
    joined = draw(latent.gaussian(codes))
    assert float((joined.abs() < 5).any(1).double().mean()) > 0.2


@pytest.mark.parametrize(
    "sampler",
    [latent.prior(2), latent.gaussian(normal(50, 2)), latent.mixture(normal(200, 2), 3)],
)
def test_the_same_seed_draws_the_same_float32_latents(sampler):
    assert torch.equal(draw(sampler, 10), draw(sampler, 10))
    assert not torch.equal(draw(sampler, 10), draw(sampler, 10, seed=1))
    assert draw(sampler, 10).dtype == torch.float32
    assert draw(sampler, 10).shape == (10, 2)


def test_too_few_or_broken_codes_are_refused():
    with pytest.raises(ValueError, match="20 codes for 10 components; give at least 100"):
        latent.mixture(normal(20, 2))
    broken = normal(200, 2)
    broken[3, 1] = math.nan
    with pytest.raises(ValueError, match="codes hold NaN"):
        latent.gaussian(broken)
