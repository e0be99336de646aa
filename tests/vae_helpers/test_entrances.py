"""Every public function that takes pixels or labels: it works rightly, or says what to give."""

import importlib
import inspect
import pkgutil
import re

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

import vae_helpers
from vae_helpers import classifier, data, films, latent, losses, training
from vae_helpers.classifier import build_classifier
from vae_helpers.data import ImageDataset, from_array, garments
from vae_helpers.errors import DataError
from vae_helpers.figures import charts, pictures
from vae_helpers.metrics import images as measures
from vae_helpers.metrics import posterior
from vae_helpers.models import build_vae

CLOTHES = garments(20, seed=1)
IMAGES, LABELS = CLOTHES[:]
LOGITS = torch.linspace(-3, 3, IMAGES.numel()).view(IMAGES.shape)
CODES = torch.randn((20, 2), generator=torch.Generator().manual_seed(0))
MODEL, CONDITIONAL = build_vae("dense", 2).eval(), build_vae("dense", 2, classes=10).eval()
JUDGE = build_classifier(64).eval()


def draws():
    return torch.Generator().manual_seed(0)


def drawn(figure: Figure):
    return [np.asarray(image.get_array()) for ax in figure.axes for image in ax.images]


def film(pixels=IMAGES, labels=LABELS):
    codes = torch.stack([CODES, 2 * CODES])
    few = pixels[:4]
    both = np.stack([few, few]) if isinstance(few, np.ndarray) else torch.stack([few, few])
    return films.TrainingFilm(
        torch.tensor([1.0, 2.0]), codes, labels, CLOTHES.classes, torch.ones(2, 3), few, both
    )


