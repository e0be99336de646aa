import math
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from vae_helpers import losses
from vae_helpers.data import ImageDataset, garments
from vae_helpers.errors import CheckpointError, DataError, TrainingError
from vae_helpers.files import load_tensors
from vae_helpers.latent import decode, encode
from vae_helpers.losses import linear_warmup
from vae_helpers.models import build_vae
from vae_helpers.training import (
    autoencoder_loss,
    best_device,
    best_precision,
    evaluate,
    fit,
    one_cycle,
    vae_loss,
)

DATA = garments(300, seed=0)
OTHER = garments(100, seed=1)


def train(model=None, data=DATA, **options):
    """A model after ``fit``, with what ``fit`` returned; two quiet epochs unless told otherwise."""
    model = model or build_vae("dense", 3)
    return model, *fit(model, data, **({"epochs": 2, "progress": False} | options))


def same_weights(one, other):
    a, b = one.state_dict(), other.state_dict()
    return all(torch.equal(a[name], b[name]) for name in a)


def first_images(model, step):
    if step not in (3, 6):  # the ends of both epochs
        return {}
    with torch.inference_mode():
        model.eval()  # it is put back
        return {f"{step}.reconstructions": model.generate(model.encode(DATA[:2][0])[0])}


# --- what training gives ------------------------------------------------------------------------


@pytest.mark.parametrize("body", ["dense", "conv", "deep-conv"])
def test_training_lowers_every_body_s_loss(body):
    _, history, _ = train(build_vae(body, 4), data=DATA.subset(slice(128)), epochs=3, batch_size=32)
    total = history.curve("train")
    assert total[0] > total[1] > total[2]


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        ("conv", (3, 32, 32)),
        ("deep-conv", (1, 12, 20)),
        ("dense", (3, 17, 23)),
        ("residual", (2, 5, 1)),
    ],
)
def test_images_of_any_shape_are_learned_without_labels(body, shape):
    tones = torch.randint(256, (60, 1, 1, 1), generator=torch.Generator().manual_seed(0))
    data = ImageDataset(tones.expand(60, *shape).to(torch.uint8))
    model = build_vae(body, 2, shape)
    before = evaluate(model, data)["total"].mean()
    fit(model, data, epochs=8, batch_size=20, lr=5e-3, watch={"test": data}, progress=False)
    assert evaluate(model, data)["total"].mean() < before
    mu, log_var = encode(model, data)
    assert mu.shape == log_var.shape == (60, 2)
    assert decode(model, mu).shape == (60, *shape)


def test_a_bar_shows_epoch_device_and_the_time_left(capsys):
    train(epochs=3, batch_size=32, progress=True)
    *_, last = capsys.readouterr().err.strip().split("\r")
    assert re.search(r"epoch 3/3 on cpu: 100%.*30/30 \[00:\d\d<00:00, ", last)
    train(progress=False)
    assert capsys.readouterr().err == ""


def test_history_has_a_row_per_epoch_and_split_whose_total_is_its_terms():
    _, history, _ = train(beta=0.5, watch={"validation": OTHER, "test": DATA})
    assert [row["split"] for row in history.rows][:3] == ["train", "validation", "test"]
    assert history.epochs == 2
    assert [row["epoch"] for row in history.rows] == [1, 1, 1, 2, 2, 2]
    for row in history.rows:
        assert row["total"] == pytest.approx(row["reconstruction"] + 0.5 * row["kl"], rel=1e-5)
    assert history.seconds > 0


def test_training_rows_are_the_mean_over_all_images_of_the_epoch():
    # With a rate of (almost) zero the model stays as it is, and learning changes no batch's loss;
    # the last batch is smaller than the others, so a mean over batches would be another number.
    model, history, _ = train(epochs=1, lr=1e-12, batch_size=128)
    expected = [float(evaluate(model, DATA, seed=s)["total"].mean()) for s in range(8)]
    assert history.curve("train")[0] == pytest.approx(sum(expected) / 8, abs=0.5)


def test_watched_splits_are_what_evaluate_says():
    model, history, _ = train(watch={"test": OTHER})
    for term, values in evaluate(model, OTHER).items():
        assert history.curve("test", term)[-1] == pytest.approx(float(values.mean()), abs=1e-3)


