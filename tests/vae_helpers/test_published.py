"""Fashion-MNIST and MNIST: files that are found, downloaded whole or not at all, and checked."""

import gzip
import hashlib
import http.server
import os
import re
import struct
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.datasets

from vae_helpers import data as module
from vae_helpers.data import fashion_mnist, find, garments, obtain, read_idx
from vae_helpers.errors import DataError

FILES = list(module.CHECKSUMS["FashionMNIST"])


@pytest.fixture(scope="module")
def clothes():
    return garments(200, seed=3)


# --- IDX files ---------------------------------------------------------------------------------


def idx(array):
    """A gzipped IDX file of bytes (LeCun's format)."""
    array = np.asarray(array, dtype=np.uint8)
    header = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(header + array.tobytes(), mtime=0)


def md5_of(content):
    return hashlib.md5(content).hexdigest()


@pytest.mark.parametrize("shape", [(5,), (2, 28, 28), (0, 28, 28)])
def test_idx_round_trip(tmp_path, shape):
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    (tmp_path / "file.gz").write_bytes(idx(array))
    np.testing.assert_array_equal(read_idx(tmp_path / "file.gz", md5_of(idx(array))), array)


@pytest.mark.fault(
    "an IDX file is damaged",
    "refused by name, with the remedy; the file stays as it was",
)
@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: packed[: len(packed) // 2],
        lambda packed: packed[:-1],
        lambda packed: packed[:10] + b"\xff" + packed[11:],
        gzip.decompress,
        lambda packed: b"<html>503</html>",
        lambda packed: b"",
        lambda packed: gzip.compress(gzip.decompress(packed)[:-1]),
        lambda packed: gzip.compress(gzip.decompress(packed) + b"\0"),
    ],
)
def test_damaged_idx_file_is_refused_naming_it_and_the_remedy(tmp_path, clothes, damage):
    path, whole = tmp_path / "train-images-idx3-ubyte.gz", idx(clothes.images[:2, 0])
    path.write_bytes(damage(whole))
    differs = f"MD5 differs from the published {md5_of(whole)}; move it away and fetch it"
    message = f"^{re.escape(str(path))}: {differs}"
    with pytest.raises(DataError, match=message):
        read_idx(path, md5_of(whole))
    assert path.read_bytes() == damage(whole)


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
    """Make these four files the published ones."""
    sums = {name: md5_of(content) for name, content in contents.items()}
    monkeypatch.setitem(module.CHECKSUMS, "FashionMNIST", sums)


@pytest.fixture
def published(monkeypatch, clothes):
    """Four small files as the published Fashion-MNIST, which no mirror serves."""
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
    monkeypatch.setitem(module.MIRRORS, "FashionMNIST", ("http://127.0.0.1:9/",))
    return contents


@pytest.fixture
def here(tmp_path):
    """A folder for the data; it does not exist yet."""
    return tmp_path / "here"


def test_both_splits_are_read_from_their_own_files(published, here, clothes):
    write(here, published)
    train, test = fashion_mnist("train", here), fashion_mnist("test", here)
    assert train.digest == clothes.subset(slice(0, 30)).digest
    assert test.digest == clothes.subset(slice(30, 50)).digest
    assert train.classes[9] == "Ankle boot"


def test_unknown_split_is_refused(published, here):
    with pytest.raises(DataError, match="'validation'; choose 'train' or 'test'"):
        fashion_mnist("validation", here)


def test_the_first_folder_that_has_all_is_found(published, tmp_path):
    folders = [tmp_path / "one", str(tmp_path / "two")]
    assert find("FashionMNIST", folders) is None
    second = write(tmp_path / "two", published)
    assert find("FashionMNIST", folders) == second
    first = write(tmp_path / "one", published)
    assert find("FashionMNIST", folders) == first
    assert find("FashionMNIST", []) is None


@pytest.mark.parametrize("missing", FILES)
def test_three_files_are_not_found_as_four(published, here, missing):
    write(here, {name: content for name, content in published.items() if name != missing})
    assert find("FashionMNIST", [here]) is None