# What takes pixels, by name, as a function of these pixels.
OF_PIXELS = {
    "losses.elbo_terms": lambda x: losses.elbo_terms(LOGITS, x, CODES, CODES),
    "losses.reconstruction_nll": lambda x: losses.reconstruction_nll(LOGITS, x),
    "losses.bernoulli_nll": lambda x: losses.bernoulli_nll(LOGITS, x),
    "losses.continuous_bernoulli_nll": lambda x: losses.continuous_bernoulli_nll(LOGITS, x),
    "losses.mean_squared_error": lambda x: losses.mean_squared_error(LOGITS, x),
    "losses.entropy_floor": losses.entropy_floor,
    "models.VAE.forward": lambda x: MODEL(x, draws()),
    "models.VAE.encode": MODEL.encode,
    "training.vae_loss": lambda x: training.vae_loss(MODEL, x, None, generator=draws()),
    "training.autoencoder_loss": lambda x: training.autoencoder_loss(MODEL, x, None),
    "classifier.classifier_loss": lambda x: classifier.classifier_loss(JUDGE, x, LABELS),
    "classifier.augmented": lambda x: classifier.augmented(x, draws()),
    "classifier.in_batches": lambda x: classifier.in_batches(JUDGE, x),
    "classifier.FashionResNet18.features": JUDGE.features,
    "classifier.FashionResNet18.forward": JUDGE,
    "classifier.FashionResNet18.probabilities": JUDGE.probabilities,
    "metrics.images.sharpness": measures.sharpness,
    "metrics.images.diversity": measures.diversity,
    "metrics.posterior.log_weights": lambda x: posterior.log_weights(MODEL, x, 2, draws()),
    "data.checked_images": data.checked_images,
    "figures.pictures.pixels": pictures.pixels,
    "figures.pictures.picture_grid": lambda x: drawn(pictures.picture_grid(x)),
    "figures.pictures.picture_rows": lambda x: drawn(pictures.picture_rows({"a": x, "b": x})),
    "figures.pictures.manifold": lambda x: drawn(pictures.manifold(x[:16])),
    "films.training_film": lambda x: films.training_film([film(x)]),
}
# What takes labels, likewise.
OF_LABELS = {
    "models.VAE.forward": lambda y: CONDITIONAL(IMAGES, draws(), y),
    "models.VAE.encode": lambda y: CONDITIONAL.encode(IMAGES, y),
    "models.VAE.decode": lambda y: CONDITIONAL.decode(CODES, y),
    "models.VAE.generate": lambda y: CONDITIONAL.generate(CODES, y),
    "latent.decode": lambda y: latent.decode(CONDITIONAL, CODES, y),
    "training.vae_loss": lambda y: training.vae_loss(CONDITIONAL, IMAGES, y),
    "classifier.classifier_loss": lambda y: classifier.classifier_loss(JUDGE, IMAGES, y),
    "data.ImageDataset": lambda y: ImageDataset(CLOTHES.images, y, CLOTHES.classes),
    "data.checked_labels": lambda y: data.checked_labels(y, 20, 10),
    "figures.charts.latent_maps": lambda y: charts.latent_maps({"a": CODES}, y, CLOTHES.classes),
    "figures.charts.name_classes": lambda y: charts.name_classes(
        Figure().subplots(), CODES, y, CLOTHES.classes
    ),
    "films.training_film": lambda y: films.training_film([film(labels=y)]),
}
# What takes whole datasets.
OF_DATA = {
    "training.fit": lambda d: training.fit(build_vae("dense", 2), d, epochs=1, progress=False),
    "training.fit, watch": lambda d: training.fit(
        build_vae("dense", 2), CLOTHES, epochs=1, progress=False, watch={"test": d}
    ),
    "training.evaluate": lambda d: training.evaluate(MODEL, d),
    "latent.encode": lambda d: latent.encode(MODEL, d),
    "latent.aggregate": lambda d: latent.aggregate(MODEL, d),
    "latent.by_kl": lambda d: latent.by_kl(MODEL, d),
    "classifier.calibrate": lambda d: classifier.calibrate(build_classifier(64), d),
    "films.walk_film": lambda d: films.walk_film(MODEL, d),
    "data.checked_data": data.checked_data,
}
# Why the others need no check.
OTHERS = {
    "data.ImageDataset": "bytes alone, tested in test_data.py",
    "data.from_array": "arrays of its own form, tested in test_data.py",
    "losses.gaussian_nll": "a density of any real numbers",
    "figures.pictures.mosaic": "takes what pixels gives",
    "films.TrainingFilm": "checked by training_film",
    "models.Encoder.forward": "called by VAE.encode",
    "training.autoencoder_loss": "looks at no labels",
    "figures.charts.matrix": "its labels are those of axes",
}
TAKEN = {"images", "labels", "pictures", "pixels", "known_labels", "data", "held_out"}


def public():
    """Every public function, class and method of the library by its name, with its parameters."""
    for found in pkgutil.walk_packages(vae_helpers.__path__, "vae_helpers."):
        module = importlib.import_module(found.name)
        for name, one in vars(module).items():
            if name.startswith("_") or getattr(one, "__module__", "") != found.name:
                continue
            place = f"{found.name.removeprefix('vae_helpers.')}.{name}"
            if inspect.isfunction(one) or hasattr(one, "__dataclass_fields__"):
                yield place, one
            if inspect.isclass(one):
                for method, function in vars(one).items():
                    if inspect.isfunction(function) and not method.startswith("_"):
                        yield f"{place}.{method}", function


def test_no_public_function_takes_pixels_or_labels_untested():
    known = {name.split(",")[0] for name in (*OF_PIXELS, *OF_LABELS, *OF_DATA, *OTHERS)}
    taking = {name for name, one in public() if TAKEN & set(inspect.signature(one).parameters)}
    assert len(taking) > 30
    assert taking - known == set()
    assert known - {name for name, _ in public()} == set()


def same(found, expected):
    if isinstance(expected, dict):
        found, expected = list(found.values()), list(expected.values())
    if isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            same(one, other)
        return
    found, expected = (torch.as_tensor(one).detach().double() for one in (found, expected))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


