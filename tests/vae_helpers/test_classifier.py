"""The classifier: shapes, augmentation, learning, calibration with known answers."""

import pytest
import torch

from vae_helpers import classifier
from vae_helpers.data import garments
from vae_helpers.training import evaluate, fit

CLOTHES = garments(400, seed=6)


def seeded():
    return torch.Generator().manual_seed(0)


def test_it_has_resnet_18_s_layers_and_its_sizes():
    model = classifier.build_classifier(64)
    convolutions = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len([m for m in convolutions if m.kernel_size == (3, 3)]) == 17  # and one linear layer
    assert len([m for m in convolutions if m.kernel_size == (1, 1)]) == 3
    images = CLOTHES[:5][0]
    assert model(images).shape == (5, 10)
    assert model.features(images).shape == (5, 64)
    assert model.stem(images).shape == (5, 8, 28, 28)  # no pixel more or less
    assert [block(torch.zeros(1, 8, 28, 28)).shape[2] for block in model.stages[:1]] == [28]


@pytest.mark.parametrize("features", [0, 32, 100])
def test_features_must_be_a_multiple_of_64(features):
    with pytest.raises(ValueError, match="multiple of 64"):
        classifier.build_classifier(features)


def test_it_learns_and_its_loss_has_an_error():
    model = classifier.build_classifier(64)
    history, _ = fit(
        model,
        CLOTHES,
        epochs=6,
        batch_size=32,
        lr=3e-3,
        loss=classifier.classifier_loss,
        progress=False,
    )
    assert history.curve("train")[-1] < history.curve("train")[0] / 2
    terms = evaluate(model, CLOTHES, loss=classifier.classifier_loss)
    assert set(terms) == {"total", "error"}
    predicted = classifier.in_batches(model, CLOTHES[:][0]).argmax(1)
    assert torch.equal(terms["error"], (predicted != CLOTHES.labels).float())
    assert float(terms["error"].mean()) < 0.5


def test_same_seed_same_weights_and_the_global_state_stays():
    before = torch.get_rng_state()
    one, same = (classifier.build_classifier(64, seed=3) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert torch.equal(before, torch.get_rng_state())


def test_augmented_images_are_shifted_or_mirrored_copies():
    image = CLOTHES[:1][0]
    many = classifier.augmented(image.expand(400, -1, -1, -1), torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(image, (1, 1, 1, 1))
    copies = [
        part
        for turned in (padded, padded.flip(3))
        for part in turned.unfold(2, 28, 1).unfold(3, 28, 1).reshape(9, 1, 28, 28)
    ]
    seen = {next(i for i, copy in enumerate(copies) if torch.equal(copy, made)) for made in many}
    assert len(seen) == 18  # nine places, mirrored or not


def test_channels_are_augmented_together():
    image = torch.rand((1, 3, 9, 6), generator=seeded())
    many = classifier.augmented(image.expand(200, -1, -1, -1), seeded())
    assert many.shape == (200, 3, 9, 6)
    places = (torch.arange(54.0).view(1, 1, 9, 6).expand(200, 3, -1, -1) + 1) / 64
    # Where each pixel came from, 0 for none.
    moved = (64 * classifier.augmented(places, seeded())).long()
    source = torch.cat([torch.zeros(3, 1), image[0].flatten(1)], dim=1)
    expected = torch.stack([source[c][moved[:, c]] for c in range(3)], dim=1)
    assert torch.equal(many, expected)
    assert (moved == moved[:, :1]).all()


def test_classes_and_channels_are_arguments():
    model = classifier.build_classifier(64, classes=4, channels=3)
    assert model(torch.rand(2, 3, 17, 23)).shape == (2, 4)


def test_ten_classes_of_grey_images_are_the_default():
    assert classifier.FashionResNet18(64)(CLOTHES[:5][0]).shape == (5, 10)


def test_augmentation_is_for_training_only():
    model = classifier.build_classifier(64).eval()
    images, labels = CLOTHES[:20]
    one, same = (classifier.classifier_loss(model, images, labels)["total"] for _ in range(2))
    assert torch.equal(one, same)


def test_calibration_finds_the_temperature_that_was_divided_out():
    class Known(torch.nn.Module):
        """Logits that are three times too sure of labels drawn from them."""

        def __init__(self):
            super().__init__()
            self.head = torch.nn.Linear(1, 1)
            self.register_buffer("temperature", torch.ones(()))

        def forward(self, images):
            return 3 * scale * (images[:, 0, 0, :10] - 0.5)

    images, scale = garments(500), 8.0
    pixels = torch.randint(256, images.images.shape, generator=seeded(), dtype=torch.uint8)
    logits = scale * (pixels[:, 0, 0, :10] / 255 - 0.5)
    drawn = torch.multinomial(logits.softmax(1), 1, generator=seeded()).squeeze(1)
    held_out = type(images)(pixels, drawn, images.classes, "drawn labels")
    model = Known()
    classifier.calibrate(model, held_out)
    assert float(model.temperature) == pytest.approx(3, rel=0.15)


def test_the_temperature_changes_confidence_and_never_the_class():
    model = classifier.build_classifier(64).eval()
    images = CLOTHES[:50][0]
    sure = classifier.in_batches(model, images, "probabilities")
    model.temperature.fill_(4.0)
    unsure = classifier.in_batches(model, images, "probabilities")
    assert torch.equal(sure.argmax(1), unsure.argmax(1))
    assert (unsure.max(1).values <= sure.max(1).values).all()
    assert torch.allclose(unsure.sum(1), torch.ones(50))


def test_many_images_in_batches_are_one_after_the_other_in_evaluation_mode():
    model, images = classifier.build_classifier(64).train(), CLOTHES[:130][0]
    found = {name: classifier.in_batches(model, images, name) for name in ("features", "forward")}
    model.eval()
    for name, whole in found.items():
        alone = torch.cat([getattr(model, name)(image[None]) for image in images[::40]])
        torch.testing.assert_close(whole[::40], alone.detach(), rtol=1e-4, atol=1e-5)
    assert torch.equal(classifier.in_batches(model, images), found["forward"])
    seen = classifier.in_batches(model, found["features"], "probabilities_of")
    torch.testing.assert_close(seen, found["forward"].softmax(1))
