import gzip
import hashlib
import http.server
import os
import socket
import struct
import tempfile
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.datasets
import torchvision.datasets.utils
from torch.utils.data import DataLoader

from vae_helpers import data as module
from vae_helpers import settings as settings_module
from vae_helpers.data import DataError, ImageDataset, find, from_csv, garments, obtain, read_idx

FILES = list(module._MD5["FashionMNIST"])


@pytest.fixture(scope="module")
def clothes():
    return garments(200, seed=3)


@pytest.fixture
def tied(clothes):
    """The images again, with factors that hold each image's position and label."""
    factors = torch.stack([torch.arange(len(clothes)), clothes.labels], 1).double()
    return ImageDataset(clothes.images, clothes.labels, clothes.classes, "tied", factors)


def positions(data):
    return data.factors[:, 0].long()


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


@pytest.mark.fault(
    "images of another size, in colour or as floats; labels out of range or too few",
    "refused, naming what is wrong and where",
)
@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(2, 1, 28, 28), [0, 1], "images are torch.float32"),
        (torch.zeros(2, 28, 28, dtype=torch.uint8), [0, 1], r"\(2, 28, 28\)"),
        (torch.zeros(2, 3, 28, 28, dtype=torch.uint8), [0, 1], r"\(2, 3, 28, 28\)"),
        (torch.zeros(2, 1, 32, 32, dtype=torch.uint8), [0, 1], r"\(2, 1, 32, 32\)"),
        (torch.zeros(2, 1, 14, 56, dtype=torch.uint8), [0, 1], r"\(2, 1, 14, 56\)"),
        (torch.zeros(2, 1, 28, 28, dtype=torch.uint8), [0], "2 images but 1 labels"),
        (torch.zeros(2, 1, 28, 28, dtype=torch.uint8), [0, 3], "label 3 is outside 0–2"),
        (torch.zeros(2, 1, 28, 28, dtype=torch.uint8), [-1, 0], "label -1 is outside 0–2"),
    ],
)
def test_unusable_tensors_are_refused_by_name(images, labels, message):
    with pytest.raises(DataError, match=f"^mine: .*{message}"):
        ImageDataset(images, torch.tensor(labels), ("a", "b", "c"), "mine")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_everything_moves_to_a_device_and_works_there(tied, device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    moved = tied.to(device)
    assert {moved.device.type, moved.labels.device.type, moved.factors.device.type} == {device}
    assert moved.digest == tied.digest
    for part in (lambda data: data.split(0.9)[1], lambda data: data.only(["Bag"])):
        assert part(moved).device.type == device
        assert part(moved).digest == part(tied).digest


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


@pytest.mark.parametrize("choice", [["Sandal", "Bag"], [5, 8], ["Sandal", 8], ["Bag", 5, 5]])
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
    ],
    ids=["slice", "list", "tensor", "array", "mask", "empty"],
)
def test_subset_takes_images_labels_and_factors_together(tied, index, expected):
    part = tied.subset(index, name="part")
    assert positions(part).tolist() == expected
    assert torch.equal(part.images, tied.images[torch.tensor(expected, dtype=torch.int64)])
    assert part.labels.tolist() == part.factors[:, 1].tolist()
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


# --- CSV ---------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path, clothes):
    """A small valid CSV: its path and its lines."""
    path = tmp_path / "fashion.csv"
    module.to_csv(clothes.subset(slice(0, 4)), path)
    return path, path.read_text().splitlines()


@pytest.mark.parametrize("name", ["a.csv", "a.csv.zip", "a.csv.gz", "größe 1.csv"])
def test_csv_round_trip(tmp_path, clothes, name):
    module.to_csv(clothes, tmp_path / name)
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
        (lambda lines: [line.rsplit(",", 1)[0] for line in lines], "784 columns .* 'label'"),
        (lambda lines: [line.split(",", 1)[1] for line in lines], "784 columns .* 'pixel1'"),
        (lambda lines: [f"id,{line}" for line in lines], "786 columns beginning with 'id'"),
        (lambda lines: lines[1:], "785 columns beginning with"),
        (lambda lines: [line.replace(",", ";") for line in lines], "1 columns"),
        (lambda lines: [lines[0], *(f"{line},0" for line in lines[1:])], "not a readable CSV"),
        (lambda lines: [*lines[:3], f"{lines[3]},0"], "not a readable CSV .*line 4"),
        (lambda lines: [*lines[:4], lines[4][:100]], "row 4, column 'pixel[0-9]+' holds 'nan'"),
        (lambda lines: cell("True", 3, 1)(lines)[:2], "row 1, column 'pixel2' holds 'True'"),
        (lambda lines: lines[:1], "no rows"),
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
def test_csv_that_cannot_be_read_is_refused_naming_the_file(tmp_path, clothes, name, damage):
    path = tmp_path / name
    module.to_csv(clothes.subset(slice(0, 4)), path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=f"^{path}: "):
        from_csv(path)


