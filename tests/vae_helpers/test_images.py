"""Sharpness and diversity: known answers, invariants, and errors."""

import itertools
import math

import pytest
import torch

from vae_helpers.data import garments
from vae_helpers.metrics.images import diversity, sharpness

CLOTHES = garments(200, seed=3)[:][0]


def test_a_flat_image_has_no_sharpness():
    assert sharpness(torch.full((2, 1, 28, 28), 0.3)).abs().max() < 1e-12


def test_a_linear_ramp_has_no_second_derivative():
    ramp = torch.linspace(0, 1, 28).expand(1, 1, 28, 28)
    assert float(sharpness(ramp)) < 1e-12


def test_a_single_pixel_has_the_kernel_s_own_variance():
    point = torch.zeros(1, 1, 28, 28)
    point[0, 0, 10, 10] = 1
    # Of 26² responses, one is −4, four are 1: mean 0, mean square 20/26².
    assert float(sharpness(point)) == pytest.approx(20 / 26**2, rel=1e-9)


def test_sharpness_grows_with_contrast_squared():
    assert torch.allclose(sharpness(CLOTHES / 2), sharpness(CLOTHES) / 4)


def test_blur_lowers_sharpness_step_by_step_and_noise_raises_it():
    blurred, found = CLOTHES, []
    for _ in range(4):
        found.append(float(sharpness(blurred).mean()))
        blurred = torch.nn.functional.avg_pool2d(blurred, 3, stride=1, padding=1)
    assert found == sorted(found, reverse=True)
    assert found[-1] < found[0] / 5
    noise = 0.2 * torch.randn(CLOTHES.shape, generator=torch.Generator().manual_seed(0))
    assert float(sharpness((CLOTHES + noise).clamp(0, 1)).mean()) > found[0]


def test_a_colour_image_is_as_sharp_as_its_channels_on_average():
    channels = [CLOTHES[:5], CLOTHES[5:10], CLOTHES[10:15]]
    expected = torch.stack([sharpness(one) for one in channels]).mean(0)
    torch.testing.assert_close(sharpness(torch.cat(channels, dim=1)), expected)


def test_colour_images_are_apart_by_all_their_channels():
    black, few = torch.zeros(1, 3, 5, 7), torch.zeros(3, 3, 5, 7)
    few[1, 2] = 1  # one channel of one of three images: two pairs of three are √35 apart
    assert diversity(few)[0] == pytest.approx(2 / 3 * math.sqrt(35))
    assert float(sharpness(black)) == 0


def test_equal_images_have_no_diversity():
    assert diversity(CLOTHES[:1].expand(50, -1, -1, -1)) == (0, 0)


def test_diversity_is_the_mean_over_all_pairs():
    few = CLOTHES[:6]
    pairs = [float((a - b).norm()) for a, b in itertools.combinations(few, 2)]
    assert diversity(few)[0] == pytest.approx(sum(pairs) / len(pairs), rel=1e-6)


def test_diversity_of_thousands_of_images_is_the_mean_over_all_pairs():
    many = torch.rand((2_500, 1, 1, 2), generator=torch.Generator().manual_seed(0)).double()
    pairs = torch.pdist(many.flatten(1))
    assert diversity(many)[0] == pytest.approx(float(pairs.mean()), rel=1e-9)


def test_black_and_white_images_have_the_distance_of_their_corners():
    images = torch.zeros(4, 1, 28, 28)
    images[2:] = 1
    # Four of six pairs are √784 = 28 apart, two are equal.
    assert diversity(images)[0] == pytest.approx(28 * 4 / 6, rel=1e-9)


def test_diversity_s_error_is_the_spread_of_repeated_draws():
    generator = torch.Generator().manual_seed(0)
    draws = [diversity(torch.rand((40, 1, 4, 4), generator=generator) ** 3) for _ in range(300)]
    values = torch.tensor([value for value, _ in draws])
    claimed = sum(error for _, error in draws) / len(draws)
    assert claimed == pytest.approx(float(values.std()), rel=0.2)


def test_diversity_scales_with_contrast():
    whole, half = diversity(CLOTHES), diversity(CLOTHES / 2)
    assert half == pytest.approx(tuple(value / 2 for value in whole), rel=1e-6)


@pytest.mark.parametrize("measure", [sharpness, diversity])
def test_wrong_images_are_refused_with_the_remedy(measure):
    for shape in [(5, 28, 28), (0, 1, 28, 28)]:
        with pytest.raises(ValueError, match=r"give \(N, C, H, W\)"):
            measure(torch.rand(shape))
    with pytest.raises(ValueError, match="int64 from 0 to .*; give bytes"):
        measure((255 * CLOTHES).long())
    with pytest.raises(ValueError, match=r"float32 from 0 to 2; .* in \[0, 1\]"):
        measure(2 * CLOTHES / CLOTHES.max())
    with pytest.raises(ValueError, match="from nan to nan"):
        measure(torch.where(CLOTHES > 0.5, math.nan, CLOTHES))


def test_diversity_of_too_few_images_is_refused():
    with pytest.raises(ValueError, match="2 images; diversity and its error need at least 3"):
        diversity(CLOTHES[:2])
