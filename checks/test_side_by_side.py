"""Trainings side by side, in real processes: the same weights, and nothing lost when they end."""

import os
import signal
import subprocess
import sys
import time

import pytest

from vae_helpers.storage import load_tensors

NAMES = ("dense2", "dense10")
EPOCHS = 3
PATIENCE = 120  # seconds that a step of a test may take on a busy machine

# Each process imports this file: what it changes holds in the trainings, too.
SCRIPT = f"""
import os, signal, sys, time
from dataclasses import replace
from multiprocessing import parent_process
from pathlib import Path

import torch

from vae_helpers import runs, together
from vae_helpers.settings import Settings

folder, how, *names = sys.argv[1:]
folder = Path(folder)
Settings.assets, Settings.work = folder / "assets", folder / "work"
runs.shortened = lambda run: replace(run, epochs={EPOCHS})
fit = runs.fit


def watched(*arguments, snapshot, state, progress, **options):
    began = []

    def step(model, number):
        if not began:
            began.append(number)
            with (folder / "began").open("a") as log:
                log.write(f"{{state.stem}} {{number}} {{torch.get_num_threads()}}\\n")
        if state.exists() and how in ("kill", "wait"):  # after the first epoch
            (folder / f"{{state.stem}} waits").touch()
            while len(list(folder.glob("* waits"))) < len(names):
                time.sleep(0.01)
            if how == "kill" and state.stem == names[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(600)
        return snapshot(model, number)

    return fit(*arguments, snapshot=step, state=state, progress=False, **options)


runs.fit = watched

if __name__ == "__main__":
    if how == "alone":
        torch.set_num_threads(1)
        for name in names:
            runs.train(name)
    else:
        for name, path in together.train(names):
            print(name, path.name, flush=True)
"""


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A function that starts the script in a process group of its own."""
    script = tmp_path_factory.mktemp("script") / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    started = []

    def start(folder, how):
        folder.mkdir(exist_ok=True)
        process = subprocess.Popen(
            [sys.executable, script, folder, how, *NAMES],
            env=os.environ | {"VAE_PROFILE": "smoke", "VAE_DEVICE": "cpu"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if alive(process):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture(scope="module")
def once(tmp_path_factory, start):
    """The weights of the trainings one after the other, in one process with one thread."""
    folder = tmp_path_factory.mktemp("alone")
    code, _, err = output(start(folder, "alone"))
    assert code == 0, err
    return weights(folder)


def alive(process) -> list[int]:
    """What is alive of that process and those it started."""
    found = subprocess.run(
        ["ps", "-eo", "pid=,pgid=,stat="], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in found.stdout.splitlines()]
    return [int(pid) for pid, group, state in rows if int(group) == process.pid and state[0] != "Z"]


def weights(folder):
    return {
        path.stem: load_tensors(path)[1]["weights"]
        for path in (folder / "assets" / "checkpoints").glob("*.safetensors")
    }


def began(folder):
    """The first step that each training took, call by call: ``[(name, step, threads)]``."""
    lines = [line.split() for line in (folder / "began").read_text().splitlines()]
    return [(name, int(step), int(threads)) for name, step, threads in lines]


def until(condition):
    """Wait for it, and return what it returned."""
    end = time.monotonic() + PATIENCE
    while not (met := condition()):
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.05)
    return met


def output(process) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def resumes(folder, start, once):
    """A second call goes on after the first epoch and ends where an undisturbed one ends."""
    assert weights(folder) == {}
    (folder / "began").unlink()
    code, out, err = output(start(folder, "train"))
    assert code == 0, err
    assert {line.split()[0] for line in out.splitlines()} == set(NAMES)
    steps = {name: step for name, step, _ in began(folder)}
    assert all(step > 1 for step in steps.values()), steps
    assert weights(folder) == once
    assert not list((folder / "work").rglob("*.safetensors"))


def test_side_by_side_is_the_same_as_one_after_the_other(tmp_path, start, once):
    folder = tmp_path / "together"
    code, out, err = output(start(folder, "train"))
    assert code == 0, err
    assert sorted(out.splitlines()) == [f"{name} {name}.safetensors" for name in sorted(NAMES)]
    assert sorted(began(folder)) == [(name, 1, 1) for name in sorted(NAMES)]
    assert set(once) == set(NAMES)
    assert weights(folder) == once


@pytest.mark.parametrize("blow", ["Ctrl-C", "parent killed", "training killed"])
def test_trainings_end_together_and_a_second_call_resumes_them(tmp_path, start, once, blow):
    process = start(tmp_path, "kill" if blow == "training killed" else "wait")
    until(lambda: len(list(tmp_path.glob("* waits"))) == len(NAMES))
    if blow == "Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
    elif blow == "parent killed":
        os.kill(process.pid, signal.SIGKILL)
    code, _, err = output(process)
    assert code != 0
    said = {
        "Ctrl-C": "KeyboardInterrupt",
        "training killed": "vae_helpers.training.TrainingError: a training's process was killed "
        "(out of memory?); call again to resume",
    }
    if blow in said:
        assert err.strip().splitlines()[-1] == said[blow]
    if blow == "Ctrl-C":
        assert err.count("Traceback") == 1, err  # the trainings themselves say nothing
    until(lambda: not alive(process))
    resumes(tmp_path, start, once)
