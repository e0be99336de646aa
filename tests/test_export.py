"""The explorer's scripts: the book's weights, whole, with codes that belong to them."""

import base64
import json
import math
import shutil

import numpy as np
import pytest
import torch

from vae_helpers import book, export, latent, measurements, runs
from vae_helpers.settings import ROOT
from vae_helpers.storage import CheckpointError, load_tensors, save_tensors

ASSETS = ROOT / "assets"


@pytest.fixture
def assets(tmp_path):
    """A copy of what the explorer is made from."""
    for run in export.RUNS:
        copy = tmp_path / "assets" / "checkpoints" / f"{run}.safetensors"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ASSETS / "checkpoints" / copy.name, copy)
    export.codes_path(tmp_path / "assets").parent.mkdir(parents=True)
    shutil.copy(export.codes_path(ASSETS), export.codes_path(tmp_path / "assets"))
    return tmp_path / "assets"


def content(script):
    """What a script hands to the page, its tensors as float32."""
    text = script.decode().removeprefix("explorer.receive(").removesuffix(");\n")
    one = json.loads(text)
    for name, packed in one["tensors"].items():
        numbers, shape = base64.b64decode(packed["bytes"]), packed["shape"]
        if len(numbers) == 2 * math.prod(shape):
            values = np.frombuffer(numbers, "<f2").astype("f4")
        else:
            three = np.frombuffer(numbers, "u1").reshape(-1, 3)
            values = np.pad(three, ((0, 0), (1, 0))).view("<f4")
        one["tensors"][name] = torch.from_numpy(values).view(shape)
    return one


def checkpoint(run, assets=ASSETS):
    return load_tensors(assets / "checkpoints" / f"{run}.safetensors")


def test_each_script_holds_a_decoder_whole_and_is_small():
    scripts = export.scripts(ASSETS)
    assert list(scripts) == [f"{run}.js" for run in export.RUNS]
    for run in export.RUNS:
        one, (tensors, header) = content(scripts[f"{run}.js"]), checkpoint(run)
        assert len(scripts[f"{run}.js"]) <= 1_500_000
        assert (one["run"], one["latent"]) == (run, header["run"]["latent"])
        for layer in export.LAYERS:
            stored = tensors[f"model.decoder.{layer}"]
            close = 0 if stored.dtype == torch.float16 else 2**-16  # of 15 bits, and a rounded one
            torch.testing.assert_close(one["tensors"][layer], stored.float(), rtol=close, atol=0)


def test_two_matrices_decode_as_the_model_does():
    """What explorer.js computes, in PyTorch's words."""
    scripts = export.scripts(ASSETS)
    for run in export.RUNS:
        one, header = content(scripts[f"{run}.js"]), checkpoint(run)[1]
        path = ASSETS / "checkpoints" / f"{run}.safetensors"
        model = runs.load(path, runs.RUNS[run], header["data"]).model
        z = latent.frozen(10, model.latent, 1.0, seed=0)
        labels = latent.labels_for(model, 10)
        inputs = z if labels is None else torch.cat([z, torch.eye(10)], dim=1)
        weights = one["tensors"]
        hidden = torch.relu(inputs @ weights["0.weight"].T + weights["0.bias"])
        pixels = torch.sigmoid(hidden @ weights["2.weight"].T + weights["2.bias"])
        wanted = latent.decode(model, z, labels).flatten(1)
        torch.testing.assert_close(pixels, wanted, atol=5e-4, rtol=0)


def test_codes_of_another_model_are_refused_with_the_remedy(assets):
    path = assets / "checkpoints" / "dense10.safetensors"
    tensors, header = load_tensors(path)
    tensors["model.decoder.2.bias"] += 0.1
    save_tensors(path, tensors, header)
    with pytest.raises(CheckpointError, match="other models; run `python -m vae_helpers measure"):
        export.scripts(assets)
    export.codes_path(assets).unlink()
    with pytest.raises(CheckpointError, match=r"codes\.safetensors: no such file; run `python"):
        export.scripts(assets)


def test_a_missing_checkpoint_is_named(assets):
    (assets / "checkpoints" / "conditional2.safetensors").unlink()
    with pytest.raises(CheckpointError, match="conditional2"):
        export.scripts(assets)


@pytest.mark.parametrize("run", ["conv16", "residual32"])
def test_a_decoder_that_is_not_dense_is_refused(run):
    with pytest.raises(CheckpointError, match=f"{run}.*dense decoders alone"):
        export.decoder(run, checkpoint(run)[0])


def test_staging_adds_the_decoders_to_a_book_with_that_page_alone(assets):
    root = assets.parent
    (root / "_config.yml").write_text("author: A\nrepository: {url: https://github.com/a/b}\n")
    (root / "references.bib").touch()
    (root / "index.md").write_text("# A book\n")
    (root / "explorer.md").write_text("# Explorer\n")
    toc = "format: jb-book\nroot: index\n"
    (root / "_toc.yml").write_text(toc)
    staged = book.stage(root, "full", root / "chapters") / "extra" / "explorer"
    assert not staged.exists()
    (root / "_toc.yml").write_text(f"{toc}chapters:\n  - file: explorer\n")
    book.stage(root, "full", root / "chapters")
    assert {path.name for path in staged.iterdir()} == {f"{run}.js" for run in export.RUNS}
    export.codes_path(assets).unlink()
    with pytest.raises(book.BookError, match="measure codes"):
        book.stage(root, "full", root / "chapters")


def test_stored_codes_belong_to_the_stored_models_and_images(real_data):
    codes, head = load_tensors(export.codes_path(ASSETS))
    assert head["of"] == export.models_digest(ASSETS)
    assert head["data"] == real_data.load("test").digest
    images, labels = real_data.load("test")[:50]
    model = runs.trained(export.MAP).model
    with torch.inference_mode():
        mu, _ = model.encode(images)
    torch.testing.assert_close(codes["dense2.codes"][:50].float(), mu, atol=2e-3, rtol=0)
    assert torch.equal(codes["dense2.labels"][:50].long(), labels)
    assert export.codes_path(ASSETS).stat().st_size < 100_000


def test_codes_are_measured_once_and_for_every_model(smoke):
    path = measurements.measure(export.CODES)
    first = path.read_bytes()
    codes, head = load_tensors(path)
    for name in export.TEN:
        assert codes[f"{name}.codes"].shape == (10, 10)
        assert codes[f"{name}.images"].shape == (10, 1, 28, 28)
        assert bool((codes[f"{name}.kl"] >= 0).all() and (codes[f"{name}.deviation"] > 0).all())
    assert measurements.measure(export.CODES).read_bytes() == first
    save_tensors(path, codes, head | {"of": "another"})
    assert load_tensors(measurements.measure(export.CODES))[1]["of"] == head["of"]
