import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from press.experiments import eda
from vae_helpers.data import ImageDataset, garments


@pytest.fixture(scope="module")
def clothes():
    return garments(300, seed=5)


@pytest.fixture(scope="module")
def known():
    """Four images of one shade each: two black, one white, one at 51/255 = 0.2; no "unseen"."""
    images = torch.zeros(4, 1, 28, 28, dtype=torch.uint8)
    images[1], images[3] = 255, 51
    classes = ("both", "dark", "grey", "unseen")
    return ImageDataset(images, torch.tensor([0, 0, 1, 2]), classes, "known")


# --- a case worked out by hand -----------------------------------------------------------------


def test_statistics_of_known_images(known):
    # mean (0 + 1 + 0 + 0.2)/4, mean square (0 + 1 + 0 + 0.04)/4; only the grey image has entropy
    mean, square = 0.3, 0.26
    entropy = -(0.2 * math.log(0.2) + 0.8 * math.log(0.8))
    found = eda.statistics(known)
    assert (found.shape, found.dtype) == ((4, 1, 28, 28), "uint8")
    assert (found.minimum, found.maximum) == (0, 1)
    assert found.mean == pytest.approx(mean)
    assert found.std == pytest.approx(math.sqrt(square - mean**2))
    assert (found.rarest_class, found.commonest_class) == (0, 2)
    assert found.entropy_floor == pytest.approx(784 * entropy / 4)


def test_counts_of_known_images(known):
    assert eda.class_counts(known).tolist() == [2, 1, 1, 0]
    counts = eda.intensity_counts(known)
    assert {(int(i), int(j)): int(counts[i, j]) for i, j in np.argwhere(counts)} == {
        (0, 0): 784,
        (0, 255): 784,
        (1, 0): 784,
        (2, 51): 784,
    }


def test_class_images_of_known_images_are_nan_where_there_is_none(known):
    means, variances = eda.class_images(known)
    assert means.shape == variances.shape == (4, 28, 28)
    for label, (mean, variance) in enumerate([(0.5, 0.25), (0, 0), (0.2, 0)]):
        np.testing.assert_allclose(means[label], mean)
        np.testing.assert_allclose(variances[label], variance, atol=1e-15)
    assert np.isnan(means[3]).all()
    assert np.isnan(variances[3]).all()


def test_known_classes_have_known_distances_and_look_alikes(known):
    seen = ImageDataset(known.images, known.labels, known.classes[:3], "seen")
    # one shade each, so a distance is 28 times the difference in shade
    expected = 28 * np.abs(np.subtract.outer([0.5, 0, 0.2], [0.5, 0, 0.2]))
    np.testing.assert_allclose(eda.class_distances(seen), expected, atol=1e-12)
    assert [(a, b, round(d, 9)) for a, b, d in eda.look_alikes(seen)] == [
        ("both", "grey", 8.4),
        ("dark", "grey", 5.6),
        ("grey", "dark", 5.6),
    ]


def test_a_class_without_images_is_nobodys_look_alike(known):
    pairs = [(name, nearest) for name, nearest, _ in eda.look_alikes(known)]
    assert pairs == [("both", "grey"), ("dark", "grey"), ("grey", "dark")]
    assert eda.look_alikes(known.only(["both"])) == []


# --- counts of bytes against the pixels themselves -----------------------------------------------


def test_statistics_agree_with_the_pixels(clothes):
    pixels = clothes[:][0].double()
    found = eda.statistics(clothes)
    assert found.shape == tuple(clothes.images.shape)
    assert (found.minimum, found.maximum) == pytest.approx(tuple(map(float, pixels.aminmax())))
    assert found.mean == pytest.approx(float(pixels.mean()), rel=1e-7)
    assert found.std == pytest.approx(float(pixels.std(correction=0)), rel=1e-7)
    assert found.rarest_class == clothes.labels.bincount(minlength=10).min()
    assert found.commonest_class == clothes.labels.bincount(minlength=10).max()


def test_entropy_floor_is_the_cross_entropy_of_the_images_with_themselves(clothes):
    pixels = clothes.images.double() / 255
    itself = F.binary_cross_entropy(pixels, pixels, reduction="sum") / len(clothes)
    assert eda.statistics(clothes).entropy_floor == pytest.approx(float(itself), rel=1e-9)


def test_no_other_prediction_gets_below_the_entropy_floor(clothes):
    pixels = clothes.images.double() / 255
    floor = eda.statistics(clothes).entropy_floor
    for shift in (-0.01, 0.01):
        near = (pixels + shift).clamp(0, 1)
        assert F.binary_cross_entropy(near, pixels, reduction="sum") / len(clothes) > floor


def test_counts_agree_with_the_labels_and_pixels(clothes):
    assert eda.class_counts(clothes).tolist() == clothes.labels.bincount(minlength=10).tolist()
    counts = eda.intensity_counts(clothes)
    assert counts.shape == (10, 256)
    assert counts.sum() == clothes.images.numel()
    for label in range(10):
        pixels = clothes.images[clothes.labels == label].flatten()
        assert counts[label].tolist() == pixels.bincount(minlength=256).tolist()


def test_class_images_agree_with_the_pixels(clothes):
    means, variances = eda.class_images(clothes)
    for label in range(10):
        pixels = clothes.images[clothes.labels == label, 0].double() / 255
        np.testing.assert_allclose(means[label], pixels.mean(0), atol=1e-12)
        np.testing.assert_allclose(variances[label], pixels.var(0, correction=0), atol=1e-12)


def test_distances_agree_with_torch(clothes):
    means = torch.from_numpy(eda.class_images(clothes)[0]).flatten(1)
    np.testing.assert_allclose(
        eda.class_distances(clothes),
        torch.cdist(means, means, compute_mode="donot_use_mm_for_euclid_dist"),
        atol=1e-12,
    )


def test_look_alikes_are_each_class_nearest_other(clothes):
    distances = eda.class_distances(clothes)
    pairs = eda.look_alikes(clothes)
    assert [name for name, _, _ in pairs] == list(clothes.classes)
    for i, (name, nearest, distance) in enumerate(pairs):
        others = {other: distances[i, j] for j, other in enumerate(clothes.classes) if j != i}
        assert nearest == min(others, key=others.get)
        assert nearest != name
        assert distance == others[nearest]


def test_numbers_do_not_depend_on_the_order_of_images(clothes):
    shuffled = clothes.subset(torch.randperm(300, generator=torch.Generator().manual_seed(0)))
    assert eda.statistics(shuffled) == eda.statistics(clothes)
    np.testing.assert_allclose(
        eda.class_distances(shuffled), eda.class_distances(clothes), atol=1e-12
    )


# --- the real thing ----------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "floor"), [("fashion-mnist", 189.86), ("mnist", 45.53)])
def test_entropy_floor_of_the_real_test_images(real_book, name, floor):
    found = eda.statistics(real_book.images("test", name))
    assert found.entropy_floor == pytest.approx(floor, abs=0.01)


def test_statistics_of_the_real_training_images(real_book):
    found = eda.statistics(real_book.images("train"))
    assert (found.minimum, found.maximum) == (0, 1)
    # the constants that normalize Fashion-MNIST in every PyTorch example
    assert found.mean == pytest.approx(0.2860, abs=5e-5)
    assert found.std == pytest.approx(0.3530, abs=5e-5)
    assert (found.rarest_class, found.commonest_class) == (6_000, 6_000)
