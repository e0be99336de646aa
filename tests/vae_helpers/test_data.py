"""Images and labels as a value, from arrays and CSV: any size, with labels or without."""

import re
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from vae_helpers.data import (
    DIGIT_CLASSES,
    ImageDataset,
    from_array,
    from_csv,
    garments,
)
from vae_helpers.errors import DataError

SHAPES = [(1, 28, 28), (3, 32, 32), (1, 17, 23), (4, 1, 5)]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def noise(shape, count=6, seed=0):
    """Random bytes ``(count, C, H, W)``."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8)


@pytest.fixture(scope="module")
def clothes():
    return garments(200, seed=3)


@pytest.fixture
def tied(clothes):
    """The images again; the first two pixels of each hold its position and its label."""
    images = clothes.images.clone()
    images[:, 0, 0, 0] = torch.arange(len(clothes))
    images[:, 0, 0, 1] = clothes.labels
    return ImageDataset(images, clothes.labels, clothes.classes, "tied")


def positions(data):
    return data.images[:, 0, 0, 0].long()


# --- the dataset as a value --------------------------------------------------------------------


@pytest.mark.parametrize("index", [0, 7, -1, torch.tensor(5), np.int64(3)])
def test_one_index_gives_an_image_on_the_unit_scale_and_its_label(clothes, index):
    image, label = clothes[index]
    torch.testing.assert_close(image, clothes.images[index] / 255)
    assert image.shape == (1, 28, 28)
    assert image.dtype == torch.float32
    assert type(label) is int
    assert label == clothes.labels[index]


@pytest.mark.parametrize(
    "index",
    [
        slice(3, 9),
        slice(None),
        slice(0, 0),
        torch.tensor([5, 1, 1]),
        [2, 4],
        torch.arange(200) < 9,
    ],
    ids=["slice", "all", "none", "tensor", "list", "mask"],
)
def test_many_indices_give_a_batch(clothes, index):
    images, labels = clothes[index]
    torch.testing.assert_close(images, clothes.images[index] / 255)
    assert torch.equal(labels, clothes.labels[index])
    assert images.shape == (len(labels), 1, 28, 28)


def test_scaling_maps_bytes_onto_the_unit_interval_and_back():
    levels = torch.arange(784).remainder(256).to(torch.uint8).view(1, 1, 28, 28)
    images, _ = ImageDataset(levels, torch.tensor([0]), ("any",), "levels")[:]
    assert (images.min(), images.max()) == (0, 1)
    assert torch.equal((images * 255).round().to(torch.uint8), levels)


def test_indexing_leaves_the_bytes_as_they_were(clothes):
    before = clothes.images.clone()
    clothes[0][0].zero_()
    clothes[:5][0].zero_()
    assert torch.equal(clothes.images, before)


def test_length_bounds_positions_and_ends_a_loop(clothes):
    assert len(clothes) == 200
    assert len(list(clothes)) == 200
    with pytest.raises(IndexError):
        clothes[200]


@each_shape
def test_images_of_any_size_are_taken(shape):
    images = noise(shape)
    data = ImageDataset(images, torch.tensor([0, 1, 0, 1, 1, 0]), ("a", "b"))
    assert data.shape == shape
    image, label = data[4]
    assert (image.shape, label) == (shape, 1)
    for part in (data.subset([4, 2]), data.only(["b"]), data.balanced(4, seed=0)):
        assert part.shape == shape
    (batch, labels), _ = data.batches(4)
    torch.testing.assert_close(batch, images[:4] / 255)
    assert labels.tolist() == [0, 1, 0, 1]


@each_shape
def test_labels_may_be_missing(shape):
    images = noise(shape)
    data = ImageDataset(images)
    for index in (3, torch.tensor(3), slice(1, 3), [0, 5]):
        pixels, labels = data[index]
        torch.testing.assert_close(pixels, images[index] / 255)
        assert labels is None
    assert [labels for _, labels in data.batches(4)] == [None, None]
    first, rest = data.split(0.5)
    assert (len(first), len(rest), first.labels, rest.to("cpu").labels) == (3, 3, None, None)


@pytest.mark.parametrize(
    "use",
    [
        lambda data: replace(data, classes=("a",)).only("a"),
        lambda data: data.balanced(2, seed=0),
    ],
    ids=["only", "balanced"],
)
def test_what_needs_labels_says_so(use):
    with pytest.raises(DataError, match="mine: these images have no labels"):
        use(ImageDataset(noise((1, 4, 4)), name="mine"))


@pytest.mark.fault(
    "images as floats or in another order of axes; labels out of range, of another type or too few",
    "refused, naming what is wrong and where",
)
@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(2, 1, 28, 28), [0, 1], "images are torch.float32"),
        (torch.zeros(2, 28, 28, dtype=torch.uint8), [0, 1], r"\(2, 28, 28\)"),
        (torch.zeros(2, 3, 0, 28, dtype=torch.uint8), [0, 1], r"\(2, 3, 0, 28\)"),
        (torch.tensor(0, dtype=torch.uint8), [0], r"images are torch.uint8 \(\)"),
        (noise((1, 4, 4), 2), [0], r"labels are torch.int64 \(1,\) for 2 images"),
        (noise((1, 4, 4), 2), [[0], [1]], r"labels are torch.int64 \(2, 1\) for 2"),
        (noise((1, 4, 4), 2), 1, r"labels are torch.int64 \(\) for 2"),
        (noise((1, 4, 4), 2), [0.0, 1.0], "labels are torch.float32"),
        (noise((3, 4, 4), 2), [0, 3], "label 3 is outside 0–2"),
        (noise((3, 4, 4), 2), [-1, 0], "label -1 is outside 0–2"),
    ],
)
def test_unusable_tensors_are_refused_by_name(images, labels, message):
    with pytest.raises(DataError, match=message):
        ImageDataset(images, torch.tensor(labels), ("a", "b", "c"), "mine")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_everything_moves_to_a_device_and_works_there(tied, device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    moved = tied.to(device)
    assert {moved.images.device.type, moved.labels.device.type} == {device}
    assert moved.digest == tied.digest
    for part in (
        lambda data: data.split(0.9)[1],
        lambda data: data.only(["Bag"]),
        lambda data: data.balanced(50, seed=0),
        lambda data: data.subset([3, 1]),
    ):
        assert part(moved).images.device.type == device
        assert part(moved).digest == part(tied).digest


def test_no_float64_goes_to_a_device(tied):
    moved = tied.to("meta")  # which takes everything, and says where it is
    assert {moved.images.device.type, moved.labels.device.type} == {"meta"}
    assert moved.images.dtype == torch.uint8
    assert moved[:5][0].dtype == torch.float32
    assert moved.subset([5, 3]).images.shape == (2, 1, 28, 28)


# --- parts of a dataset ------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [0.9, 0.5, 0.01])
def test_split_is_a_partition(tied, fraction):
    first, rest = tied.split(fraction, seed=42)
    assert len(first) == round(fraction * 200)
    assert sorted(torch.cat([positions(first), positions(rest)]).tolist()) == list(range(200))


def test_split_is_decided_by_its_seed_alone(tied):
    torch.manual_seed(1)
    first, rest = tied.split(0.9, seed=42)
    torch.manual_seed(2)
    again, _ = tied.split(0.9, seed=42)
    other, _ = tied.split(0.9, seed=43)
    assert first.digest == again.digest
    assert set(positions(first).tolist()) != set(positions(other).tolist())
    assert positions(rest).tolist() != sorted(positions(rest).tolist())  # it is shuffled


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.1, 90, float("nan"), 0.001, 0.999])
def test_split_must_leave_images_on_both_sides(clothes, fraction):
    with pytest.raises(DataError, match=rf"cannot split 200 images at {fraction}; .*\(0, 1\)"):
        clothes.split(fraction)


@pytest.mark.parametrize("choice", [["Sandal", "Bag"], ["Bag", "Sandal"], ["Bag", "Sandal", "Bag"]])
def test_only_keeps_the_named_classes_in_their_order_and_labels(tied, choice):
    kept = tied.only(choice)
    expected = [i for i, label in enumerate(tied.labels.tolist()) if label in (5, 8)]
    assert positions(kept).tolist() == expected
    assert torch.equal(kept.labels, tied.labels[expected])
    assert kept.classes == tied.classes


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (["Hat"], "no class 'Hat'.*T-shirt/top"),
        (["Bag", 10], "no class 10"),
        ([-1], "no class -1"),
        ([], r"no image is left for the classes \[\]"),
    ],
)
def test_classes_that_keep_nothing_are_refused(clothes, choice, message):
    with pytest.raises(DataError, match=message):
        clothes.only(choice)


def test_class_that_occurs_nowhere_here_is_refused(clothes):
    with pytest.raises(DataError, match="no image is left.*'Bag'"):
        clothes.only(["Sandal"]).only(["Bag"])


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (slice(10, 13), [10, 11, 12]),
        ([5, 3, 3], [5, 3, 3]),
        (torch.tensor([199, 0]), [199, 0]),
        (np.array([4, 2]), [4, 2]),
        (torch.arange(200) >= 198, [198, 199]),
        ([], []),
        (7, [7]),
        (torch.tensor(7), [7]),
    ],
    ids=["slice", "list", "tensor", "array", "mask", "empty", "number", "0-d tensor"],
)
def test_subset_takes_images_and_labels_together(tied, index, expected):
    part = tied.subset(index, name="part")
    assert positions(part).tolist() == expected
    assert torch.equal(part.images, tied.images[torch.tensor(expected, dtype=torch.int64)])
    assert part.labels.tolist() == part.images[:, 0, 0, 1].tolist()
    assert part.name == "part"


@pytest.mark.parametrize("size", [1, 32, 128, 200, 1000])
def test_batches_cover_everything_once_in_order(clothes, size):
    batches = list(clothes.batches(size))
    assert [len(labels) for _, labels in batches[:-1]] == [size] * ((200 - 1) // size)
    assert len(batches[-1][1]) == (200 - 1) % size + 1
    torch.testing.assert_close(torch.cat([images for images, _ in batches]), clothes[:][0])
    assert torch.equal(torch.cat([labels for _, labels in batches]), clothes.labels)


def test_batches_follow_a_given_order(clothes):
    order = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    images, labels = map(torch.cat, zip(*clothes.batches(64, order), strict=True))
    torch.testing.assert_close(images, clothes.images[order] / 255)
    assert torch.equal(labels, clothes.labels[order])


@pytest.mark.parametrize("size", [0, -1])
def test_batch_size_must_be_positive(clothes, size):
    with pytest.raises(DataError, match=f"batch size {size}"):
        next(clothes.batches(size))


def test_pytorch_dataloader_serves_every_image_once(tied):
    loader = DataLoader(
        tied, batch_size=64, shuffle=True, num_workers=2, generator=torch.Generator().manual_seed(0)
    )
    images, labels = map(torch.cat, zip(*loader, strict=True))
    assert not torch.equal(labels, tied.labels)  # it is shuffled

    def as_rows(images, labels):
        return torch.cat([labels[:, None].float(), images.flatten(1)], 1).tolist()

    assert sorted(as_rows(images, labels)) == sorted(as_rows(*tied[:]))


def test_a_balanced_choice_has_as_many_of_each_class():
    images = garments(500)
    some = images.balanced(50, seed=1)
    assert torch.bincount(some.labels).tolist() == [5] * 10
    assert torch.equal(some.images, images.balanced(50, seed=1).images)
    assert not torch.equal(some.images, images.balanced(50, seed=2).images)
    everything = {image.numpy().tobytes() for image in images.images}
    chosen = [image.numpy().tobytes() for image in some.images]
    assert set(chosen) <= everything
    assert len(set(chosen)) == len(chosen)


def test_a_balanced_choice_is_of_the_classes_that_occur(clothes):
    some = clothes.only(["Sandal", "Bag", "T-shirt/top"]).balanced(30, seed=1)
    assert torch.bincount(some.labels, minlength=10).tolist() == [10, *[0] * 4, 10, 0, 0, 10, 0]
    assert some.classes == clothes.classes
    with pytest.raises(DataError, match="each of the 2 classes here; .*multiple of 2 up to 40"):
        clothes.only(["Sandal", "Bag"]).balanced(31, seed=1)
    with pytest.raises(DataError, match="each of the 0 classes"):
        clothes.subset([]).balanced(10, seed=1)


@pytest.mark.parametrize("count", [0, 5, 55, 5_000, -10])
def test_a_balanced_choice_that_cannot_be_had_is_refused(count):
    with pytest.raises(DataError, match=f"cannot take {count} images.*multiple of 10 up to"):
        garments(500).balanced(count, seed=0)


# --- digests -----------------------------------------------------------------------------------


def test_digest_belongs_to_the_content_not_to_its_name_or_memory(clothes):
    copied = clothes.images.clone(memory_format=torch.channels_last)
    again = ImageDataset(copied, clothes.labels.clone(), clothes.classes, "another name")
    assert again.digest == clothes.digest == garments(200, seed=3).digest
    assert garments(200, seed=4).digest != clothes.digest


@pytest.mark.parametrize("change", ["pixel", "label", "class name", "order", "fewer"])
def test_digest_changes_with_the_content(clothes, change):
    images, labels, classes = clothes.images.clone(), clothes.labels.clone(), clothes.classes
    if change == "pixel":
        images[100, 0, 27, 27] += 1
    elif change == "label":
        labels[100] = (labels[100] + 1) % 10
    elif change == "class name":
        classes = (*classes[:-1], "Boot")
    elif change == "order":
        images, labels = images.flip(0), labels.flip(0)
    else:
        images, labels = images[:-1], labels[:-1]
    assert ImageDataset(images, labels, classes, clothes.name).digest != clothes.digest


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (ImageDataset(noise((1, 4, 6))), ImageDataset(noise((1, 4, 6)).view(-1, 1, 6, 4))),
        (ImageDataset(noise((3, 4, 4))), ImageDataset(noise((3, 4, 4)).view(-1, 1, 12, 4))),
        (
            ImageDataset(noise((1, 4, 4), 2)),
            ImageDataset(noise((1, 4, 4), 2), torch.tensor([0, 0]), ("",)),
        ),
    ],
    ids=["sides", "channels", "labels"],
)
def test_digest_tells_what_equal_bytes_do_not(first, second):
    assert first.digest != second.digest
    assert first.digest == ImageDataset(first.images.clone(), first.labels, first.classes).digest


def test_digest_of_drawn_garments_is_what_checkpoints_have_stored():
    assert garments(1_000, seed=0).digest == "253c5a56ccfaa68d"


# --- arrays ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 28), (17, 23), (5, 7, 1), (9, 4, 4)], ids=str)
def test_arrays_become_images_with_channels_first(shape):
    pixels = np.random.default_rng(0).integers(0, 256, (6, *shape), dtype=np.uint8)
    data = from_array(pixels, name="mine")
    assert data.shape == (shape[2] if len(shape) == 3 else 1, *shape[:2])
    one = np.atleast_3d(pixels[4])
    assert torch.equal(data.images[4], torch.from_numpy(one).permute(2, 0, 1))
    assert (data.labels, data.classes, data.name) == (None, (), "mine")


def test_floats_become_the_nearest_bytes():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    for kind in (np.float16, np.float32, np.float64):
        assert torch.equal(
            from_array(levels.astype(kind) / 255).images[0, 0], torch.tensor(levels[0])
        )
    assert from_array(np.full((1, 1, 1), 0.9999)).images.item() == 255
    assert from_array(np.full((1, 1, 1), 0.001)).images.item() == 0


def test_the_dataset_does_not_change_with_the_array():
    pixels = np.zeros((2, 4, 4), dtype=np.uint8)
    data = from_array(pixels)
    pixels[:] = 255
    assert int(data.images.max()) == 0


def test_labels_are_named_by_their_numbers_or_by_the_names_given():
    pixels = np.zeros((3, 4, 4), dtype=np.uint8)
    assert from_array(pixels, [0, 2, 1]).classes == ("0", "1", "2")
    named = from_array(pixels, np.array([0, 2, 1], dtype=np.uint8), ["cat", "dog", "owl"])
    assert named.classes == ("cat", "dog", "owl")
    assert named[1][1] == 2
    assert named.only(["owl"]).labels.tolist() == [2]
    assert len(from_array(pixels[:0], np.array([], dtype=int))) == 0


@pytest.mark.fault(
    "a student's own array has channels first, pixels up to 255 as floats, NaN, or odd labels",
    "refused, saying what to give",
)
@pytest.mark.parametrize(
    ("pixels", "labels", "message"),
    [
        (
            np.zeros((2, 3, 32, 32), np.uint8),
            None,
            r"channels last, by pixels.transpose\(0, 2, 3, 1\)",
        ),
        (np.zeros((28, 28), np.uint8), None, r"shape \(28, 28\); give \(N, H, W\)"),
        (np.uint8(3), None, r"shape \(\); give"),
        (np.full((2, 4, 4), 200.0), None, r"from 200 to 200; give .* \[0, 1\]"),
        (np.full((2, 4, 4), -0.1), None, "from -0.1 to"),
        (np.full((2, 4, 4), np.nan), None, "from nan to nan"),
        (
            np.zeros((2, 4, 4), int),
            None,
            "pixels of type torch.int64 from 0 to 0; give bytes",
        ),
        (np.zeros((2, 4, 4), bool), None, "pixels of type torch.bool"),
        (np.zeros((2, 4, 4), np.uint8), ["cat", "dog"], "labels are <U3; give whole numbers"),
        (np.zeros((2, 4, 4), np.uint8), [0.0, 1.0], "labels are float64"),
        (np.zeros((2, 4, 4), np.uint8), [0], r"labels are torch.int64 \(1,\) for 2 images"),
        (np.zeros((2, 4, 4), np.uint8), [0, -1], "label -1"),
        (np.zeros((2, 4, 4), np.uint8), 0, r"labels are torch.int64 \(\) for 2 images"),
    ],
)
def test_unusable_arrays_are_refused_with_the_remedy(pixels, labels, message):
    with pytest.raises(DataError, match=message):
        from_array(pixels, labels, name="mine")


# --- CSV ---------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path, clothes, write_csv):
    """A small valid CSV: its path and its lines."""
    path = tmp_path / "fashion.csv"
    write_csv(clothes.subset(slice(0, 4)), path)
    return path, path.read_text().splitlines()


@pytest.mark.parametrize("name", ["a.csv", "a.csv.zip", "a.csv.gz", "größe 1.csv"])
def test_csv_round_trip(tmp_path, clothes, write_csv, name):
    write_csv(clothes, tmp_path / name)
    read = from_csv(tmp_path / name)
    assert read.digest == clothes.digest
    assert read.name == name
    assert zipfile.is_zipfile(tmp_path / name) == name.endswith(".zip")


def test_csv_may_have_windows_line_ends_and_decimal_zeros(table):
    path, lines = table
    expected = from_csv(path).digest
    lines[1:] = [line.replace(",", ".0,") for line in lines[1:]]
    path.write_bytes("\r\n".join(lines).encode())
    assert from_csv(path).digest == expected


def cell(value, column, row=2):
    """A change of a CSV's lines: ``value`` in one cell (rows and columns from 1; 1 is label)."""

    def change(lines):
        cells = lines[row].split(",")
        cells[column - 1] = value
        return [*lines[:row], ",".join(cells), *lines[row + 1 :]]

    return change


