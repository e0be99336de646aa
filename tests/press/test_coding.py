"""Bits: what coders of pictures and of codes take, against entropies and round trips."""

import io
import math

import pytest
import torch
from PIL import Image

from press.experiments import coding
from vae_helpers.data import garments

CLOTHES = garments(60, seed=3).images


def noise(count):
    draw = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, 1, 28, 28), generator=draw, dtype=torch.uint8)


def test_png_takes_few_bits_for_black_and_no_fewer_than_its_entropy_for_noise():
    black = coding.png_bits(torch.zeros(1, 1, 28, 28, dtype=torch.uint8))
    assert float(black) < 8 * 30
    assert coding.png_bits(noise(5)).min() >= 8 * 784
    between = coding.png_bits(CLOTHES)
    assert black < between.min()
    assert between.max() < 8 * 784


def test_png_without_its_frame_is_57_bytes_shorter():
    # Signature 8, header 25, an IDAT's own frame 12 and the end 12.
    packed = io.BytesIO()
    Image.fromarray(CLOTHES[0, 0].numpy()).save(packed, "PNG", optimize=True)
    assert float(coding.png_bits(CLOTHES[:1])) == 8 * (len(packed.getvalue()) - 57)


def test_jpeg_buys_quality_with_bits():
    true = CLOTHES.float() / 255
    found = [coding.jpeg(CLOTHES, quality) for quality in (1, 20, 60, 95)]
    errors = [float((made - true).square().mean()) for made, _, _ in found]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-3
    for at in (1, 2):
        bits = [float(one[at].mean()) for one in found]
        assert bits == sorted(bits)


def test_jpeg_files_are_their_pixels_and_the_same_headers():
    made, files, scans = coding.jpeg(CLOTHES, 20)
    assert made.shape == CLOTHES.shape
    headers = (files - scans) / 8
    assert len(headers.unique()) == 1
    assert 300 < float(headers[0]) < 700  # the standard's tables are 500 bytes or so


MU = torch.randn(50_000, 2, generator=torch.Generator().manual_seed(0))
MU = MU * torch.tensor([1.0, 3]) + torch.tensor([5.0, 0.0])


@pytest.mark.parametrize("step", [0.05, 0.5])
def test_bits_of_a_code_are_its_entropy(step):
    _, bits = coding.quantized(MU, step, MU)
    # Of a finely rounded Gaussian: log₂(σ √(2πe) / step), each dimension.
    entropy = sum(math.log2(s * math.sqrt(2 * math.pi * math.e) / step) for s in (1, 3))
    assert float(bits.mean()) == pytest.approx(entropy, abs=0.03)


def test_probabilities_of_all_intervals_sum_to_one():
    known = MU[:, :1].double()
    whole = torch.arange(-200, 201).double()
    _, bits = coding.quantized(known.mean(0) + 0.5 * whole[:, None], 0.5, known)
    assert float((2.0**-bits).sum()) == pytest.approx(1, abs=1e-9)


def test_what_arrives_is_within_half_a_step_and_stays_there():
    arrived, bits = coding.quantized(MU, 0.3, MU)
    assert float((arrived - MU).abs().max()) <= 0.15 + 1e-5
    again, as_many = coding.quantized(arrived, 0.3, MU)
    assert torch.allclose(again, arrived, atol=1e-5)
    assert torch.equal(bits, as_many)


def test_steps_are_in_units_of_the_posterior_and_unused_dimensions_are_free():
    mu = torch.randn(10_000, 2, generator=torch.Generator().manual_seed(0))
    mu = mu * torch.tensor([1.0, 0.01])
    log_var = torch.tensor([math.log(0.04), 0.0]).expand(10_000, 2)
    arrived, bits = coding.quantized(mu, 1, mu, log_var)
    assert float((arrived - mu)[:, 0].abs().max()) == pytest.approx(0.1, abs=1e-3)  # of σ = 0.2
    alone, of_first = coding.quantized(mu[:, :1], 1, mu[:, :1], log_var[:, :1])
    assert torch.equal(arrived[:, :1], alone)
    assert float((bits - of_first).abs().max()) < 1e-6


def test_even_a_code_far_away_has_a_price():
    _, bits = coding.quantized(torch.full((1, 2), 1e4), 1, MU)
    assert 60 <= float(bits) <= 120


@pytest.mark.parametrize("step", [0, -1])
def test_a_step_must_be_positive(step):
    with pytest.raises(ValueError, match="give one above 0"):
        coding.quantized(MU, step, MU)