def test_data_found_is_read_and_nothing_is_written(published, here):
    write(here, published)
    fashion_mnist("train", here)
    assert obtain("FashionMNIST", here) == here / "FashionMNIST" / "raw"
    assert held(here) == published


def test_data_that_is_not_there_is_named_and_not_downloaded(published, here, mirror):
    raw = here / "FashionMNIST" / "raw"
    with pytest.raises(
        DataError, match=f"^{re.escape(str(raw / FILES[0]))}: cannot be read .*data.obtain fetch"
    ):
        fashion_mnist("train", here)
    assert mirror.sent == []
    assert not here.exists()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (0, b"short", "MD5 differs"),
        (1, idx([1] * 30), "MD5 differs"),
    ],
)
def test_foreign_file_is_refused_and_left_alone(published, here, file, content, message):
    raw = write(here, {**published, FILES[file]: content})
    with pytest.raises(
        DataError, match=f"{re.escape(str(raw / FILES[file]))}: {message}.*move it away"
    ):
        fashion_mnist("train", here)
    assert held(here) == {**published, FILES[file]: content}


def test_images_and_labels_of_different_length_are_refused(published, here, monkeypatch):
    contents = {**published, FILES[1]: idx([1] * 29)}
    publish(monkeypatch, contents)
    write(here, contents)
    with pytest.raises(DataError, match=r"FashionMNIST train: labels .* \(29,\) for 30 images"):
        fashion_mnist("train", here)
    assert len(fashion_mnist("test", here)) == 20


def unreachable(folder, **options):
    """Call ``obtain`` and return the message of its DataError."""
    with pytest.raises(DataError) as caught:
        obtain("FashionMNIST", folder, **options)
    message = str(caught.value)
    for part in (*FILES, str(folder / "FashionMNIST" / "raw"), "put the four files there"):
        assert part in message
    assert "\n" not in message
    return message


def test_without_any_source_it_says_what_was_looked_for_and_tried(published, here):
    assert f"http://127.0.0.1:9/{FILES[0]} (" in unreachable(here)
    assert not here.exists()


def test_without_any_source_existing_files_stay(published, here):
    some = {FILES[0]: published[FILES[0]], FILES[2]: b"somebody's own"}
    write(here, some)
    unreachable(here)
    assert held(here) == some


@pytest.fixture
def another_user():
    """Root may read and write anything: act as somebody who may not, in a folder of their own."""
    if os.name != "posix":
        pytest.skip("needs users and modes of POSIX")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
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
def test_folder_that_cannot_be_written_is_named(published, mirror, another_user, mode):
    write(another_user, {FILES[0]: published[FILES[0]]})
    raw = another_user / "FashionMNIST" / "raw"
    for folder in (raw, another_user):
        folder.chmod(mode)
    with Unprivileged():
        message = unreachable(another_user)
    assert f"{raw / FILES[mode == 0o555]} cannot be written" in message
    for folder in (another_user, raw):
        folder.chmod(0o755)
    assert held(another_user) == {FILES[0]: published[FILES[0]]}


def test_read_only_folder_with_the_data_is_enough(published, another_user):
    write(another_user, published)
    another_user.chmod(0o555)
    with Unprivileged():
        assert len(fashion_mnist("test", another_user)) == 20


def test_unreadable_file_is_named(published, another_user):
    raw = write(another_user, published)
    (raw / FILES[0]).chmod(0o000)
    with (
        Unprivileged(),
        pytest.raises(DataError, match=f"{re.escape(str(raw / FILES[0]))}: cannot be read"),
    ):
        fashion_mnist("train", another_user)


def test_file_in_the_folders_place_is_named(published, mirror, here):
    here.write_text("a file")
    assert f"{here / 'FashionMNIST' / 'raw' / FILES[0]} cannot be written" in unreachable(here)
    assert here.read_text() == "a file"


@pytest.mark.parametrize("path", ["none.gz", "."])
def test_missing_file_is_refused_naming_it(tmp_path, path):
    with pytest.raises(
        DataError, match=f"^{re.escape(str(tmp_path / path))}: cannot be read .*put it there"
    ):
        read_idx(tmp_path / path, md5_of(b""))


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
        monkeypatch.setitem(module.MIRRORS, "FashionMNIST", (server.url,))
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