def test_same_seed_same_bits_and_another_seed_others():
    one, history, _ = train(build_vae("conv", 2))
    two, again, _ = train(build_vae("conv", 2))
    other, _, _ = train(build_vae("conv", 2), seed=7)
    assert same_weights(one, two)
    assert history.rows == again.rows
    assert not same_weights(one, other)


def test_training_leaves_the_global_random_state_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    train()
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.fault(
    "a batch is larger than the data: 1 or 7 images, batches of 128",
    "they are one batch; the loss is finite, and each image has its own terms and code",
)
@pytest.mark.parametrize("count", [1, 7])
def test_fewer_images_than_a_batch_are_one_batch(count):
    few = DATA.subset(slice(count))
    model, history, _ = train(data=few)
    assert math.isfinite(history.curve("train")[-1])
    assert all(len(term) == count for term in evaluate(model, few).values())
    assert [part.shape for part in encode(model, few)] == [(count, 3)] * 2


@pytest.mark.fault(
    "there are no images at all, to train on, to judge or to encode",
    "refused by name",
)
@pytest.mark.parametrize(
    "use",
    [lambda model, none: train(model, data=none), evaluate, encode],
    ids=["fit", "evaluate", "encode"],
)
def test_no_images_are_refused(use):
    none = DATA.subset([])
    with pytest.raises(DataError, match=f"^{re.escape(none.name)}: no images"):
        use(build_vae("dense", 3), none)


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_reduced_precision_learns_too_and_sums_in_float32(precision):
    seen = []

    def loss(*arguments, **options):
        terms = vae_loss(*arguments, **options)
        seen.extend(term.dtype for term in terms.values())
        return terms

    _, history, _ = train(build_vae("conv", 2), epochs=3, precision=precision, loss=loss)
    assert history.curve("train")[2] < history.curve("train")[0]
    assert set(seen) == {torch.float32}