@pytest.mark.fault(
    "a CSV holds anything but bytes and labels",
    "refused, naming file, row, column and value",
)
@pytest.mark.parametrize(
    ("change", "place"),
    [
        (cell("grey", 5), "row 2, column 'pixel4' holds 'grey'"),
        (cell("", 785, row=4), "row 4, column 'pixel784' holds 'nan'"),
        (cell("256", 2, row=1), "row 1, column 'pixel1' holds '256'; .*from 0 to 255"),
        (cell("-1", 785), "row 2, column 'pixel784' holds '-1'"),
        (cell("3.5", 100), "row 2, column 'pixel99' holds '3.5'"),
        (cell("inf", 100), "row 2, column 'pixel99' holds 'inf'"),
        (cell("99999999999999999999", 9), "row 2, column 'pixel8' holds '99999999999999999999'"),
        (cell("10", 1), "row 2, column 'label' holds '10'; .*from 0 to 9"),
        (cell("-1", 1, row=3), "row 3, column 'label' holds '-1'"),
        (cell("Shirt", 1, row=3), "row 3, column 'label' holds 'Shirt'"),
        (
            lambda lines: [line.rsplit(",", 1)[0] for line in lines],
            "784 columns; .* column 785 is 'nothing', not 'pixel784'",
        ),
        (
            lambda lines: [line.split(",", 1)[1] for line in lines],
            "784 columns; .* column 1 is 'pixel1', not 'label'",
        ),
        (
            lambda lines: [f"id,{line}" for line in lines],
            "786 columns; .* column 1 is 'id', not 'label'",
        ),
        (lambda lines: lines[1:], "3 rows of 785 columns; .* column 1 is '.', not 'label'"),
        (lambda lines: [line.replace(",", ";") for line in lines], "1 columns"),
        (lambda lines: [lines[0], *(f"{line},0" for line in lines[1:])], "not a readable CSV"),
        (lambda lines: [*lines[:3], f"{lines[3]},0"], "not a readable CSV .*line 4"),
        (lambda lines: [*lines[:4], lines[4][:100]], "row 4, column 'pixel[0-9]+' holds 'nan'"),
        (lambda lines: cell("True", 3, 1)(lines)[:2], "row 1, column 'pixel2' holds 'True'"),
        (lambda lines: lines[:1], "0 rows of 785 columns"),
        (lambda lines: [], "not a readable CSV"),
        (lambda lines: ["", ""], "not a readable CSV"),
    ],
)
def test_csv_that_holds_anything_else_is_refused_naming_file_and_place(table, change, place):
    path, lines = table
    path.write_text("\n".join(change(lines)))
    with pytest.raises(DataError, match=place) as caught:
        from_csv(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_labels_are_held_against_the_classes_given(table):
    path, lines = table
    path.write_text("\n".join(cell("3", 1)(lines[:1] + [cell("0", 1, 1)(lines)[1]] * 3)))
    assert from_csv(path, classes=("a", "b", "c", "d")).labels.tolist() == [0, 3, 0]
    with pytest.raises(DataError, match="row 2, column 'label' holds '3'; .*from 0 to 1"):
        from_csv(path, classes=("a", "b"))


@each_shape
def test_csv_has_images_of_any_size(tmp_path, write_csv, shape):
    data = ImageDataset(noise(shape), torch.tensor([0, 1, 2, 9, 0, 1]), DIGIT_CLASSES)
    write_csv(data, tmp_path / "a.csv")
    assert from_csv(tmp_path / "a.csv", DIGIT_CLASSES, shape).digest == data.digest
    last, more = np.prod(shape), np.prod(shape) + 2
    with pytest.raises(DataError, match=rf"{last + 1} columns; expected {more}, .*pixel{last + 1}"):
        from_csv(tmp_path / "a.csv", DIGIT_CLASSES, (1, 1, last + 1))


def truncated(content):
    return content[: len(content) // 2]


def zip_entry(offset, value):
    """A change of the archive's one entry, both in its own header and in the directory."""

    def change(content):
        content = bytearray(content)
        content[offset] = content[content.index(b"PK\1\2") + 2 + offset] = value
        return bytes(content)

    return change


@pytest.mark.fault(
    "a CSV is cut by semicolons or tabs, or its columns have other names, as `pixel0` or `1x1`",
    "refused in a few words: the first column that differs, and what seems to cut the lines",
)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace(",", ";"), "';' stands between them$"),
        (lambda text: text.replace(",", "\t"), r"'\\t' stands between them$"),
        (lambda text: text.replace(",", "|"), r"'\|' stands between them$"),
        (lambda text: text.replace("pixel1,", "pixel0,", 1), "column 2 is 'pixel0', not 'pixel1'"),
        (lambda text: text.replace("pixel1,", "1x1,", 1), "column 2 is '1x1', not 'pixel1'"),
        (lambda text: text.replace("label", "Label", 1), "column 1 is 'Label', not 'label'"),
        (lambda text: text.replace("784", "x" * 9000, 1), "column 785 is 'pixelx+, not"),
        (lambda text: text.replace(",pixel784", "", 1), "not a readable CSV"),
        (lambda text: text.split("\n")[0], "there are no rows$"),
        (lambda text: text.replace(",0", "," + "y" * 9000, 1), "holds 'y{40}';"),
    ],
)
def test_a_csv_of_another_form_is_refused_in_a_few_words(table, change, message):
    path, _ = table
    path.write_text(change(path.read_text()))
    with pytest.raises(DataError, match=message) as caught:
        from_csv(path)
    assert len(str(caught.value)) - len(str(path)) < 400