def test_missing_csv_is_refused_naming_it(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path / "none.zip", tmp_path):
        with pytest.raises(DataError, match=f"^{path}: "):
            from_csv(path)


# --- IDX files ---------------------------------------------------------------------------------


def idx(array):
    """A gzipped IDX file of bytes (LeCun's format)."""
    array = np.asarray(array, dtype=np.uint8)
    header = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(header + array.tobytes(), mtime=0)


def repacked(change):
    return lambda packed: gzip.compress(change(gzip.decompress(packed)))


@pytest.mark.parametrize("shape", [(5,), (2, 28, 28), (0, 28, 28)])
def test_idx_round_trip(tmp_path, shape):
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    (tmp_path / "file.gz").write_bytes(idx(array))
    np.testing.assert_array_equal(read_idx(tmp_path / "file.gz"), array)


@pytest.mark.fault(
    "an IDX file is damaged",
    "refused by name, with the remedy; the file stays as it was",
)
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncated, "not a whole gzip file"),
        (lambda packed: packed[:-1], "not a whole gzip file"),
        (lambda packed: packed[:10] + b"\xff" + packed[11:], "not a whole gzip file"),
        (lambda packed: packed[:-8] + bytes(8), "not a whole gzip file"),
        (lambda packed: gzip.decompress(packed), "not a whole gzip file"),
        (lambda packed: b"<html>503</html>", "not a whole gzip file"),
        (lambda packed: b"", "magic number"),
        (repacked(lambda raw: b""), "magic number"),
        (repacked(lambda raw: b"\0\0\x0d\x03" + raw[4:]), "magic number 00000d03 is not IDX bytes"),
        (repacked(lambda raw: b"\0\0\x08\x02" + raw[4:]), "magic number 00000802"),
        (repacked(lambda raw: raw[:9]), "ends inside its header"),
        (repacked(lambda raw: raw[:-1]), r"1567 bytes of data, but its header says \(2, 28, 28\)"),
        (repacked(lambda raw: raw + b"\0"), "1569 bytes of data"),
        (repacked(lambda raw: raw[:4] + b"\xff" * 12 + raw[16:]), "1568 bytes of data"),
    ],
)
def test_damaged_idx_file_is_refused_naming_it_and_the_remedy(tmp_path, clothes, damage, message):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    packed = damage(idx(clothes.images[:2, 0]))
    path.write_bytes(packed)
    with pytest.raises(DataError, match=rf"^{path}: {message}.*delete it and fetch it again"):
        read_idx(path)
    assert path.read_bytes() == packed


def test_idx_file_with_another_checksum_is_refused(tmp_path):
    path = tmp_path / "file.gz"
    path.write_bytes(idx([1, 2, 3]))
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    assert read_idx(path, md5).tolist() == [1, 2, 3]
    path.write_bytes(idx([1, 2, 4]))
    with pytest.raises(DataError, match=f"^{path}: MD5 differs from the published {md5}; delete"):
        read_idx(path, md5)


# --- whole datasets, found or fetched -----------------------------------------------------------


def write(folder, contents):
    raw = folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (raw / name).write_bytes(content)
    return raw


