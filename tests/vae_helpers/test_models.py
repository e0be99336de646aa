"""The VAE's shapes, sizes, sampling step and gradients."""

import math

import pytest
import torch
from torch import nn

from vae_helpers import models
from vae_helpers.files import digest_tensors
from vae_helpers.models import VAE, build_vae, evaluating, parameter_count, seeded

BODIES = sorted(models.BODIES)
SHAPES = [(1, 28, 28), (3, 32, 32), (3, 17, 23)]


def draws(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images():
    return torch.rand((3, 1, 28, 28), generator=draws())


def linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def convolution(inputs: int, outputs: int, kernel: int) -> int:
    return inputs * outputs * kernel**2 + outputs


def normalization(channels: int) -> int:
    return 2 * channels


# --- shapes and sizes --------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("latent", [1, 2, 16])
@pytest.mark.parametrize("body", BODIES)
def test_shapes_from_images_through_the_latent_to_logits(body, latent, mode, images):
    model = build_vae(body, latent).train(mode == "train")

    logits, mu, log_var = model(images, draws())

    assert model.latent == latent
    assert mu.shape == log_var.shape == (3, latent)
    assert logits.shape == images.shape
    assert {mu.dtype, log_var.dtype, logits.dtype} == {torch.float32}
    assert model.generate(mu).shape == images.shape


@pytest.mark.parametrize(
    ("body", "shape"),
    [(b, s) for b in BODIES for s in SHAPES if not ("conv" in b and s[1] % 4)],
    ids=str,
)
def test_every_body_takes_images_of_other_shapes(body, shape):
    model = build_vae(body, 2, shape, classes=4)
    images, labels = torch.rand((5, *shape), generator=draws()), torch.arange(5) % 4

    logits, mu, _ = model(images, draws(), labels)

    assert model.shape == shape
    assert logits.shape == images.shape
    assert mu.shape == (5, 2)
    assert model.generate(torch.randn(3, 2), labels[:3]).shape == (3, *shape)
    (logits - images).square().sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in model.decoder.parameters())


@pytest.mark.parametrize("body", BODIES)
def test_one_image_passes_in_training_mode(body, images):
    logits, _, _ = build_vae(body, 2).train()(images[:1], draws())
    assert logits.isfinite().all()


@pytest.mark.parametrize("latent", [1, 2, 16])
def test_the_conv_body_has_the_parameters_of_its_description(latent):
    # 1→32→64, k3; flatten 64·7·7 → μ, log σ²; linear → 64·7·7; transposed 64→32→1, k4
    expected = (
        convolution(1, 32, 3) + normalization(32) + convolution(32, 64, 3) + normalization(64)
        + 2 * linear(64 * 7 * 7, latent)
        + linear(latent, 64 * 7 * 7)
        + convolution(64, 32, 4) + normalization(32) + convolution(32, 1, 4)
    )  # fmt: skip
    assert parameter_count(build_vae("conv", latent)) == expected


@pytest.mark.parametrize("latent", [1, 2, 20])
def test_the_dense_body_has_the_parameters_of_its_description(latent):
    encoder = linear(784, 400) + 2 * linear(400, latent)
    decoder = linear(latent, 400) + linear(400, 784)
    assert parameter_count(build_vae("dense", latent)) == encoder + decoder


@pytest.mark.parametrize("latent", [2, 16])
def test_the_deep_conv_body_passes_32_64_64_64_channels(latent):
    encoder = build_vae("deep-conv", latent).encoder
    convolutions = [layer for layer in encoder.body if isinstance(layer, nn.Conv2d)]

    assert [layer.out_channels for layer in convolutions] == [32, 64, 64, 64]
    assert encoder.mu.in_features == encoder.log_var.in_features == 64 * 7 * 7


def test_parameter_count_is_that_of_the_learned_numbers_alone():
    assert parameter_count(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))) == 8 + 4


def test_parts_of_ones_own_make_an_unconditional_vae_for_the_book_s_images(images):
    encoder = models.Encoder(nn.Flatten(), 784, 5)
    model = VAE(encoder, nn.Sequential(nn.Linear(5, 784), nn.Unflatten(1, (1, 28, 28))))
    assert (model.shape, model.latent, model.classes) == ((1, 28, 28), 5, 0)
    logits, _, log_var = model(images)  # without labels
    assert logits.shape == images.shape
    assert log_var.isfinite().all()
    assert parameter_count(model) == 2 * linear(784, 5) + linear(5, 784)


