"""The explorer's scripts: the book's weights, whole, with codes that belong to them."""

import base64
import json
import math
import shutil

import numpy as np
import pytest
import torch

from press.checkpoints import checkpoint_path, load
from press.experiments import codes
from press.runs import RUNS
from press.settings import ROOT, read
from press.site import explorer
from press.site.render import stage
from vae_helpers import latent
from vae_helpers.errors import CheckpointError
from vae_helpers.files import load_tensors, save_tensors

BOOK = read({})
LAYERS = {"0.weight", "0.bias", "2.weight", "2.bias"}  # of a dense decoder, as explorer.js has it


@pytest.fixture
def copied(tmp_path):
    """The settings of a book that has what the explorer is made from, and one page."""
    for path in [codes.codes_path(BOOK), *(checkpoint_path(run, BOOK) for run in codes.RUNS)]:
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "references.bib").touch()
    (tmp_path / "pages" / "index.md").write_text("# A book\n")
    (tmp_path / "pages" / "explorer.md").write_text("# Explorer\n")
    (tmp_path / "_config.yml").write_text("author: A\nrepository: {url: https://github.com/a/b}\n")
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: pages/index\n")
    return read({}, tmp_path)


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


def checkpoint(run, settings=BOOK):
    return load_tensors(checkpoint_path(run, settings))


def test_each_script_holds_a_decoder_whole_and_is_small():
    scripts = explorer.scripts(BOOK)
    assert list(scripts) == [f"{run}.js" for run in codes.RUNS]
    for run in codes.RUNS:
        one, (tensors, header) = content(scripts[f"{run}.js"]), checkpoint(run)
        assert len(scripts[f"{run}.js"]) <= 1_500_000
        assert (one["run"], one["latent"]) == (run, header["run"]["latent"])
        assert {name for name in one["tensors"] if name[0].isdigit()} == LAYERS
        for layer in LAYERS:
            stored = tensors[f"model.decoder.{layer}"]
            close = 0 if stored.dtype == torch.float16 else 2**-16  # of 15 bits, and a rounded one
            torch.testing.assert_close(one["tensors"][layer], stored.float(), rtol=close, atol=0)


def test_two_matrices_decode_as_the_model_does():
    """What explorer.js computes, in PyTorch's words."""
    scripts = explorer.scripts(BOOK)
    for run in codes.RUNS:
        one = content(scripts[f"{run}.js"])
        model = load(checkpoint_path(run, BOOK), RUNS[run], BOOK).model
        z = latent.frozen(10, model.latent, 1.0, seed=0)
        labels = torch.arange(10) % model.classes if model.classes else None
        inputs = z if labels is None else torch.cat([z, torch.eye(10)], dim=1)
        weights = one["tensors"]
        hidden = torch.relu(inputs @ weights["0.weight"].T + weights["0.bias"])
        pixels = torch.sigmoid(hidden @ weights["2.weight"].T + weights["2.bias"])
        wanted = latent.decode(model, z, labels).flatten(1)
        torch.testing.assert_close(pixels, wanted, atol=5e-4, rtol=0)


def test_codes_of_another_model_are_refused_with_the_remedy(copied):
    path = checkpoint_path("dense10", copied)
    tensors, header = load_tensors(path)
    tensors["model.decoder.2.bias"] += 0.1
    save_tensors(path, tensors, header)
    refused = r"codes\.safetensors: not the codes of these models; run `python -m press measure"
    with pytest.raises(CheckpointError, match=refused):
        explorer.scripts(copied)
    codes.codes_path(copied).unlink()
    with pytest.raises(CheckpointError, match=refused):
        explorer.scripts(copied)


def test_a_missing_checkpoint_is_named(copied):
    checkpoint_path("conditional2", copied).unlink()
    with pytest.raises(CheckpointError, match="conditional2"):
        explorer.scripts(copied)


def test_staging_adds_the_book_s_decoders_to_a_book_with_that_page_alone(copied):
    def scripts(settings):
        return [name for name in stage(copied.root, settings) if name.startswith("extra/")]

    assert scripts(copied) == []
    with (copied.root / "_toc.yml").open("a") as toc:
        toc.write("chapters:\n  - file: pages/explorer\n")
    for profile in ("full", "smoke"):  # whose own models are worth nothing
        found = scripts(read({}, copied.root, profile=profile))
        assert found == [f"extra/explorer/{run}.js" for run in codes.RUNS]
    codes.codes_path(copied).unlink()
    with pytest.raises(CheckpointError, match="measure codes"):
        stage(copied.root, copied)