BYTES = CLOTHES.images


@pytest.mark.parametrize("name", OF_PIXELS)
def test_bytes_arrays_and_double_precision_are_taken_for_what_they_are(name):
    use, expected = OF_PIXELS[name], OF_PIXELS[name](IMAGES.clone())
    for given in (BYTES, BYTES.numpy(), IMAGES.numpy(), IMAGES.double(), IMAGES.double().numpy()):
        same(use(given), expected)


@pytest.mark.fault(
    "pixels from −1 to 1, up to 255 as floats, NaN, or as whole numbers, given to any "
    "loss, measure, model or figure",
    "each function refuses them, saying what it got and what to give; bytes, arrays and doubles "
    "give the same numbers as floats",
)
@pytest.mark.parametrize("name", OF_PIXELS)
def test_what_are_no_pixels_is_refused(name):
    for given, message in [
        (2 * IMAGES - 1, r"torch.float32 from -1 to .*; give bytes, or .* in \[0, 1\]"),
        (255 * IMAGES, "from 0 to .*give bytes, or"),
        (torch.where(IMAGES > 0.5, torch.nan, IMAGES), "from nan to nan; give bytes, or"),
        (BYTES.long(), "torch.int64 from 0 to .*; give bytes, or"),
        ((2 * IMAGES - 1).numpy(), "torch.float32 from -1 to"),
        (IMAGES.double() + 1, "torch.float64 from 1 to"),
    ]:
        with pytest.raises(DataError, match=message) as caught:
            OF_PIXELS[name](given)
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", OF_PIXELS)
def test_pixels_are_checked_again_once_they_have_changed(name):
    images = IMAGES.clone()
    OF_PIXELS[name](images)
    images.mul_(255)
    with pytest.raises(DataError, match="pixels of type"):
        OF_PIXELS[name](images)


@pytest.mark.parametrize("name", OF_PIXELS)
def test_other_shapes_are_refused_and_not_taken_for_something_else(name):
    for given in (IMAGES[:, 0, 0, 0], IMAGES[..., :5]):
        if given.ndim == 4 and ("metrics.images" in name or "figures" in name or "JUDGE" in name):
            continue  # any size is good
        try:
            result = OF_PIXELS[name](given)
        except ValueError as error:
            assert re.search(r"\((20|16|4),", str(error))  # noqa: PT017
        else:
            assert result is not None


@pytest.mark.fault(
    "labels as floats, of 8 or 32 bits, in a column, as an array, too few, or of a class that does "
    "not exist, given to any model, loss, measure or figure",
    "each function refuses them, saying what it got and what to give",
)
@pytest.mark.parametrize("name", OF_LABELS)
def test_what_are_no_labels_is_refused(name):
    use = OF_LABELS[name]
    use(LABELS.clone())
    for given, message in [
        (LABELS.float(), r"labels are torch.float32 \(20,\) for 20 .*; give a tensor of one int64"),
        (LABELS.to(torch.uint8), "torch.uint8"),
        (LABELS.int(), "torch.int32"),
        (LABELS[:, None], r"torch.int64 \(20, 1\)"),
        (LABELS.numpy(), r"labels are int64 \(20,\) for 20 .*; give a tensor"),
        (LABELS.tolist(), r"<class 'list'> \(\) for 20"),
        (LABELS[:-1], r"torch.int64 \(19,\) for 20"),
        (LABELS - 1, "label -1 is outside"),
        (LABELS + 1, "label 10 is outside 0–9; correct it"),
    ]:
        with pytest.raises(DataError, match=message):
            use(given)


@pytest.mark.fault(
    "a tensor, an array or a list is given where a dataset is wanted",
    "refused before any work, saying how to make a dataset of it",
)
@pytest.mark.parametrize("name", OF_DATA)
def test_what_is_no_dataset_is_refused(name):
    for given in (IMAGES, BYTES.numpy(), [(IMAGES[0], 1)]):
        with pytest.raises(DataError, match="give an ImageDataset, as from_array makes one"):
            OF_DATA[name](given)


