import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
import torch

from vae_helpers import data, runs
from vae_helpers.losses import LIKELIHOODS
from vae_helpers.models import BODIES
from vae_helpers.storage import CheckpointError, load_tensors, save_tensors
from vae_helpers.training import SCHEDULES, evaluate


@pytest.fixture
def checkpoint(smoke):
    """A trained smoke run: (path, run, digest of its data)."""
    run = runs.find_run("dense20-validated")
    return runs.train(run.name), run, data.load("train").digest


def rewritten(path, change):
    tensors, header = load_tensors(path)
    change(tensors, header)
    save_tensors(path, tensors, header)


def test_runs_are_filed_under_their_names_and_can_be_built():
    for name, run in runs.RUNS.items():
        assert run.name == name
        assert run.body in BODIES or run.kind == "classifier"
        assert run.labelled == 0
        assert run.kind in runs.LOSSES
        assert runs.build(run) is not None
        assert run.schedule in SCHEDULES
        assert 0 < run.train_share <= 1
        assert run.dataset in data.DATASETS
        assert run.annealing in runs.ANNEALING
        assert run.likelihood in LIKELIHOODS


def test_the_standard_run_is_what_the_book_says():
    run = runs.RUNS["conv16"]
    assert (run.body, run.latent, run.beta, run.lr) == ("conv", 16, 1.0, 1e-3)
    assert (run.epochs, run.batch_size, run.seed, run.schedule) == (25, 128, 42, "constant")


def test_trained_trains_once_and_then_loads_the_same(smoke, monkeypatch):
    first = runs.trained("dense20-validated")

    def never(*arguments, **options):
        raise AssertionError("trained again")

    monkeypatch.setattr(runs, "fit", never)
    second = runs.trained("dense20-validated")
    a, b = first.model.state_dict(), second.model.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert first.digest == second.digest
    assert not second.model.training
    assert second.history.splits == ["train", "validation", "test"]
    assert second.history.epochs == 1
    assert set(second.snapshots) == {"001.reconstructions", "001.samples"}
    assert second.snapshots["001.samples"].shape == (8, 1, 28, 28)
    assert second.snapshots["001.samples"].dtype == torch.uint8
    assert {"seconds", "hardware", "precision", "command", "versions"} == set(second.made)
    assert not list((smoke / "work").rglob("*.safetensors"))  # the unfinished state is gone


def test_a_smoke_run_of_older_code_or_garments_is_trained_again(checkpoint):
    path, _, _ = checkpoint
    before = path.read_bytes()
    rewritten(path, lambda tensors, header: header.update(data="other garments"))
    assert runs.trained("dense20-validated").model is not None
    again, _ = load_tensors(path)
    path.write_bytes(before)
    first, _ = load_tensors(path)
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_an_unknown_run_is_named_with_those_there_are():
    with pytest.raises(KeyError, match=r"no run 'conv17'; choose one of conv16"):
        runs.trained("conv17")


@pytest.mark.fault(
    "a checkpoint was made by another configuration",
    "refused, naming the field and both values",
)
@pytest.mark.parametrize(
    ("field", "value", "message"),
    [("beta", 0.5, r"beta=1.0, but .* has beta=0.5"), ("latent", 2, r"latent=20.*latent=2;")],
)
def test_a_checkpoint_of_another_configuration_is_refused(checkpoint, field, value, message):
    path, run, digest = checkpoint
    with pytest.raises(CheckpointError, match=message) as error:
        runs.load(path, replace(run, **{field: value}), digest)
    assert str(path) in str(error.value)
    assert "delete it" in str(error.value)


def test_a_checkpoint_older_than_a_field_was_made_as_its_default_says(checkpoint):
    path, run, digest = checkpoint

    def age(tensors, header):
        header["run"] = {key: header["run"][key] for key in ("name", "body", "latent", "epochs")}
        header["run"] |= {"train_share": 0.9, "beta": 1.0}  # one at its default, as once stored

    before = runs.load(path, run, digest)
    rewritten(path, age)
    after = runs.load(path, run, digest)
    assert after.run == before.run
    assert after.digest == before.digest
    with pytest.raises(CheckpointError, match=r"kind='vae', but .* has kind='autoencoder'"):
        runs.load(path, replace(run, kind="autoencoder"), digest)


def test_a_run_of_some_classes_learns_and_watches_those_alone(smoke):
    run = runs.RUNS["beta-1"]
    images, validation = runs.training_images(run)
    assert set(images.labels.tolist()) == {0, 1, 7}
    assert validation is None
    test = runs.data.load("test").only(run.classes)
    one = runs.trained("beta-1")
    assert one.history.curve("test")[-1] == pytest.approx(
        float(runs.evaluate(one.model, test)["total"].mean()), abs=0.01
    )


def test_held_out_images_are_the_rest_of_the_training_images():
    with mock.patch.object(data, "load", return_value=data.garments(100)):
        images, held_out = runs.training_images(runs.RUNS["dense20-validated"])
    assert (len(images), len(held_out)) == (90, 10)