def held(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def publish(monkeypatch, contents):
    """Make these four files the published ones, for torchvision and for the book."""
    sums = {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setitem(module._MD5, "FashionMNIST", sums)
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "resources", list(sums.items()))


@pytest.fixture
def published(monkeypatch, clothes):
    """Four small files as the published Fashion-MNIST, which no mirror serves; nothing is here."""
    parts = {"train": clothes.subset(slice(0, 30)), "t10k": clothes.subset(slice(30, 50))}
    contents = {
        f"{part}-{kind}.gz": idx(images)
        for part, data in parts.items()
        for kind, images in {
            "images-idx3-ubyte": data.images[:, 0],
            "labels-idx1-ubyte": data.labels,
        }.items()
    }
    assert list(contents) == FILES
    publish(monkeypatch, contents)
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])
    module._read.cache_clear()
    yield contents
    module._read.cache_clear()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """An empty checkout; a ``shared`` folder may stand beside it."""
    folder = tmp_path / "projects" / "book"
    folder.mkdir(parents=True)
    monkeypatch.setattr(module, "ROOT", folder)
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The folder that ``VAE_DATA_DIR`` names; it does not exist yet."""
    monkeypatch.setenv("VAE_DATA_DIR", str(tmp_path / "here"))
    return tmp_path / "here"


def test_both_splits_are_read_from_their_own_files(published, here, clothes):
    write(here, published)
    train, test = module.fashion_mnist("train"), module.fashion_mnist("test")
    assert train.digest == clothes.subset(slice(0, 30)).digest
    assert test.digest == clothes.subset(slice(30, 50)).digest
    assert train.classes[9] == "Ankle boot"


def test_unknown_split_is_refused(published, here):
    with pytest.raises(DataError, match="'validation'; choose 'train' or 'test'"):
        module.fashion_mnist("validation")


def test_data_is_looked_for_in_the_checkout_then_beside_it(published, checkout):
    assert find("FashionMNIST") is None
    beside = write(checkout.parent / "shared" / "data", published)
    assert find("FashionMNIST") == obtain("FashionMNIST") == beside
    own = write(checkout / "data", published)
    assert find("FashionMNIST") == own


def test_named_folder_is_looked_in_alone(published, checkout, here):
    write(checkout / "data", published)
    assert find("FashionMNIST") is None
    raw = write(here, published)
    assert find("FashionMNIST") == raw


@pytest.mark.parametrize("missing", FILES)
def test_three_files_are_not_found_as_four(published, here, missing):
    write(here, {name: content for name, content in published.items() if name != missing})
    assert find("FashionMNIST") is None


def test_data_found_is_read_and_nothing_is_written(published, checkout):
    beside = write(checkout.parent / "shared" / "data", published)
    module.fashion_mnist("train")
    assert held(beside.parents[1]) == published
    assert list(checkout.iterdir()) == []


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (0, b"short", "MD5 differs"),
        (1, idx([1] * 30), "MD5 differs"),
    ],
)
def test_foreign_file_is_refused_and_left_alone(published, here, file, content, message):
    raw = write(here, {**published, FILES[file]: content})
    with pytest.raises(DataError, match=f"{raw / FILES[file]}: {message}.*delete it"):
        module.fashion_mnist("train")
    assert held(here) == {**published, FILES[file]: content}


def test_images_and_labels_of_different_length_are_refused(published, here, monkeypatch):
    contents = {**published, FILES[1]: idx([1] * 29)}
    publish(monkeypatch, contents)
    write(here, contents)
    with pytest.raises(DataError, match="FashionMNIST train: 30 images but 29 labels"):
        module.fashion_mnist("train")
    assert len(module.fashion_mnist("test")) == 20


def unreachable(name, *folders):
    """Call ``obtain`` and return the message of its DataError."""
    with pytest.raises(DataError) as caught:
        obtain(name)
    message = str(caught.value)
    for part in (*FILES, *map(str, folders), "VAE_DATA_DIR", "PROFILE=smoke"):
        assert part in message
    assert "\n" not in message
    return message


@pytest.mark.fault(
    "neither data nor network",
    "one paragraph says what was looked for where, and what to do",
)
def test_without_any_source_one_paragraph_says_what_where_and_what_to_do(published, checkout):
    places = checkout / "data", checkout.parent / "shared" / "data"
    message = unreachable("FashionMNIST", *(place / "FashionMNIST" / "raw" for place in places))
    assert "http://127.0.0.1:9/" in message
    assert held(checkout.parent) == {}


def test_without_any_source_existing_files_stay(published, here):
    some = {FILES[0]: published[FILES[0]], FILES[2]: b"somebody's own"}
    write(here, some)
    unreachable("FashionMNIST", here)
    assert held(here) == some


@pytest.fixture
def another_user(monkeypatch):
    """Root may read and write anything: act as somebody who may not, in a folder of their own."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "_config.yml").write_text("author: x\nrepository: {url: x}\n")
        monkeypatch.setattr(settings_module, "ROOT", folder)
        monkeypatch.setenv("VAE_DATA_DIR", str(folder / "data"))
        folder.chmod(0o755)
        (folder / "data").mkdir()
        yield folder / "data"
        (folder / "data").chmod(0o755)