def test_residual_layers_add_to_what_they_are_given():
    layers, features = models.ResidualLayers(4), torch.randn((3, 4), generator=draws())
    last = layers.layers[-1]
    nn.init.zeros_(last.weight)
    last.bias.data = torch.arange(4.0)
    torch.testing.assert_close(layers(features), features + torch.arange(4.0))


# --- the sampling step -------------------------------------------------------------------------


def test_reparameterize_is_mu_plus_sigma_times_the_generators_noise():
    mu, log_var = torch.randn((2, 6, 4), generator=draws())
    epsilon = torch.randn((6, 4), generator=draws(9))

    z = VAE.reparameterize(mu, log_var, draws(9))

    torch.testing.assert_close(z, mu + torch.exp(log_var / 2) * epsilon)


def test_reparameterize_samples_have_the_posteriors_moments():
    count = 100_000
    mu, sigma = torch.tensor([-3.0, 0.0, 2.0]), torch.tensor([0.2, 1.0, 4.0])
    log_var = 2 * sigma.log()
    z = VAE.reparameterize(mu.expand(count, -1), log_var.expand(count, -1), draws())

    # standard errors of a normal sample's mean and standard deviation
    assert ((z.mean(0) - mu).abs() < 5 * sigma / math.sqrt(count)).all()
    assert ((z.std(0) - sigma).abs() < 5 * sigma / math.sqrt(2 * count)).all()
    correlations = torch.corrcoef(z.T) - torch.eye(3)
    assert (correlations.abs() < 5 / math.sqrt(count)).all(), "the noise of dimensions is shared"


def test_gradients_reach_mu_and_log_var_through_the_sample():
    mu, log_var = torch.randn((2, 6, 4), generator=draws()).requires_grad_(True).unbind(0)
    mu.retain_grad()
    log_var.retain_grad()
    epsilon = torch.randn((6, 4), generator=draws(9))

    VAE.reparameterize(mu, log_var, draws(9)).sum().backward()

    # ∂z/∂μ = 1, ∂z/∂ log σ² = ½ σ ε
    torch.testing.assert_close(mu.grad, torch.ones(6, 4))
    torch.testing.assert_close(log_var.grad, 0.5 * torch.exp(log_var.detach() / 2) * epsilon)


def test_the_noise_takes_no_gradient():
    epsilon = torch.randn((4, 2), generator=draws())
    assert not epsilon.requires_grad
    assert epsilon.is_leaf


@pytest.mark.parametrize("body", BODIES)
def test_gradients_of_a_reconstruction_flow_through_both_heads_to_every_weight(body, images):
    model = build_vae(body, 4)
    logits, _, _ = model(images, draws())
    (logits - images).square().sum().backward()

    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, f"{name} has no gradient"
        assert parameter.grad.isfinite().all(), name
    for head in (model.encoder.mu, model.encoder.log_var):
        assert head.weight.grad.norm() > 1e-3
        assert head.bias.grad.norm() > 1e-3


def test_a_generator_decides_the_forward_pass(images):
    model = build_vae("conv", 4).eval()
    one, _, _ = model(images, draws(1))
    again, _, _ = model(images, draws(1))
    other, _, _ = model(images, draws(2))

    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_without_a_generator_every_pass_draws_new_noise(images):
    model = build_vae("dense", 4).eval()
    assert not torch.equal(model(images)[0], model(images)[0])


# --- modes --------------------------------------------------------------------------------------


def test_evaluating_gives_each_part_its_own_mode_back():
    model = build_vae("conv", 2).train()
    frozen = model.encoder.body[1].eval()
    with evaluating(model):
        assert not any(part.training for part in model.modules())
    assert [part for part in model.modules() if not part.training] == [frozen]
    with pytest.raises(KeyError), evaluating(model):
        raise KeyError
    assert [part for part in model.modules() if not part.training] == [frozen]


def test_pictures_are_made_in_evaluation_mode_and_passes_in_the_model_s_own():
    model, z = build_vae("conv", 2).train(), torch.randn((4, 2), generator=draws())
    pictures = model.generate(z)
    torch.testing.assert_close(model.generate(z[:1]), pictures[:1])  # alone or among others
    assert not torch.allclose(torch.sigmoid(model.decode(z)), pictures, atol=0.01)


# --- decoding ----------------------------------------------------------------------------------


