"""Everything works on another device than the CPU, and gives what it gives on the CPU.

That device is a pretended one, see ``elsewhere.py`` beside this folder.
"""

import numpy as np
import pytest
import torch

from vae_helpers import classifier, latent, losses
from vae_helpers.classifier import build_classifier, classifier_loss
from vae_helpers.data import garments
from vae_helpers.metrics.differences import auroc, estimate, paired, welch
from vae_helpers.metrics.disentanglement import dci, mutual_information_gap
from vae_helpers.metrics.frechet import frechet, kernel_distances, neighbour_scores
from vae_helpers.metrics.images import diversity, sharpness
from vae_helpers.metrics.posterior import (
    active_units,
    log_weights,
    mutual_information,
)
from vae_helpers.models import BODIES, build_vae, device_of, drawn
from vae_helpers.training import autoencoder_loss, evaluate, fit, vae_loss

CLOTHES = garments(120, seed=9)
IMAGES, LABELS = CLOTHES[:40]


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=1):
    return torch.randn(shape, generator=draws(seed))


CODES = normal(120, 3) + 4 * torch.eye(3)[torch.arange(120) % 3]
THIRDS = torch.arange(120) % 3


def here(value):
    """A result on the CPU, whatever it is made of."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    if isinstance(value, dict):
        return {name: here(one) for name, one in value.items()}
    if isinstance(value, tuple | list):
        return [here(one) for one in value]
    return value


def assert_same(found, expected):
    close = {"rtol": 1e-5, "atol": 1e-5, "equal_nan": True}
    torch.testing.assert_close(here(found), here(expected), **close)


# --- the pretended device is one ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (lambda there: there + torch.ones(3), RuntimeError),
        (lambda there: torch.cat([torch.ones(1), there]), RuntimeError),
        (lambda there: torch.ones(3)[there.long()], RuntimeError),
        (lambda there: there.double(), TypeError),
        (lambda there: torch.ones(3).double().to(there.device), TypeError),
        (lambda there: torch.randn(3, device=there.device, generator=draws()), RuntimeError),
        (lambda there: there.numpy(), (RuntimeError, TypeError)),
        (lambda there: np.asarray(there), (RuntimeError, TypeError)),
    ],
)
def test_the_other_device_refuses_what_a_gpu_refuses(wrong, error, elsewhere):
    with pytest.raises(error):
        wrong(torch.ones(3).to(elsewhere))


def test_the_other_device_computes(elsewhere):
    there = torch.arange(4.0).to(elsewhere)
    assert there.device == elsewhere
    assert (there * 2 + 1).cpu().tolist() == [1, 3, 5, 7]
    assert float(there.sum()) == 6
    there += 1
    assert there[there > 2].cpu().tolist() == [3, 4]


def test_draws_of_a_cpu_generator_are_the_same_everywhere(elsewhere):
    made = drawn(torch.randn, (5, 2), device=elsewhere, generator=draws())
    assert_same(made, torch.randn((5, 2), generator=draws()))
    order = drawn(torch.randperm, 9, device=elsewhere, generator=draws())
    assert order.device == elsewhere
    assert_same(order, torch.randperm(9, generator=draws()))


# --- models -------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", sorted(BODIES))
@pytest.mark.parametrize("classes", [0, 10])
def test_a_model_encodes_decodes_and_samples(body, classes, elsewhere):
    model = build_vae(body, 3, classes=classes).eval()
    labels, z = torch.arange(12) % classes if classes else None, normal(12, 3)

    def everything():
        return (
            latent.encode(model, CLOTHES),
            latent.decode(model, z, labels),
            latent.aggregate(model, CLOTHES),
            latent.by_kl(model, CLOTHES)[1],
        )

    with torch.inference_mode():
        expected = here(everything())
        model.to(elsewhere)
        found = everything()
    assert device_of(model) == elsewhere
    assert all(one.device.type == "cpu" for one in (*found[0], *found[1:4]))
    assert_same(found, expected)


LOSSES = {
    "vae": (lambda: build_vae("conv", 3), vae_loss),
    "free bits": (
        lambda: build_vae("dense", 3),
        lambda *a, **b: vae_loss(*a, likelihood="gaussian", free_bits=0.1, **b),
    ),
    "conditional": (lambda: build_vae("residual", 3, classes=10), vae_loss),
    "autoencoder": (lambda: build_vae("deep-conv", 3, variational=False), autoencoder_loss),
    "classifier": (lambda: build_classifier(64), classifier_loss),
}


@pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter")  # which works here
@pytest.mark.parametrize("name", LOSSES)
def test_training_ends_where_it_ends_on_the_cpu(name, elsewhere, tmp_path):
    build, loss = LOSSES[name]
    ends = []
    for device in ("cpu", elsewhere):
        options = {"epochs": 2, "batch_size": 48, "loss": loss, "progress": False}
        options |= {"watch": {"test": CLOTHES}, "state": tmp_path / f"{device}.safetensors"}
        trained, resumed = build().to(device), build().to(device)
        history, _ = fit(trained, CLOTHES, **options)
        assert fit(resumed, CLOTHES, **options)[0].rows == history.rows
        scores = [evaluate(model, CLOTHES, loss=loss) for model in (trained, resumed)]
        assert_same(*scores)
        ends.append([history.curve("train"), scores[0]])
    torch.testing.assert_close(*ends, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("likelihood", losses.LIKELIHOODS)
def test_losses_and_their_gradients(likelihood, elsewhere):
    def value(device):
        logits = normal(6, 1, 28, 28).to(device).requires_grad_(True)
        nll = losses.reconstruction_nll(logits, IMAGES[:6].to(device), likelihood)
        nll.sum().backward()
        return nll, logits.grad

    assert_same(value(elsewhere), value("cpu"))


def test_a_floor_is_measured_on_the_cpu(elsewhere):
    found = losses.entropy_floor(IMAGES.to(elsewhere))
    assert (found.device.type, found.dtype) == ("cpu", torch.float64)
    assert_same(found, losses.entropy_floor(IMAGES))


# --- latent spaces, classifiers, metrics --------------------------------------------------------


@pytest.mark.parametrize(
    "walk",
    [
        lambda z: latent.interpolate(z[0], z[1]),
        lambda z: latent.traverse(z),
    ],
)
def test_walks_take_codes_from_anywhere(walk, elsewhere):
    assert_same(walk(CODES.to(elsewhere)), walk(CODES))


def test_a_classifier_measures_and_is_calibrated(elsewhere):
    model = build_classifier(64).eval()
    seen = {
        name: classifier.in_batches(model, IMAGES, name) for name in ("features", "probabilities")
    }
    classifier.calibrate(model, CLOTHES)
    temperature = float(model.temperature)
    moved = build_classifier(64).eval().to(elsewhere)
    for name, expected in seen.items():
        found = classifier.in_batches(moved, IMAGES, name)
        assert found.device.type == "cpu"
        assert_same(found, expected)
    classifier.calibrate(moved, CLOTHES)
    assert float(moved.temperature) == pytest.approx(temperature, rel=1e-3)


@pytest.mark.parametrize(
    "measure",
    [
        lambda codes, labels: active_units(codes),
        lambda codes, labels: mutual_information(codes, -codes.abs(), draws()),
        lambda codes, labels: auroc(codes[:, 0], codes[:, 1]),
        lambda codes, labels: vars(estimate(codes[:, 0])),
        lambda codes, labels: vars(welch(codes[:, 0], codes[:, 1])),
        lambda codes, labels: vars(paired(codes[:, 0], codes[:, 1])),
        lambda codes, labels: frechet(codes, codes**2),
        lambda codes, labels: kernel_distances(codes, codes**2, size=50, subsets=2).tolist(),
        lambda codes, labels: neighbour_scores(codes, codes**2),
        lambda codes, labels: mutual_information_gap(codes, codes[:, :2]),
        lambda codes, labels: dci(codes, codes[:, :2]),
    ],
)
def test_metrics_take_tensors_from_anywhere(measure, elsewhere):
    found, expected = measure(CODES.to(elsewhere), THIRDS.to(elsewhere)), measure(CODES, THIRDS)
    assert_same(found, expected)


@pytest.mark.parametrize("measure", [sharpness, diversity])
def test_pictures_are_measured_from_anywhere(measure, elsewhere):
    assert_same(measure(IMAGES.to(elsewhere)), measure(IMAGES))


@pytest.mark.parametrize("generator", [None, draws])
def test_bounds_are_measured_on_images_from_anywhere(generator, elsewhere):
    model = build_vae("dense", 2)
    expected = log_weights(model, IMAGES, 3, draws())
    model.to(elsewhere)
    for images in (IMAGES, IMAGES.to(elsewhere)):
        weights = log_weights(model, images, 3, generator and generator())
        assert weights.device.type == "cpu"
        assert weights.isfinite().all()
    assert_same(log_weights(model, IMAGES, 3, draws()), expected)
