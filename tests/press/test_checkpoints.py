"""From names to trained models: trained once, loaded, and refused where they are others."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from press import training
from press.book import Book
from press.checkpoints import load
from press.runs import RUNS, find_run
from press.training import experiment, train
from vae_helpers.errors import CheckpointError
from vae_helpers.files import load_tensors, save_tensors
from vae_helpers.training import evaluate


@pytest.fixture
def checkpoint(smoke):
    """A trained smoke run: (path, run)."""
    run = find_run("dense20-validated", smoke)
    return train(run, smoke), run


def rewritten(path, change):
    tensors, header = load_tensors(path)
    change(tensors, header)
    save_tensors(path, tensors, header)


def test_an_experiment_is_trained_once_and_then_loads_the_same(smoke, tmp_path, monkeypatch):
    first = experiment("dense20-validated", smoke)

    def never(*arguments, **options):
        raise AssertionError("trained again")

    monkeypatch.setattr(training, "fit", never)
    second = experiment("dense20-validated", smoke)
    a, b = first.model.state_dict(), second.model.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert first.digest == second.digest
    assert not second.model.training
    assert [row["split"] for row in second.history.rows][:3] == ["train", "validation", "test"]
    assert second.history.epochs == 1
    assert set(second.snapshots) == {"001.reconstructions", "001.samples"}
    assert second.snapshots["001.samples"].shape == (8, 1, 28, 28)
    assert second.snapshots["001.samples"].dtype == torch.uint8
    assert {"seconds", "hardware", "precision", "versions"} == set(second.made)
    assert not list((tmp_path / "smoke").rglob("training/*.safetensors"))  # no unfinished state


def test_a_stored_model_loads_without_any_image(settings, tmp_path):
    """Neither where there is no data, nor by asking for it."""
    nowhere = replace(settings, places=(tmp_path / "none",))
    one = experiment("dense2", nowhere)
    assert one.digest == experiment("dense2", settings).digest
    assert one.model.latent == 2


def test_a_smoke_run_of_older_code_or_garments_is_trained_again(checkpoint, smoke):
    path, _ = checkpoint
    before = path.read_bytes()
    rewritten(path, lambda tensors, header: header.update(data="other garments"))
    assert experiment("dense20-validated", smoke).model is not None
    again, _ = load_tensors(path)
    path.write_bytes(before)
    first, _ = load_tensors(path)
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_an_unknown_run_is_named_with_those_there_are(settings):
    with pytest.raises(KeyError, match=r"no run 'conv17'; choose one of conv16"):
        experiment("conv17", settings)


@pytest.mark.fault(
    "a checkpoint was made by another configuration",
    "refused, naming the field and both values",
)
@pytest.mark.parametrize(
    ("field", "value", "message"),
    [("beta", 0.5, r"beta=1.0, but .* has beta=0.5"), ("latent", 2, r"latent=20.*latent=2;")],
)
def test_a_checkpoint_of_another_configuration_is_refused(checkpoint, smoke, field, value, message):
    path, run = checkpoint
    with pytest.raises(CheckpointError, match=message) as error:
        load(path, replace(run, **{field: value}), smoke)
    assert str(path) in str(error.value)
    assert "a new name, or move it away, and `python -m press train" in str(error.value)


def test_a_checkpoint_older_than_a_field_was_made_as_its_default_says(checkpoint, smoke):
    path, run = checkpoint

    def age(tensors, header):
        header["run"] = {key: header["run"][key] for key in ("name", "body", "latent", "epochs")}
        header["run"] |= {"train_share": 0.9, "beta": 1.0}  # one at its default, as once stored

    before = load(path, run, smoke)
    rewritten(path, age)
    after = load(path, run, smoke)
    assert after.run == before.run
    assert after.digest == before.digest
    with pytest.raises(CheckpointError, match=r"kind='vae', but .* has kind='autoencoder'"):
        load(path, replace(run, kind="autoencoder"), smoke)


def test_a_run_of_some_classes_learns_and_watches_those_alone(book):
    one = book.experiment("beta-1")
    assert set(one.images.labels.tolist()) == {0, 1, 7}
    assert one.held_out is None
    assert set(one.test.labels.tolist()) == {0, 1, 7}
    assert one.history.curve("test")[-1] == pytest.approx(
        float(evaluate(one.model, one.test)["total"].mean()), abs=0.01
    )


def test_an_autoencoder_and_a_classifier_are_runs_like_any_other(book):
    plain, classifier = book.experiment("autoencoder16"), book.experiment("classifier")
    assert plain.model.encoder.log_var is None
    assert [row["split"] for row in plain.history.rows][:3] == ["train", "validation", "test"]
    assert set(plain.snapshots) == {"001.reconstructions", "001.samples"}
    assert classifier.snapshots == {}
    assert classifier.history.curve("test", "error")
    assert float(classifier.model.temperature) != 1  # calibrated
    assert book.classifier is classifier.model


def test_a_checkpoint_of_other_images_is_refused(checkpoint, settings):
    path, run = checkpoint
    with pytest.raises(
        CheckpointError, match="trained on other images; find those, or move it away"
    ):
        load(path, run, settings)  # of the real ones, in whose place garments were drawn


def test_a_checkpoint_whose_tensors_do_not_fit_is_refused(checkpoint, smoke):
    path, run = checkpoint
    rewritten(path, lambda tensors, header: tensors.pop("model.encoder.mu.bias"))
    with pytest.raises(CheckpointError, match="does not fit the model; find its code, or move"):
        load(path, run, smoke)


def test_a_flipped_bit_is_refused(checkpoint, smoke):
    path, run = checkpoint
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        load(path, run, smoke)


def test_the_digest_follows_the_weights(checkpoint, smoke):
    path, run = checkpoint
    before = load(path, run, smoke).digest

    def nudge(tensors, header):
        tensors["model.encoder.mu.bias"][0] += 1e-3  # the weights are stored in half precision

    rewritten(path, nudge)
    assert load(path, run, smoke).digest != before


SCRIPT = """
import sys
from pathlib import Path
from press import training
from press.settings import read
fit, trainings = training.fit, []
def counted(*arguments, **options):
    trainings.append(1)
    return fit(*arguments, **options)