@pytest.mark.parametrize("body", BODIES)
def test_generate_is_the_sigmoid_of_the_logits(body):
    model = build_vae(body, 2).eval()
    latents = 30 * torch.randn((8, 2), generator=draws())
    logits, pixels = model.decode(latents), model.generate(latents)

    torch.testing.assert_close(pixels, 1 / (1 + torch.exp(-logits)))
    assert ((pixels >= 0) & (pixels <= 1)).all()
    assert (logits < 0).any(), "pixels instead of logits leave the decoder"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_posteriors_and_logits_are_float32_under_autocast(dtype, images):
    model = build_vae("conv", 4).eval()
    with torch.autocast("cpu", dtype=dtype):
        outputs = model(images, draws())
        raw = model.encoder(images)

    assert [output.dtype for output in outputs] == [torch.float32] * 3
    assert raw[0].dtype == dtype, "autocast did nothing here, so this test shows nothing"
    for half, full in zip(outputs, model(images, draws()), strict=True):
        torch.testing.assert_close(half, full, rtol=0.05, atol=0.05)


# --- seeds -------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", BODIES)
def test_a_seed_decides_the_weights(body):
    one, again, other = (build_vae(body, 2, seed=seed).state_dict() for seed in (1, 1, 2))

    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["encoder.mu.weight"], other["encoder.mu.weight"])
    assert not torch.equal(one["decoder.0.weight"], other["decoder.0.weight"])


# Digests of the weights that the first models of every body had: checkpoints rely on them.
FIRST = {
    "conv": ("ce94b26e3341957f", "fa027cab38c42dec", "cf7a8da137d75606"),
    "deep-conv": ("431927589fa55e49", "b76bcea4f85d1609", "b07bb8c71377a3f6"),
    "dense": ("4b9f9965d73e5319", "7c018339d3aaa289", "b02d52521071f470"),
    "residual": ("1b9987c43c511f2c", "87035c7c4bcde9e2", "e8d4e3828c4d3668"),
}


@pytest.mark.parametrize("body", BODIES)
def test_the_weights_of_a_seed_are_for_ever_the_same(body):
    made = (
        build_vae(body, 2),
        build_vae(body, 3, seed=7, classes=10),
        build_vae(body, 2, variational=False),
    )
    assert tuple(digest_tensors(model.state_dict()) for model in made) == FIRST[body]


def test_building_leaves_the_callers_random_stream_as_it_was():
    torch.manual_seed(11)
    expected = torch.rand(5)
    torch.manual_seed(11)
    build_vae("conv", 2)
    assert torch.equal(torch.rand(5), expected)


def test_building_touches_no_other_device_s_random_stream(monkeypatch):
    def never(*_):
        raise AssertionError("a GPU was seeded")

    for device in (torch.cuda, torch.mps, torch.xpu):
        for name in ("manual_seed", "manual_seed_all"):
            monkeypatch.setattr(device, name, never, raising=False)
    with pytest.raises(AssertionError, match="a GPU was seeded"):
        torch.manual_seed(0)  # what one would write, and what it does
    build_vae("dense", 2)


def test_the_random_stream_is_given_back_after_an_error():
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError), seeded(1):
        torch.rand(3) @ torch.rand(2)
    assert torch.equal(before, torch.get_rng_state())


def test_a_model_is_built_on_the_cpu_whatever_the_default_device():
    with torch.device("meta"):
        made = build_vae("dense", 2)
    assert digest_tensors(made.state_dict()) == FIRST["dense"][0]


# --- errors ------------------------------------------------------------------------------------


def test_an_unknown_body_is_refused_with_the_names_that_exist():
    with pytest.raises(ValueError, match=r"'resnet'.*conv.*dense.*deep-conv"):
        build_vae("resnet", 2)


@pytest.mark.parametrize("body", ["conv", "deep-conv"])
@pytest.mark.parametrize("shape", [(1, 28, 30), (3, 17, 24), (1, 7, 7)])
def test_sides_that_the_strides_do_not_divide_are_refused_with_the_remedy(body, shape):
    sides = f"{shape[1]}×{shape[2]}"
    with pytest.raises(ValueError, match=f"{sides}.*multiples of 4, or build a dense or residual"):
        build_vae(body, 2, shape)