def test_a_dataset_of_arrays_is_refused_with_the_remedy():
    with pytest.raises(
        DataError,
        match=r"images are uint8 \(20, .*; give a tensor .* an array to from_array",
    ):
        ImageDataset(BYTES.numpy())


def test_a_classifier_without_labels_to_learn_from_says_so():
    bare = from_array(BYTES[:, 0].numpy(), name="mine")
    with pytest.raises(DataError, match="mine: these images have no labels"):
        classifier.calibrate(JUDGE, bare)
    with pytest.raises(DataError, match=r"labels are <class 'NoneType'> \(\) for 20"):
        training.evaluate(JUDGE, bare, loss=classifier.classifier_loss)


def test_a_gpu_that_trains_is_not_waited_for():
    """Its answer would be, in each step. Its stand-in here knows shapes alone."""
    with FakeTensorMode():
        pixels = torch.full((2, 1, 4, 4), 7.0, device="cuda")
        assert data.checked_images(pixels) is pixels
        with torch.no_grad(), pytest.raises(DataDependentOutputException):  # it asks
            data.checked_images(pixels)


# --- a float64 of one's own, and datasets that are changed ---------------------------------------


@pytest.fixture
def double():
    """PyTorch makes double precision where nothing is said, as some notebooks set it."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.fault(
    "`torch.set_default_dtype(torch.float64)` stands at the top of a notebook",
    "models are trained, measured and drawn in that type; those in float32 stay as they are",
)
@pytest.mark.parametrize("body", ["dense", "conv"])
def test_another_default_type_breaks_nothing(body, double):
    model, judge = build_vae(body, 2, classes=10), build_classifier(64)
    history, _ = training.fit(model, CLOTHES, epochs=3, progress=False, batch_size=8)
    assert history.curve("train")[-1] < history.curve("train")[0]
    classifier.calibrate(judge, CLOTHES)
    mu, log_var = latent.encode(model, CLOTHES)
    made = latent.decode(model, latent.frozen(3, 2, 1.0, seed=0), LABELS[:3])
    found = [
        training.evaluate(model, CLOTHES)["total"],
        made,
        latent.decode(model, latent.interpolate(CODES[0], CODES[1], 4), LABELS[:4]),
        latent.decode(model, latent.quantile_grid(2), LABELS[:4]),
        latent.decode(model, latent.traverse(CODES, 2)[0], LABELS[:2]),
        classifier.in_batches(judge, IMAGES, "probabilities"),
        measures.sharpness(made),
        torch.tensor(measures.diversity(made)),
        torch.tensor(posterior.mutual_information(mu, log_var, draws())),
        posterior.log_weights(MODEL, IMAGES, 2, draws()),
        *map(torch.tensor, drawn(pictures.picture_grid(made, 3))),
    ]
    assert all(one.isfinite().all() for one in found)


def test_a_model_in_float32_computes_the_same_whatever_the_default(double):
    mine = training.evaluate(MODEL, CLOTHES)["kl"], latent.decode(MODEL, CODES)
    torch.set_default_dtype(torch.float32)
    same(mine, (training.evaluate(MODEL, CLOTHES)["kl"], latent.decode(MODEL, CODES)))


@pytest.mark.fault(
    "images or labels of a dataset that others use are changed in place",
    "its digest is that of what it holds now, so that no checkpoint or row passes for its own",
)
def test_a_dataset_changed_in_place_has_another_digest():
    for change in (
        lambda mine: mine.images[0].zero_(),
        lambda mine: mine.images.numpy().__setitem__((0, 0, 14, 14), 77),
        lambda mine: mine.labels.add_(1).remainder_(10),
    ):
        mine = garments(20, seed=1)
        assert mine.digest == CLOTHES.digest
        change(mine)
        assert mine.digest != CLOTHES.digest