def test_download_brings_the_published_files(mirror, here, published):
    assert obtain("FashionMNIST", here) == here / "FashionMNIST" / "raw"
    assert held(here) == published


def test_a_second_call_fetches_nothing(mirror, here):
    obtain("FashionMNIST", here)
    obtain("FashionMNIST", here)
    assert mirror.sent == FILES


FAULTS = ["breaks off", "chunk breaks off", "other", "missing", "nonsense", "hangs"]


@pytest.mark.fault(
    "the network breaks off, hangs or sends nonsense in the middle of a download",
    "whole files stay, no part of one does; the next call fetches the rest",
)
@pytest.mark.parametrize("fault", FAULTS)
def test_interrupted_download_keeps_whole_files_and_is_completed_next_time(
    mirror, here, published, fault
):
    mirror.faults[FILES[2]] = fault
    message = unreachable(here, timeout=1)
    assert mirror.url in message
    assert held(here) == {name: published[name] for name in FILES[:2]}

    mirror.faults.clear()
    mirror.sent.clear()
    obtain("FashionMNIST", here)
    assert mirror.sent == FILES[2:]
    assert held(here) == published


@pytest.mark.parametrize("fault", FAULTS)
def test_next_mirror_serves_what_the_first_does_not(mirror, here, published, monkeypatch, fault):
    mirror.contents = {**published, **{f"bad/{name}": published[name] for name in FILES}}
    mirror.faults = {f"bad/{FILES[1]}": fault}
    monkeypatch.setitem(module.MIRRORS, "FashionMNIST", (f"{mirror.url}bad/", mirror.url))
    obtain("FashionMNIST", here, timeout=1)
    assert held(here) == published


def test_download_stopped_by_ctrl_c_leaves_no_part_and_is_completed_next_time(
    mirror, here, published, monkeypatch
):
    def stopped(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", stopped)  # in the middle of writing
        with pytest.raises(KeyboardInterrupt):
            obtain("FashionMNIST", here)
    assert held(here) == {}
    obtain("FashionMNIST", here)
    assert held(here) == published


def test_download_killed_midway_is_completed_next_time(mirror, here, published):
    raw = write(here, {FILES[0]: published[FILES[0]]})
    (raw / f".{FILES[1]}-killed").write_bytes(b"half")
    obtain("FashionMNIST", here)
    assert {name: (raw / name).read_bytes() for name in FILES} == published
    assert mirror.sent == FILES[1:]


def test_silent_mirror_is_given_up(mirror, here):
    mirror.faults[FILES[0]] = "hangs"
    began = time.monotonic()
    unreachable(here, timeout=0.2)
    assert time.monotonic() - began < Mirror.PATIENCE / 2


# --- the real thing ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["FashionMNIST", "MNIST"])
def test_addresses_and_checksums_are_torchvisions(name):
    theirs = getattr(torchvision.datasets, name)
    assert list(module.MIRRORS[name]) == theirs.mirrors
    assert module.CHECKSUMS[name] == dict(theirs.resources)


def test_classes_are_named_as_torchvision_names_them():
    assert list(module.FASHION_CLASSES) == torchvision.datasets.FashionMNIST.classes


# Digests that checkpoints have stored: of names of classes, pixels and labels.
@pytest.mark.parametrize(
    ("name", "split", "count", "digest"),
    [
        ("fashion_mnist", "train", 60_000, "b5dd9b9bd5ae6417"),
        ("fashion_mnist", "test", 10_000, "4f3b24bc1e9eecb5"),
        ("mnist", "train", 60_000, "d5e17303832bbea0"),
        ("mnist", "test", 10_000, "6ff4b900d6d79e15"),
    ],
)
def test_real_dataset_is_whole(real_folder, name, split, count, digest):
    data = getattr(module, name)(split, real_folder)
    assert data.images.shape == (count, 1, 28, 28)
    assert data.images.dtype == torch.uint8
    assert data.labels.unique().tolist() == list(range(10))
    assert len(data.classes) == 10
    assert data.digest == digest
    if name == "fashion_mnist":
        assert data.labels.bincount().tolist() == [count // 10] * 10