@pytest.mark.parametrize("shape", [(28, 28), (1, 0, 4), (0, 4, 4), (1, 1, 4, 4)])
@pytest.mark.parametrize("body", ["conv", "dense"])
def test_what_is_no_shape_of_an_image_is_refused(body, shape):
    with pytest.raises(ValueError, match=r"give \(channels, height, width\)"):
        build_vae(body, 2, shape)


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("shape", [(2, 784), (2, 3, 28, 28), (2, 1, 32, 32), (1, 28, 28)])
def test_images_of_another_shape_are_refused_by_name(body, shape):
    with pytest.raises(
        ValueError, match=rf"^images of shape \({shape[0]}, .*; give \({shape[0]}, 1, 28, 28\)$"
    ):
        build_vae(body, 2).encode(torch.zeros(shape))


@pytest.mark.parametrize("latent", [0, -1])
def test_a_latent_space_without_dimensions_is_refused(latent):
    with pytest.raises(ValueError, match=rf"latent size {latent}"):
        build_vae("dense", latent)


# --- the plain autoencoder ----------------------------------------------------------------------


@pytest.mark.parametrize("body", BODIES)
def test_without_the_variational_part_the_sample_is_the_mean(body, images):
    plain, vae = (build_vae(body, 3, variational=v).eval() for v in (False, True))
    mu, log_var = plain.encode(images)
    assert torch.equal(plain.reparameterize(mu, log_var), mu)
    assert (log_var == -torch.inf).all()
    assert torch.equal(mu, vae.encode(images)[0])  # the same seed, the same body
    assert parameter_count(vae) - parameter_count(plain) == parameter_count(vae.encoder.log_var)


def test_gradients_pass_through_a_plain_autoencoder(images):
    plain = build_vae("conv", 3, variational=False)
    plain(images)[0].sum().backward()
    gradients = [p.grad for p in plain.parameters()]
    assert all(g is not None and g.isfinite().all() for g in gradients)


@pytest.mark.parametrize("body", models.BODIES)
def test_a_label_changes_what_is_encoded_and_decoded(body):
    model = build_vae(body, 3, classes=10).eval()
    images, z = torch.rand(4, 1, 28, 28), torch.randn(4, 3)
    ones, twos = torch.ones(4, dtype=torch.int64), torch.full((4,), 2)
    with torch.inference_mode():
        assert not torch.equal(model.encode(images, ones)[0], model.encode(images, twos)[0])
        assert not torch.equal(model.encode(images, ones)[1], model.encode(images, twos)[1])
        assert not torch.equal(model.decode(z, ones), model.decode(z, twos))
        assert model.decode(z, ones).shape == (4, 1, 28, 28)
        assert not torch.equal(model.generate(z, ones), model.generate(z, twos))


def test_labels_cost_a_weight_for_each_class_where_they_enter():
    plain, conditional = build_vae("dense", 2), build_vae("dense", 2, classes=10)
    more = parameter_count(conditional) - parameter_count(plain)
    assert more == 10 * 400 + 2 * (10 * 2)  # the decoder's first layer, and both heads


def test_a_conditional_model_without_labels_asks_for_them():
    model = build_vae("dense", 2, classes=10)
    images, z = torch.rand(2, 1, 28, 28), torch.randn(2, 2)
    for call in (lambda: model(images), lambda: model.generate(z)):
        with pytest.raises(ValueError, match="a model of 10 classes needs labels"):
            call()


def test_an_unconditional_model_does_not_look_at_labels():
    model, images = build_vae("dense", 2).eval(), torch.rand(3, 1, 28, 28)
    with torch.inference_mode():
        a, b = (model.encode(images, labels)[0] for labels in (None, torch.tensor([1, 2, 3])))
    assert torch.equal(a, b)


@pytest.mark.parametrize("body", ["conv", "deep-conv"])
def test_features_lie_as_convolutions_want_them_and_so_do_their_gradients(body):
    model = build_vae(body, 2).to(memory_format=torch.channels_last)
    seen = []

    def keep(_, __, output):
        if output.dim() == 4 and output.shape[1] > 1:
            output.register_hook(lambda gradient: seen.append(gradient))
            seen.append(output)

    for layer in model.decoder:
        if not isinstance(layer, torch.nn.ReLU):  # which may overwrite what it is given
            layer.register_forward_hook(keep)
    model.decode(torch.randn(4, 2)).sum().backward()
    assert len(seen) > 4
    assert all(one.is_contiguous(memory_format=torch.channels_last) for one in seen)
