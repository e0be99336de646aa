"""Trainings side by side, in real processes: the same results, and nothing lost when they end."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from press import cluster
from press.files import read_rows
from press.settings import ROOT, read
from vae_helpers.files import load_tensors

NAMES = ("dense2", "dense10")
LATENTS = ("2", "3")
EPOCHS = 3
HERE = os.environ | {"PYTHONPATH": str(ROOT)}  # whatever environment this is, of this checkout
PATIENCE = 120  # seconds that a step of a test may take on a busy machine

# Each process imports this file: what it changes holds in the trainings, too.
SCRIPT = f"""
import os, signal, sys, time
from dataclasses import replace
from pathlib import Path

import torch

from press import book, cluster, runs, training
from press.experiments import trained
from press.experiments.grids import grid
from press.settings import read
from press.stored import tables

folder, what, how, *names = sys.argv[1:]
folder, fit = Path(folder), training.fit
settings = read(build=folder)
book.read = lambda: settings


def shortened(run, settings):
    return replace(run, epochs={EPOCHS})


def watched(*arguments, snapshot=lambda model, number: {{}}, state=None, progress=None, **options):
    if state is None:  # a table's first steps, repeated
        return fit(*arguments, snapshot=snapshot, progress=False, **options)
    began = []

    def step(model, number):
        if not began:
            began.append(number)
            with (folder / "began").open("a") as log:
                log.write(f"{{state.stem}} {{number}} {{torch.get_num_threads()}}\\n")
        if state.exists() and how in ("kill", "wait"):  # after the first epoch
            (folder / f"{{state.stem}} waits").touch()
            while len(list(folder.glob("* waits"))) < 2:  # on two workers
                time.sleep(0.01)
            if how == "wait":
                time.sleep(600)
            if first(folder / "killed"):
                os.kill(os.getpid(), signal.SIGKILL)
        return snapshot(model, number)

    return fit(*arguments, snapshot=step, state=state, progress=progress, **options)


def first(mark):
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


training.fit = trained.fit = tables.fit = watched
runs.shortened = trained.shortened = shortened

if __name__ == "__main__":
    torch.set_num_threads(1)
    opened = book.open_book()
    if what == "train" and how == "alone":
        for name in names:
            training.train(runs.find_run(name, settings), settings)
    elif what == "train":
        for name, path in cluster.train_all(names, settings):
            print(name, path.name, flush=True)
    else:
        table = grid(folder / "grid.csv", dataset=["garments"], latent=names, seed=[0, 1])
        if how == "alone":
            tables.measure(table, opened)
        else:
            with cluster.cluster(count=2, settings=settings) as client:
                cluster.sweep(table, opened, client)
