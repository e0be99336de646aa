"""What measures, draws or makes pictures leaves a model as it found it, whatever its mode."""

import importlib
import inspect
import pkgutil

import pytest
import torch

import vae_helpers
from vae_helpers import classifier, films, latent, models, training
from vae_helpers.classifier import FashionResNet18, build_classifier, classifier_loss
from vae_helpers.data import garments
from vae_helpers.metrics import posterior
from vae_helpers.models import VAE, build_vae

CLOTHES = garments(24, seed=8)
IMAGES, LABELS = CLOTHES[:]
Z = torch.randn((24, 3), generator=torch.Generator().manual_seed(0))


def vae():
    return build_vae("conv", 3)


def trained_once(model):
    training.fit(model, CLOTHES, epochs=1, loss=training.vae_loss, progress=False)


# Every public function with a model, and method of one: how to call it, on which model.
LEAVE_ALL = {
    "films.walk_film": (vae, lambda m: films.walk_film(m, CLOTHES)),
    "classifier.in_batches": (build_classifier, lambda m: classifier.in_batches(m, IMAGES)),
    "FashionResNet18.probabilities": (build_classifier, lambda m: m.probabilities(IMAGES)),
    "latent.aggregate": (vae, lambda m: latent.aggregate(m, CLOTHES)),
    "latent.by_kl": (vae, lambda m: latent.by_kl(m, CLOTHES)),
    "latent.decode": (vae, lambda m: latent.decode(m, Z)),
    "latent.encode": (vae, lambda m: latent.encode(m, CLOTHES)),
    "posterior.log_weights": (vae, lambda m: posterior.log_weights(m, IMAGES, 2)),
    "models.device_of": (vae, models.device_of),
    "training.evaluate": (vae, lambda m: training.evaluate(m, CLOTHES)),
    "VAE.generate": (vae, lambda m: m.generate(Z)),
}
# These change what they are for, and nothing else.
LEAVE_MODES = {
    "classifier.calibrate": (build_classifier, lambda m: classifier.calibrate(m, CLOTHES)),
    "training.fit": (vae, trained_once),
}
# The passes of training itself: they keep the mode, and what it says of statistics.
PASSES = {
    "classifier.classifier_loss": (build_classifier, lambda m: classifier_loss(m, IMAGES, LABELS)),
    "FashionResNet18.features": (build_classifier, lambda m: m.features(IMAGES)),
    "FashionResNet18.forward": (build_classifier, lambda m: m(IMAGES)),
    "training.autoencoder_loss": (vae, lambda m: training.autoencoder_loss(m, IMAGES, LABELS)),
    "training.vae_loss": (vae, lambda m: training.vae_loss(m, IMAGES, LABELS)),
    "VAE.decode": (vae, lambda m: m.decode(Z)),
    "VAE.encode": (vae, lambda m: m.encode(IMAGES)),
    "VAE.forward": (vae, lambda m: m(IMAGES)),
}
WITHOUT_A_PASS = {"models.evaluating", "FashionResNet18.probabilities_of", "VAE.reparameterize"}


def public():
    """The name of every public function that takes a model, and every public method of one."""
    for found in pkgutil.walk_packages(vae_helpers.__path__, "vae_helpers."):
        module = importlib.import_module(found.name)
        for name, function in inspect.getmembers(module, inspect.isfunction):
            own = function.__module__ == module.__name__ and not name.startswith("_")
            if own and "model" in inspect.signature(function).parameters:
                yield f"{module.__name__.rpartition('.')[2]}.{name}"
    for kind in (VAE, FashionResNet18):
        for name, value in vars(kind).items():
            if not name.startswith("_") and not isinstance(value, property):
                yield f"{kind.__name__}.{name}"


def test_every_function_that_takes_a_model_is_tested_here():
    assert set(public()) == {*LEAVE_ALL, *LEAVE_MODES, *PASSES, *WITHOUT_A_PASS}


def in_training(build):
    """A model in training mode, but for one normalization; and what it is like."""
    model = (build(64) if build is build_classifier else build()).train()
    next(part for part in model.modules() if isinstance(part, torch.nn.BatchNorm2d)).eval()
    return model, [part.training for part in model.modules()]


def state_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def changed(model, before):
    return {name for name, value in model.state_dict().items() if not value.equal(before[name])}


@pytest.mark.parametrize("name", LEAVE_ALL | LEAVE_MODES | PASSES)
def test_each_part_keeps_its_mode(name):
    build, call = (LEAVE_ALL | LEAVE_MODES | PASSES)[name]
    model, modes = in_training(build)
    call(model)
    assert [part.training for part in model.modules()] == modes


@pytest.mark.parametrize("name", LEAVE_ALL)
def test_statistics_and_weights_stay_and_gradients_are_not_made(name):
    build, call = LEAVE_ALL[name]
    model, _ = in_training(build)
    before = state_of(model)
    call(model)
    assert changed(model, before) == set()
    assert all(weight.grad is None for weight in model.parameters())


def test_calibration_changes_the_temperature_alone():
    model, _ = in_training(build_classifier)
    before = state_of(model)
    classifier.calibrate(model, CLOTHES)
    assert changed(model, before) == {"temperature"}


@pytest.mark.parametrize("name", PASSES)
def test_the_passes_of_training_do_move_statistics(name):
    build, call = PASSES[name]
    model, _ = in_training(build)
    before = state_of(model)
    call(model)
    assert any("running_mean" in one for one in changed(model, before))


@pytest.mark.parametrize("name", sorted(LEAVE_ALL.keys() - {"VAE.sample", "models.device_of"}))
def test_results_do_not_depend_on_the_mode(name):
    build, call = LEAVE_ALL[name]
    model, _ = in_training(build)
    results = []
    for _ in range(2):
        torch.manual_seed(0)
        results.append(call(model))
        model.eval()
    torch.testing.assert_close(*map(plain, results))


def plain(value):
    """Tensors alone, of whatever is made of tensors, numbers and words."""
    if isinstance(value, dict):
        value = value.values()
    if isinstance(value, torch.Tensor):
        return [value]
    return [one for one in value or () if isinstance(one, torch.Tensor)]