def test_an_autoencoder_and_a_classifier_are_runs_like_any_other(smoke):
    plain, judge = runs.trained("autoencoder16"), runs.trained("classifier")
    assert plain.model.encoder.log_var is None
    assert plain.history.splits == ["train", "validation", "test"]
    assert set(plain.snapshots) == {"001.reconstructions", "001.samples"}
    assert judge.snapshots == {}
    assert judge.history.curve("test", "error")
    assert float(judge.model.temperature) != 1  # calibrated


def test_a_checkpoint_of_other_images_is_refused(checkpoint):
    path, run, _ = checkpoint
    with pytest.raises(CheckpointError, match="trained on other images"):
        runs.load(path, run, "0" * 16)


def test_a_checkpoint_whose_tensors_do_not_fit_is_refused(checkpoint):
    path, run, digest = checkpoint
    rewritten(path, lambda tensors, header: tensors.pop("model.encoder.mu.bias"))
    with pytest.raises(CheckpointError, match="does not fit the run's model"):
        runs.load(path, run, digest)


def test_a_flipped_bit_is_refused(checkpoint):
    path, run, digest = checkpoint
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        runs.load(path, run, digest)


def test_the_digest_follows_the_weights(checkpoint):
    path, run, digest = checkpoint
    before = runs.load(path, run, digest).digest

    def nudge(tensors, header):
        tensors["model.encoder.mu.bias"][0] += 1e-3  # the weights are stored in half precision

    rewritten(path, nudge)
    assert runs.load(path, run, digest).digest != before


SCRIPT = """
import sys
from pathlib import Path
from vae_helpers import runs
from vae_helpers.settings import Settings
Settings.assets, Settings.work = Path(sys.argv[1], "assets"), Path(sys.argv[1], "work")
fit, trainings = runs.fit, []
def counted(*arguments, **options):
    trainings.append(1)
    return fit(*arguments, **options)
runs.fit = counted
print("ready", flush=True)
sys.stdin.readline()
digest = runs.trained("dense20-validated").digest
print(len(trainings), digest)
"""


@pytest.mark.fault(
    "two processes want the same run at once",
    "one trains, the other waits and loads the same",
)
def test_two_processes_wanting_one_run_train_it_once(tmp_path):
    environment = os.environ | {"VAE_PROFILE": "smoke", "OMP_NUM_THREADS": "1"}
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
    assert len(list(Path(tmp_path, "assets", "checkpoints").iterdir())) == 1


def test_a_conditional_run_keeps_pictures_under_their_labels(smoke):
    one = runs.trained("conditional2")
    assert one.model.classes == 10
    assert one.snapshots["001.samples"].shape == (8, 1, 28, 28)


def test_a_run_of_digits_is_trained_on_them(smoke):
    one = runs.trained("mnist-dense2")
    digits = data.load("test", "mnist")
    assert one.history.curve("test")[-1] == pytest.approx(
        float(runs.evaluate(one.model, digits)["total"].mean()), abs=0.01
    )


def test_a_recipe_is_all_that_training_takes_from_a_run():
    run = replace(
        runs.RUNS["dense2"],
        likelihood="mean-squared-error",
        beta=3.0,
        annealing="linear",
        free_bits=0.5,
    )
    recipe = runs.recipe(run)
    assert recipe["loss"].keywords == {"likelihood": "mean-squared-error", "free_bits": 0.5}
    assert [recipe["beta"](at) for at in (0.0, 0.25, 0.5, 1.0)] == [0.0, 1.5, 3.0, 3.0]
    assert {name: recipe[name] for name in ("epochs", "batch_size", "lr", "seed")} == {
        "epochs": 30,
        "batch_size": 128,
        "lr": 4e-3,
        "seed": 42,
    }


@pytest.mark.parametrize("name", ["residual32", "conv2-beta-0.5", "conditional2"])
def test_half_precision_costs_nothing(real_data, name):
    one, test = runs.trained(name), real_data.load("test")
    now = float(evaluate(one.model, test, beta=one.run.beta)["total"].double().mean())
    assert now == pytest.approx(one.history.curve("test")[-1], abs=0.01)  # with full weights


def test_counters_are_stored_as_they_are():
    assert runs._halved(torch.tensor([70_001])).item() == 70_001
    assert runs._halved(torch.tensor([0.5])).dtype == torch.float16


def test_few_labels_are_balanced_and_the_same_for_the_same_seed():
    run = runs.Run("few", "dense", 2, 1, dataset="garments", labelled=100)
    images, held_out = runs.training_images(run)
    assert held_out is None
    assert torch.bincount(images.labels).tolist() == [10] * 10
    assert torch.equal(images.images, runs.training_images(run)[0].images)
    other, _ = runs.training_images(replace(run, seed=1))
    assert not torch.equal(images.images, other.images)


def test_a_semi_supervised_run_sees_all_images_and_few_labels():
    run = runs.Run(
        "m2",
        "dense",
        2,
        1,
        kind="semi-supervised",
        dataset="garments",
        labelled=50,
        label_weight=3.0,
    )
    images, _ = runs.training_images(run)
    assert len(images) == data.GARMENTS["train"]
    given = runs.recipe(run)["loss"].keywords
    assert given["weight"] == 3
    assert torch.bincount(given["labelled"].labels).tolist() == [5] * 10
    model = runs.build(run)
    assert model.vae.classes == 10
    assert runs.build(replace(run, kind="supervised")).classifier is not None