class Unprivileged:
    def __enter__(self):
        self.user = os.geteuid()
        if self.user == 0:
            os.seteuid(65534)

    def __exit__(self, *_):
        os.seteuid(self.user)


@pytest.mark.fault(
    "the data folder cannot be written",
    "named in the one paragraph that says what to do",
)
@pytest.mark.parametrize("mode", [0o555, 0o000], ids=["read-only", "unreadable"])
def test_folder_that_cannot_be_written_is_named(published, another_user, mode):
    write(another_user, {FILES[0]: published[FILES[0]]})
    raw = another_user / "FashionMNIST" / "raw"
    for folder in (raw, another_user):
        folder.chmod(mode)
    with Unprivileged():
        message = unreachable("FashionMNIST", another_user)
    assert f"{raw} cannot be written" in message
    for folder in (another_user, raw):
        folder.chmod(0o755)
    assert held(another_user) == {FILES[0]: published[FILES[0]]}


def test_read_only_folder_with_the_data_is_enough(published, another_user):
    write(another_user, published)
    another_user.chmod(0o555)
    with Unprivileged():
        assert len(module.fashion_mnist("test")) == 20


def test_unreadable_file_is_named(published, another_user):
    raw = write(another_user, published)
    (raw / FILES[0]).chmod(0o000)
    with Unprivileged(), pytest.raises(DataError, match=f"{raw / FILES[0]}: cannot be read"):
        module.fashion_mnist("train")


def test_file_in_the_folders_place_is_named(published, here):
    here.write_text("a file")
    assert f"{here / 'FashionMNIST' / 'raw'} cannot be written" in unreachable("FashionMNIST", here)
    assert here.read_text() == "a file"


@pytest.mark.parametrize("path", ["none.gz", "."])
def test_missing_file_is_refused_naming_it(tmp_path, path):
    with pytest.raises(DataError, match=f"^{tmp_path / path}: cannot be read .*check it exists"):
        read_idx(tmp_path / path)


# --- downloads ---------------------------------------------------------------------------------