@pytest.mark.parametrize(
    ("cuda", "mps", "best"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_the_best_device_is_a_gpu_where_there_is_one(cuda, mps, best, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert best_device() == torch.device(best)


def test_other_devices_than_these_have_no_precision_of_their_own():
    assert best_precision(torch.device("mps")) is None


def test_reduced_precision_is_chosen_on_a_cpu_only_where_its_flags_say_so():
    info = Path("/proc/cpuinfo")
    if not info.exists():
        pytest.skip("no /proc/cpuinfo to compare with")
    flags = set(info.read_text().split())
    has_units = bool({"amx_tile", "avx512_bf16"} & flags)
    assert best_precision(torch.device("cpu")) == (torch.bfloat16 if has_units else None)


# --- schedules ----------------------------------------------------------------------------------


def test_one_cycle_climbs_to_its_peak_and_dies_away_smoothly():
    assert one_cycle(0, 1.0) == pytest.approx(1 / 25)
    assert one_cycle(0.3, 1.0) == pytest.approx(1.0)
    assert one_cycle(1, 1.0) == pytest.approx(1e-4)
    rates = [one_cycle(i / 1000, 1.0) for i in range(1001)]
    assert max(abs(b - a) for a, b in zip(rates, rates[1:], strict=False)) < 0.01
    assert rates[:301] == sorted(rates[:301])
    assert rates[300:] == sorted(rates[300:], reverse=True)


def test_the_schedules_rate_reaches_the_optimizer():
    constant, _, _ = train(lr=1e-3)
    cycled, _, _ = train(lr=1e-3, schedule="one-cycle")
    still, _, _ = train(lr=1e-12)
    assert not same_weights(constant, cycled)
    for p, q in zip(still.parameters(), build_vae("dense", 3).parameters(), strict=True):
        assert torch.allclose(p, q, atol=1e-8)


@pytest.mark.parametrize(
    "wrong",
    [{"batch_size": 0}, {"batch_size": -1}, {"epochs": -1}, {"lr": 0.0}, {"lr": math.nan}],
    ids=str,
)
def test_numbers_that_no_training_has_are_refused_by_name(wrong, tmp_path):
    state = tmp_path / "state.safetensors"
    model = build_vae("dense", 3)
    with pytest.raises(ValueError, match=r"-?\d+ epochs of batches of -?\d+ at a rate of"):
        train(model, state=state, **wrong)
    assert same_weights(model, build_vae("dense", 3))
    assert not state.exists()


def test_no_epochs_leave_the_model_as_it_is():
    model, history, _ = train(epochs=0)
    assert history.rows == []
    assert same_weights(model, build_vae("dense", 3))


@pytest.mark.parametrize("training", [True, False])
def test_training_leaves_each_part_in_the_mode_it_was_in(training):
    model = build_vae("conv", 2).train(training)
    model.decoder.train(not training)
    modes = [part.training for part in model.modules()]
    train(model, data=DATA.subset(slice(64)), watch={"test": OTHER}, snapshot=first_images)
    assert [part.training for part in model.modules()] == modes

    def broken(*_, **__):
        raise KeyError

    with pytest.raises(KeyError):
        train(model, loss=broken)
    assert [part.training for part in model.modules()] == modes


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match="no schedule 'cosine'; choose one of constant, one-cycle"):
        train(schedule="cosine")


def test_a_beta_schedule_follows_progress_and_is_watched_at_its_end():
    seen = []

    def loss(*arguments, beta, **options):
        seen.append(beta)
        return vae_loss(*arguments, beta=beta, **options)

    train(beta=linear_warmup(2.0, 0.5), batch_size=100, watch={"test": OTHER}, loss=loss)
    # three steps an epoch, then one evaluation at the final β
    assert seen == pytest.approx([0, 2 / 3, 4 / 3, 2, 2, 2, 2, 2])


# --- interruption -------------------------------------------------------------------------------


@pytest.mark.fault(
    "Ctrl-C in the middle of an epoch",
    "model and state are those of the last finished epoch",
)
def test_interrupted_training_leaves_the_last_finished_epoch(tmp_path):
    one_epoch, _, _ = train(epochs=1)
    model = build_vae("dense", 3)
    steps = []

    def interrupted(*arguments, **options):
        steps.append(1)
        if len(steps) == 5:  # the second step of epoch 2
            raise KeyboardInterrupt
        return vae_loss(*arguments, **options)

    with pytest.raises(KeyboardInterrupt):
        train(model, loss=interrupted, state=tmp_path / "state.safetensors")
    assert same_weights(model, one_epoch)
    _, header = load_tensors(tmp_path / "state.safetensors")
    assert {row["epoch"] for row in header["rows"]} == {1}


# One process imports everything; each training is a fork of it, so that a kill costs no seconds.
SCRIPT = """
import os
import signal
import sys
from pathlib import Path

from vae_helpers.data import ImageDataset, garments
from vae_helpers.models import build_vae
from vae_helpers.files import save_tensors
from vae_helpers.training import fit

data, folder = garments(400), Path(sys.argv[1])


def snapshot(model, step):
    return {"z": model.generate(model.encode(data[:2][0])[0])}


def train(name):
    model = build_vae("conv", 2)
    history, snapshots = fit(
        model, data, epochs=40, batch_size=25, schedule="one-cycle", lr=4e-3,
        beta=lambda progress: progress, watch={"test": data}, snapshot=snapshot,
        state=folder / f"{name}.state", progress=False,
    )
    save_tensors(folder / f"{name}.safetensors", model.state_dict() | snapshots,
                 {"rows": history.rows})


print("ready", flush=True)
for name in map(str.strip, sys.stdin):
    child = os.fork()
    if not child:
        train(name)
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
KILLS = 20


@pytest.mark.fault(
    "the process is killed (SIGKILL) at twenty random moments of a training",
    "the next call goes on after the last finished epoch; in the end the weights, the history and "
    "the pictures on the way are those of an undisturbed training, bit for bit",
)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="each training is a fork")
def test_killed_training_ends_bit_for_bit_where_an_uninterrupted_one_ends(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        text=True,
    )
    assert process.stdout.readline() == "ready\n"

    def start(name):
        print(name, file=process.stdin, flush=True)
        return int(process.stdout.readline())

    def ended():
        return int(process.stdout.readline())

    start("alone")
    assert ended() == 0
    state, random = tmp_path / "resumed.state", np.random.default_rng(0)
    began, child = time.monotonic(), start("resumed")
    while not state.exists():
        time.sleep(0.001)
    first = time.monotonic() - began  # to the end of its first epoch
    for _ in range(KILLS):
        os.kill(child, signal.SIGKILL)
        assert ended() == -signal.SIGKILL, "it ended too soon: nothing was tested"
        child = start("resumed")
        time.sleep(random.uniform(0, 1.5 * first))  # before its first step, in it, while writing
    os.kill(child, signal.SIGKILL)
    assert ended() == -signal.SIGKILL
    assert 1 < load_tensors(state)[1]["rows"][-1]["epoch"] < 40  # the kills were on the way
    start("resumed")
    assert ended() == 0
    process.communicate()
    alone, whole = load_tensors(tmp_path / "alone.safetensors")
    resumed, header = load_tensors(tmp_path / "resumed.safetensors")
    assert header["rows"] == whole["rows"]
    assert alone.keys() == resumed.keys()
    assert all(torch.equal(alone[name], resumed[name]) for name in alone)


def test_a_finished_state_is_returned_without_training(tmp_path):
    state = tmp_path / "state.safetensors"
    first, history, snapshots = train(state=state, snapshot=first_images)
    assert set(snapshots) == {"3.reconstructions", "6.reconstructions"}

    def never(*arguments, **options):
        raise AssertionError("trained again")

    model, again, stored = train(build_vae("dense", 3, seed=1), state=state, snapshot=never)
    assert same_weights(first, model)
    assert again.rows == history.rows
    assert all(torch.equal(stored[name], snapshots[name]) for name in snapshots)


@pytest.mark.fault(
    "the state of an unfinished training belongs to another loss, β schedule, setting or images",
    "refused by the name of what differs; the file stays as it was",
)
@pytest.mark.parametrize(
    "other",
    [
        {"model": build_vae("dense", 5)},
        {"data": OTHER},
        {"loss": autoencoder_loss},
        {"loss": partial(vae_loss, likelihood="gaussian")},
        {"loss": partial(vae_loss, free_bits=0.5)},
        {"loss": lambda *given, **options: vae_loss(*given, **options)},
        {"beta": 2.0},
        {"beta": losses.linear_warmup(1.0, 0.5)},
        {"precision": torch.bfloat16},
        {"epochs": 3},
        {"batch_size": 64},
        {"lr": 2e-3},
        {"schedule": "one-cycle"},
        {"seed": 1},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_state_of_another_training_is_refused_by_name_and_kept(tmp_path, other):
    state = tmp_path / "state.safetensors"
    train(state=state)
    before = state.read_bytes()
    with pytest.raises(CheckpointError, match=f"another {next(iter(other))} .* another file"):
        train(state=state, **other)
    assert state.read_bytes() == before


OWN_LOSS = """
import sys
from pathlib import Path
from vae_helpers.data import garments
from vae_helpers.models import build_vae
from vae_helpers.training import fit, vae_loss

class Weighted:
    def __init__(self, weight):
        self.weight = weight

    def __call__(self, model, images, labels, beta=1.0, generator=None):
        terms = vae_loss(model, images, labels, beta, generator)
        return terms | {"total": self.weight * terms["total"]}

state, weight = Path(sys.argv[1]), float(sys.argv[2])
fit(build_vae("dense", 2), garments(50), epochs=1, loss=Weighted(weight), state=state)
"""


@pytest.mark.parametrize(
    ("beta", "other"),
    [
        # Equal at nine points of progress, though not between them.
        (losses.cyclical(1.0, share=0.5), losses.cyclical(1.0, share=0.1)),
        (losses.linear_warmup(1.0, 0.5), losses.linear_warmup(2.0, 0.5)),
        (lambda progress: progress, lambda progress: progress**2),
        (lambda progress: 1.0, lambda progress: 2.0),
    ],
)
def test_a_schedule_is_what_it_computes_and_with_what(tmp_path, beta, other):
    state = tmp_path / "state.safetensors"
    train(state=state, beta=beta)
    assert train(state=state, beta=beta)[1].epochs == 2  # the same one goes on
    with pytest.raises(CheckpointError, match="another beta"):
        train(state=state, beta=other)


def test_a_loss_of_ones_own_is_known_again_in_another_process(tmp_path):
    script = tmp_path / "own.py"
    script.write_text(OWN_LOSS, encoding="utf-8")
    said = [
        subprocess.run(
            [sys.executable, script, tmp_path / "state", weight], capture_output=True, text=True
        )
        for weight in ("1", "1", "2")
    ]
    assert [done.returncode for done in said] == [0, 0, 1], said
    assert "another loss" in said[2].stderr


@pytest.mark.fault(
    "the state of an unfinished training is damaged",
    "refused with the remedy",
)
def test_a_damaged_state_is_refused(tmp_path):
    state = tmp_path / "state.safetensors"
    train(state=state)
    content = bytearray(state.read_bytes())
    content[-100] ^= 1
    state.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged; move it away"):
        train(state=state)


def test_snapshots_see_every_step_and_change_nothing():
    seen = []

    def watch(model, step):
        seen.append((step, model.training))
        model.eval()
        return {}

    watched, _, _ = train(build_vae("conv", 2), snapshot=watch)
    alone, _, _ = train(build_vae("conv", 2))
    assert seen == [(step, True) for step in range(1, 7)]
    assert same_weights(watched, alone)


def test_an_autoencoder_trains_on_its_reconstruction_alone():
    model = build_vae("dense", 3, variational=False)
    _, history, _ = train(model, loss=autoencoder_loss, epochs=3, watch={"test": OTHER})
    assert history.curve("test") == history.curve("test", "reconstruction")
    assert history.curve("train")[2] < history.curve("train")[0]
    assert "kl" not in history.rows[0]


# --- numbers that are none ----------------------------------------------------------------------


@pytest.mark.fault(
    "a batch makes the loss NaN",
    "an error names term, epoch and step; the model is as after the last finished epoch",
)
@pytest.mark.parametrize("term", ["reconstruction", "kl"])
def test_the_first_nan_is_named_with_its_epoch_and_step_and_undone(term):
    one_epoch, _, _ = train(epochs=1)
    model, steps = build_vae("dense", 3), []

    def broken(*arguments, **options):
        terms = vae_loss(*arguments, **options)
        steps.append(1)
        if len(steps) == 5:
            terms = terms | {term: terms[term] * math.nan, "total": terms["total"] * math.nan}
        return terms

    with pytest.raises(TrainingError, match=f"{term} became nan by step 2 of epoch 2"):
        train(model, loss=broken)
    assert same_weights(model, one_epoch)


@pytest.mark.fault(
    "the learning rate is far too high",
    "the same error, at the first number that is not finite",
)
def test_a_rate_far_too_high_ends_in_that_error():
    with pytest.raises(TrainingError, match="lower the learning rate"):
        train(build_vae("dense", 3), lr=1e6, epochs=20)


# --- evaluation ---------------------------------------------------------------------------------


def test_evaluation_is_per_image_deterministic_and_leaves_the_model_as_it_was():
    model = build_vae("conv", 2).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    terms = evaluate(model, DATA, beta=2.0)
    assert {name: tuple(term.shape) for name, term in terms.items()} == {
        "total": (300,),
        "reconstruction": (300,),
        "kl": (300,),
    }
    assert all(term.dtype == torch.float32 for term in terms.values())
    assert torch.allclose(terms["total"], terms["reconstruction"] + 2 * terms["kl"])
    assert torch.equal(evaluate(model, DATA)["total"], evaluate(model, DATA)["total"])
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_the_total_counts_free_bits_and_the_terms_do_not():
    model = build_vae("dense", 3).eval()
    images, labels = DATA[:8]
    terms = [
        vae_loss(model, images, labels, generator=torch.Generator().manual_seed(0), free_bits=free)
        for free in (0.0, 5.0)
    ]
    assert torch.equal(terms[0]["kl"], terms[1]["kl"])
    assert torch.allclose(terms[1]["total"], terms[1]["reconstruction"] + 15)  # 3 × 5 > its KL
    assert torch.allclose(terms[0]["total"], terms[0]["reconstruction"] + terms[0]["kl"])


def test_a_conditional_model_learns_with_its_labels():
    model = build_vae("dense", 2, classes=10)
    history, _ = fit(model, DATA.subset(slice(128)), epochs=3, batch_size=32, progress=False)
    assert history.curve("train")[-1] < history.curve("train")[0]
    shuffled = DATA.subset(slice(128))
    assert "total" in evaluate(model, shuffled)