training.fit = counted
settings = read({"VAE_PROFILE": "smoke"}, build=Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
digest = training.experiment("dense20-validated", settings).digest
print(len(trainings), digest)
"""


@pytest.mark.fault(
    "two processes want the same run at once",
    "one trains, the other waits and loads the same",
)
def test_two_processes_wanting_one_run_train_it_once(tmp_path):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    pair = [
        subprocess.Popen([sys.executable, "-c", SCRIPT, tmp_path], env=environment, **pipes)
        for _ in range(2)
    ]
    for process in pair:  # both have imported everything, then both start
        assert process.stdout.readline() == "ready\n"
    for process in pair:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60)[0].split() for process in pair]
    assert sorted(count for count, _ in answers) == ["0", "1"]
    assert answers[0][1] == answers[1][1]
    assert len(list(Path(tmp_path, "smoke", "assets", "checkpoints").iterdir())) == 1


def test_a_conditional_run_keeps_pictures_under_their_labels(book):
    one = book.experiment("conditional2")
    assert one.model.classes == 10
    assert one.snapshots["001.samples"].shape == (8, 1, 28, 28)


def test_a_run_of_digits_is_trained_on_them(book):
    one, digits = book.experiment("mnist-dense2"), book.images("test", "mnist")
    assert one.history.curve("test")[-1] == pytest.approx(
        float(evaluate(one.model, digits)["total"].mean()), abs=0.01
    )


@pytest.mark.parametrize("name", ["residual32", "conv2-beta-0.5", "conditional2"])
def test_half_precision_costs_nothing(real_book, name):
    one = real_book.experiment(name)
    now = float(evaluate(one.model, one.test, beta=one.run.beta)["total"].double().mean())
    assert now == pytest.approx(one.history.curve("test")[-1], abs=0.01)  # with full weights


def test_every_stored_model_belongs_to_its_run(settings):
    book = Book(settings)
    for name in RUNS:
        assert book.experiment(name).run == RUNS[name]