class Mirror(http.server.ThreadingHTTPServer):
    """Serves files from 127.0.0.1 and notes what was sent; ``faults`` says what goes wrong."""

    PATIENCE = 10  # seconds that a fault "hangs"

    def __init__(self, contents):
        super().__init__(("127.0.0.1", 0), Answer)
        self.contents, self.faults, self.sent = contents, {}, []
        self.closing = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, *_):
        pass  # a client that hangs up is no news


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name, server = self.path.strip("/"), self.server
        content, fault = server.contents[name], server.faults.get(name)
        if self.headers["Method"] == "HEAD":  # torchvision asks first where redirects lead
            fault = None if fault in ("breaks off", "chunk breaks off") else fault
        else:
            server.sent.append(name)
        if fault == "nonsense":
            self.wfile.write(b"BUSY\r\n\r\n")
        elif fault == "hangs":
            server.closing.wait(server.PATIENCE)
        elif fault == "missing":
            self.send_error(404)
        elif fault == "chunk breaks off":
            self.protocol_version = "HTTP/1.1"
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"ffff\r\n" + content[: len(content) // 2])
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            sent = {"breaks off": content[: len(content) // 2], "other": content[::-1]}
            self.wfile.write(sent.get(fault, content))
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def mirror(published, monkeypatch):
    with Mirror(published) as server:
        monkeypatch.setattr(torchvision.datasets.FashionMNIST, "mirrors", [server.url])
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


def test_download_brings_the_published_files(mirror, checkout, published):
    assert obtain("FashionMNIST") == checkout / "data" / "FashionMNIST" / "raw"
    assert held(checkout) == published
    assert len(module.fashion_mnist("train")) == 30


def test_download_goes_to_the_named_folder(mirror, checkout, here, published):
    assert obtain("FashionMNIST") == here / "FashionMNIST" / "raw"
    assert held(here) == published
    assert held(checkout) == {}


def test_a_second_call_fetches_nothing(mirror, here):
    obtain("FashionMNIST")
    obtain("FashionMNIST")
    assert mirror.sent == FILES


FAULTS = ["breaks off", "chunk breaks off", "other", "missing", "nonsense", "hangs"]


@pytest.mark.fault(
    "the network breaks off, hangs or sends nonsense in the middle of a download",
    "whole files stay, no part of one does; the next call fetches the rest",
)
@pytest.mark.parametrize("fault", FAULTS)
def test_interrupted_download_keeps_whole_files_and_is_completed_next_time(
    mirror, here, published, monkeypatch, fault
):
    monkeypatch.setattr(module, "DOWNLOAD_TIMEOUT", 1)
    mirror.faults[FILES[2]] = fault
    message = unreachable("FashionMNIST", here)
    assert mirror.url in message
    assert held(here) == {name: published[name] for name in FILES[:2]}

    mirror.faults.clear()
    mirror.sent.clear()
    obtain("FashionMNIST")
    assert mirror.sent == FILES[2:]
    assert held(here) == published


@pytest.mark.parametrize("fault", FAULTS)
def test_next_mirror_serves_what_the_first_does_not(mirror, here, published, monkeypatch, fault):
    monkeypatch.setattr(module, "DOWNLOAD_TIMEOUT", 1)
    mirror.contents = {**published, **{f"bad/{name}": published[name] for name in FILES}}
    mirror.faults = {f"bad/{FILES[1]}": fault}
    monkeypatch.setattr(
        torchvision.datasets.FashionMNIST, "mirrors", [f"{mirror.url}bad/", mirror.url]
    )
    obtain("FashionMNIST")
    assert held(here) == published


def test_download_stopped_by_ctrl_c_leaves_no_part_and_is_completed_next_time(
    mirror, here, published, monkeypatch
):
    def stopped(url, path, *_):
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torchvision.datasets.utils, "_urlretrieve", stopped)
        with pytest.raises(KeyboardInterrupt):
            obtain("FashionMNIST")
    assert held(here) == {}
    obtain("FashionMNIST")
    assert held(here) == published


def test_download_killed_midway_is_completed_next_time(mirror, here, published):
    left = write(here, {FILES[0]: published[FILES[0]]}) / ".download-killed"
    left.mkdir()
    (left / FILES[1]).write_bytes(b"half")
    raw = obtain("FashionMNIST")
    assert {name: (raw / name).read_bytes() for name in FILES} == published
    assert mirror.sent == FILES[1:]


def test_silent_mirror_is_given_up(mirror, here, monkeypatch):
    monkeypatch.setattr(module, "DOWNLOAD_TIMEOUT", 0.2)
    mirror.faults[FILES[0]] = "hangs"
    began = time.monotonic()
    unreachable("FashionMNIST", here)
    assert time.monotonic() - began < Mirror.PATIENCE / 2


def test_download_leaves_the_programs_network_timeout_alone(mirror, here):
    before = socket.getdefaulttimeout()
    try:
        socket.setdefaulttimeout(7)
        obtain("FashionMNIST")
        assert socket.getdefaulttimeout() == 7
    finally:
        socket.setdefaulttimeout(before)


def test_conventional_dataset_agrees_and_leaves_the_files_as_they_were(published, checkout, here):
    write(here, published)
    for split in ("train", "test"):
        theirs, ours = module.torchvision_dataset(split), module.fashion_mnist(split)
        assert len(theirs) == len(ours)
        for (image, label), (expected, wanted) in zip(theirs, ours, strict=True):
            torch.testing.assert_close(image, expected)
            assert label == wanted
    assert held(here) == published


def test_conventional_dataset_survives_an_interrupted_unpacking(
    published, checkout, here, monkeypatch
):
    def stopped(packed, folder, *_):
        Path(folder, Path(packed).stem).write_bytes(b"half")
        raise KeyboardInterrupt

    write(here, published)
    with monkeypatch.context() as patch:
        patch.setattr(torchvision.datasets.utils, "extract_archive", stopped)
        with pytest.raises(KeyboardInterrupt):
            module.torchvision_dataset("train")
    assert len(module.torchvision_dataset("train")) == 30
    assert len(list((checkout / "_build").iterdir())) == 1


# --- random damage -----------------------------------------------------------------------------


def mutated(content, random):
    """``content`` with a few bytes flipped, removed, repeated or put in."""
    content = bytearray(content)
    for _ in range(random.integers(1, 4)):
        place, size = random.integers(len(content)), random.integers(1, 20)
        kind = random.integers(5)
        if kind == 0:
            content[place] ^= 1 << random.integers(8)
        elif kind == 1:
            del content[place : place + size]
        elif kind == 2:
            content[place:place] = content[place : place + size]
        elif kind == 3:
            content[place : place + size] = random.bytes(size)
        else:
            del content[max(place, 1) :]
    return bytes(content)


def plain_idx(path, data):
    path.write_bytes(idx(data.images[:, 0]))


def plain_csv(path, data):
    module.to_csv(data, path)


@pytest.mark.filterwarnings("ignore::pandas.errors.DtypeWarning")
@pytest.mark.parametrize(
    ("name", "make", "read", "count"),
    [
        ("a.gz", plain_idx, read_idx, 300),
        ("a.csv", plain_csv, from_csv, 200),
        ("a.csv.zip", plain_csv, from_csv, 100),
    ],
)
def test_no_damage_gets_past_the_reader(tmp_path, clothes, name, make, read, count):
    random, path = np.random.default_rng(0), tmp_path / name
    make(path, clothes.subset(slice(0, 3)))
    content, refused = path.read_bytes(), 0
    for _ in range(count):
        path.write_bytes(mutated(content, random))
        try:
            loaded = read(path)
            assert loaded.dtype == np.uint8 if read is read_idx else len(loaded) > 0
        except DataError as error:
            refused += 1
            assert str(error).startswith(str(path))  # noqa: PT017
    assert refused > count / 2


# --- the real thing ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["FashionMNIST", "MNIST"])
def test_checksums_are_torchvisions(name):
    assert dict(getattr(torchvision.datasets, name).resources) == module._MD5[name]


def test_classes_are_named_as_torchvision_names_them():
    assert list(module.FASHION_CLASSES) == torchvision.datasets.FashionMNIST.classes


@pytest.mark.parametrize(("split", "count"), [("train", 60_000), ("test", 10_000)])
@pytest.mark.parametrize("name", ["fashion_mnist", "mnist"])
def test_real_dataset_is_whole(real_data, name, split, count):
    if name == "mnist" and find("MNIST") is None:
        pytest.skip("needs MNIST's four .gz files beside Fashion-MNIST's")
    data = getattr(module, name)(split)
    assert data.images.shape == (count, 1, 28, 28)
    assert data.images.dtype == torch.uint8
    assert data.labels.unique().tolist() == list(range(10))
    assert len(data.classes) == 10
    if name == "fashion_mnist":
        assert data.labels.bincount().tolist() == [count // 10] * 10


def test_full_profile_loads_the_real_images_and_smoke_draws_its_own(real_data, monkeypatch):
    assert module.load("test") is module.fashion_mnist("test")
    monkeypatch.setenv("VAE_PROFILE", "smoke")
    drawn = module.load("test")
    assert drawn.digest == garments(500, seed=1).digest
    assert module.load("train").digest == garments(1_000, seed=0).digest


def test_datasets_are_loaded_by_name(smoke):
    loaded = {name: module.load("test", name) for name in module.DATASETS}
    assert {len(images) for images in loaded.values()} == {500}
    assert len({images.digest for images in loaded.values()}) == 3  # stand-ins, but not one
    assert module.load("test").digest == loaded["fashion-mnist"].digest
    with pytest.raises(KeyError, match="no dataset 'cifar'; choose one of fashion-mnist, mnist"):
        module.load("test", "cifar")


def test_the_books_garments_have_their_factors():
    images = module.load("test", "garments")
    assert len(images) == module.GARMENTS["test"]
    assert images.factors.shape == (len(images), 8)
    assert torch.equal(images.factors[:, 0].long(), images.labels)


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


@pytest.mark.parametrize("count", [0, 5, 55, 5_000, -10])
def test_a_balanced_choice_that_cannot_be_had_is_refused(count):
    with pytest.raises(DataError, match=f"cannot take {count} images.*multiple of 10 up to"):
        garments(500).balanced(count, seed=0)


def test_class_counts_are_those_of_the_data():
    assert module.class_count("mnist") == len(module.DIGIT_CLASSES)
    for name in ("fashion-mnist", "garments"):
        assert module.class_count(name) == len(module.FASHION_CLASSES)
    assert module.class_count("garments") == len(module.load("test", "garments").classes)