"""


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A function that starts the script in a process group of its own."""
    script = tmp_path_factory.mktemp("script") / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    started = []

    def start(folder, what, how):
        folder.mkdir(exist_ok=True)
        names = NAMES if what == "train" else LATENTS
        process = subprocess.Popen(
            [sys.executable, script, folder, what, how, *names],
            env=HERE | {"VAE_PROFILE": "smoke", "VAE_DEVICE": "cpu"},
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
    ends_well(start(folder, "train", "alone"))
    return weights(folder)


@pytest.fixture(scope="module")
def rows(tmp_path_factory, start):
    """The rows of the grid one after the other, in one process with one thread."""
    folder = tmp_path_factory.mktemp("alone")
    ends_well(start(folder, "sweep", "alone"))
    return read_rows(folder / "grid.csv")


def alive(process) -> list[int]:
    """What is alive of that process and those it started."""
    found = subprocess.run(
        ["ps", "-eo", "pid=,pgid=,stat="], capture_output=True, text=True, check=True
    )
    lines = [line.split() for line in found.stdout.splitlines()]
    return [
        int(pid) for pid, group, state in lines if int(group) == process.pid and state[0] != "Z"
    ]


def weights(folder):
    return {
        path.stem: load_tensors(path)[1]["weights"]
        for path in (folder / "smoke" / "assets" / "checkpoints").glob("*.safetensors")
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


def ends_well(process) -> str:
    code, out, err = output(process)
    assert code == 0, err
    return out


def resumes(folder, start, once):
    """A second call goes on after the first epoch and ends where an undisturbed one ends."""
    assert weights(folder) == {}
    (folder / "began").unlink()
    out = ends_well(start(folder, "train", "together"))
    assert {line.split()[0] for line in out.splitlines()} == set(NAMES)
    steps = {name: step for name, step, _ in began(folder)}
    assert all(step > 1 for step in steps.values()), steps
    assert weights(folder) == once
    assert not list((folder / "smoke" / "training").glob("*.safetensors"))


def test_side_by_side_is_the_same_as_one_after_the_other(tmp_path, start, once):
    folder = tmp_path / "together"
    out = ends_well(start(folder, "train", "together"))
    assert sorted(out.splitlines()) == [f"{name} {name}.safetensors" for name in sorted(NAMES)]
    assert sorted(began(folder)) == [(name, 1, 1) for name in sorted(NAMES)]
    assert set(once) == set(NAMES)
    assert weights(folder) == once


@pytest.mark.fault(
    "trainings side by side end by Ctrl-C, or their parent is killed",
    "no process stays behind; the next call resumes all of them, with the same weights",
)
@pytest.mark.parametrize("blow", ["Ctrl-C", "killed"])
def test_trainings_end_together_and_a_second_call_resumes_them(tmp_path, start, once, blow):
    process = start(tmp_path, "train", "wait")
    until(lambda: len(list(tmp_path.glob("* waits"))) == len(NAMES))
    if blow == "Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
    else:
        os.kill(process.pid, signal.SIGKILL)
    code, _, err = output(process)
    assert code != 0
    if blow == "Ctrl-C":
        assert err.strip().splitlines()[-1] == "KeyboardInterrupt"
        assert err.count("Traceback") == 1, err  # the trainings themselves say nothing
    until(lambda: not alive(process))
    resumes(tmp_path, start, once)


@pytest.mark.fault(
    "the process of one of several trainings is killed",
    "another one resumes it, with the same weights",
)
def test_a_training_whose_process_is_killed_goes_on_in_another(tmp_path, start, once):
    ends_well(start(tmp_path, "train", "kill"))
    assert (tmp_path / "killed").exists()
    begun = began(tmp_path)
    assert len(begun) == len(NAMES) + 1
    assert begun[-1][1] > 1  # after the epoch that was finished
    assert weights(tmp_path) == once


def test_a_sweep_is_the_same_on_workers_as_here_and_nothing_is_trained_twice(tmp_path, start, rows):
    ends_well(start(tmp_path, "sweep", "together"))
    assert len(began(tmp_path)) == len(rows) == 4
    assert same(tmp_path, rows)
    ends_well(start(tmp_path, "sweep", "together"))
    assert len(began(tmp_path)) == 4


@pytest.mark.fault(
    "a worker is killed in the middle of a row of a sweep",
    "another one makes the row; none is lost or counted twice",
)
def test_a_row_whose_worker_is_killed_is_made_by_another_and_counted_once(tmp_path, start, rows):
    ends_well(start(tmp_path, "sweep", "kill"))
    assert (tmp_path / "killed").exists()
    assert len(began(tmp_path)) == 5
    assert same(tmp_path, rows)


@pytest.mark.fault(
    "a sweep is killed between rows",
    "the next call makes what is missing, and nothing else",
)
def test_rows_that_were_done_when_the_sweep_was_killed_are_not_made_again(tmp_path, start, rows):
    process = start(tmp_path, "sweep", "together")
    until(lambda: read_rows(tmp_path / "grid.csv") or process.poll() is not None)
    os.kill(process.pid, signal.SIGKILL)
    output(process)
    until(lambda: not alive(process))
    done = read_rows(tmp_path / "grid.csv")
    assert done
    (tmp_path / "began").unlink()
    ends_well(start(tmp_path, "sweep", "together"))
    again = began(tmp_path) if (tmp_path / "began").exists() else []
    assert len(again) == 4 - len(done)
    assert same(tmp_path, rows)


def same(folder, rows) -> bool:
    return read_rows(folder / "grid.csv") == rows


# --- a cluster that is not ours -----------------------------------------------------------------


@pytest.fixture
def scheduler(tmp_path):
    """The address of a Dask scheduler, and a function that starts a worker of it."""
    file, started = tmp_path / "scheduler.json", []

    def dask(*arguments, **environment):
        command = [sys.executable, "-m", "dask", *arguments, "--scheduler-file", file]
        with (tmp_path / "log").open("a") as log:
            started.append(
                subprocess.Popen(
                    [*command, "--no-dashboard"],
                    env=HERE | environment,
                    stdout=log,
                    stderr=log,
                    cwd=tmp_path,
                    start_new_session=True,
                )
            )

    dask("scheduler", "--host", "127.0.0.1", "--port", "0")
    until(lambda: file.exists() and file.stat().st_size)
    yield (
        json.loads(file.read_text())["address"],
        lambda **environment: dask("worker", "--nthreads", "1", **environment),
    )
    for process in started:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def sweep(tmp_path, address):
    """The command line's own call, of a grid of two rows."""
    return subprocess.run(
        [sys.executable, "-m", "press", "sweep", "dataset=garments", "latent=2,3"]
        + ["epochs=1", "--scheduler", address, "--out", tmp_path / "rows.csv"],
        env=HERE | {"VAE_PROFILE": "smoke"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def test_any_cluster_with_the_same_images_makes_the_rows(tmp_path, scheduler):
    address, worker = scheduler
    worker(VAE_PROFILE="smoke")
    done = sweep(tmp_path, address)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("dashboard: http://127.0.0.1:")
    assert [row["latent"] for row in read_rows(tmp_path / "rows.csv")] == [2, 3]


@pytest.mark.fault(
    "a worker of a cluster has other images, models or code",
    "its rows are refused; nothing is stored",
)
def test_a_worker_with_other_images_is_refused(tmp_path, scheduler):
    address, worker = scheduler
    worker(VAE_PROFILE="full")
    done = sweep(tmp_path, address)
    assert done.returncode == 1
    assert "this worker has other images, models or code" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "rows.csv").exists()


def test_a_worker_with_another_kl_is_refused(tmp_path, scheduler, another_checkout):
    address, worker = scheduler
    worker(VAE_PROFILE="smoke", PYTHONPATH=str(another_checkout))
    done = sweep(tmp_path, address)
    assert done.returncode == 1
    assert "this worker has other images, models or code" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "rows.csv").exists()


@pytest.mark.fault(
    "a script of one's own starts a cluster, as CONTRIBUTING shows it",
    "it runs as it is",
)
def test_the_script_in_contributing_works_as_it_is(tmp_path):
    documented = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```python\n([^`]*import cluster, sweep.*?)```", documented, re.DOTALL)
    script = script.replace("(2, 10), seed=range(5)", "(2,), dataset=['garments'], epochs=(1,)")
    assert "garments" in script
    (tmp_path / "script.py").write_text(script, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=HERE | {"VAE_PROFILE": "smoke"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "sweep.csv\n"
    assert "Traceback" not in done.stderr
    assert len(read_rows(tmp_path / "sweep.csv")) == 1


@pytest.mark.fault(
    "no scheduler answers",
    "one error that names it",
)
def test_a_scheduler_that_does_not_answer_is_named(tmp_path):
    done = sweep(tmp_path, "tcp://127.0.0.1:9")
    assert done.returncode == 1
    assert done.stderr.startswith("no Dask scheduler answers at tcp://127.0.0.1:9")
    assert "Traceback" not in done.stderr


def test_memory_that_a_step_frees_is_there_for_the_next_one():
    def page_faults() -> int:
        import resource

        import torch

        def faults() -> int:
            before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
            torch.ones(2**24)  # 64 MiB, freed at once
            return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before

        return [faults() for _ in range(50)][-1]  # the first ones find gaps too small for them

    with cluster.cluster(count=1, settings=read()) as client:
        assert client.submit(page_faults).result(PATIENCE) < 100  # and not one for each page