def test_an_archive_of_several_files_is_refused_by_their_names(tmp_path, table):
    path, _ = table
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        for name in ("fashion-mnist_train.csv", "fashion-mnist_test.csv"):
            archive.write(path, name)
    with pytest.raises(DataError, match=r"_train.csv.*_test.csv.*unpacked where an archive") as it:
        from_csv(tmp_path / "two.zip")
    assert len(str(it.value)) - len(str(path)) < 400


@pytest.mark.fault(
    "the pixels of a CSV are 0 and 1 instead of 0 to 255",
    "read, with a warning that all is nearly black",
)
def test_a_csv_of_zeros_and_ones_is_warned_of(tmp_path, clothes, write_csv):
    few = clothes.subset(slice(3))
    write_csv(replace(few, images=few.images // 128), tmp_path / "a.csv")
    with pytest.warns(UserWarning, match="a.csv: nearly black; multiply pixels of 0 and 1 by 255"):
        assert len(from_csv(tmp_path / "a.csv")) == 3


@pytest.mark.fault(
    "a CSV or its archive is damaged, encrypted or in another encoding",
    "refused by name",
)
@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("a.csv.zip", truncated),
        ("a.csv.zip", lambda content: b""),
        ("a.csv.zip", lambda content: content[:40] + b"damage!" + content[47:]),
        ("a.csv.zip", zip_entry(6, 1)),  # encrypted
        ("a.csv.zip", zip_entry(8, 99)),  # packed in an unknown way
        ("a.csv.gz", truncated),
        ("a.csv", lambda content: b"\xff\xfe" + content),
        ("a.csv", lambda content: content.replace(b"label", b"gr\xf6\xdfe")),
        ("a.csv", lambda content: b"\0" * 1000),
    ],
)
def test_csv_that_cannot_be_read_is_refused_naming_the_file(
    tmp_path, clothes, write_csv, name, damage
):
    path = tmp_path / name
    write_csv(clothes.subset(slice(0, 4)), path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}: "):
        from_csv(path)


def test_missing_csv_is_refused_naming_it(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path / "none.zip", tmp_path):
        with pytest.raises(DataError, match=f"^{re.escape(str(path))}: "):
            from_csv(path)


# --- random damage ------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::pandas.errors.DtypeWarning")
@pytest.mark.parametrize(("name", "count"), [("a.csv", 200), ("a.csv.zip", 100)])
def test_no_damage_gets_past_the_reader(tmp_path, clothes, write_csv, mutated, name, count):
    random, path = np.random.default_rng(0), tmp_path / name
    write_csv(clothes.subset(slice(0, 3)), path)
    content, refused = path.read_bytes(), 0
    for _ in range(count):
        path.write_bytes(mutated(content, random))
        try:
            assert len(from_csv(path)) > 0
        except DataError as error:
            refused += 1
            assert str(error).startswith(str(path))  # noqa: PT017
            assert len(str(error)) - len(str(path)) < 400  # noqa: PT017
    assert refused > count / 2
