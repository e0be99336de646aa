"""Trainings that go to processes of their own; tests/slow starts real ones."""

import os
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pytest
from distributed import Client

from press import cluster, training
from press.book import Book
from press.checkpoints import checkpoint_path
from press.cluster import each, row_on_worker, worker_count
from press.errors import BookError, ResultError
from press.experiments.grids import grid
from press.settings import ROOT
from press.stored import tables


class NoCluster(Exception):
    """A cluster was asked for."""


@pytest.fixture
def alone(smoke, monkeypatch):
    """The names trained in this process, on a machine of two cores; a cluster is an error."""

    def never(*arguments, **options):
        raise NoCluster

    def train(run, settings, progress=True):
        trained.append(run.name)
        return run.name

    trained = []
    monkeypatch.setattr(cluster, "cpu_count", lambda: 2)
    monkeypatch.setattr(cluster, "cluster", never)
    monkeypatch.setattr(training, "train", train)
    return trained


@pytest.fixture
def book(smoke):
    return Book(replace(smoke, device="cpu"))


def checkpoint(name, book):
    path = checkpoint_path(name, book.settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def names(trained):
    return [name for name, _ in trained]


def test_several_runs_go_to_a_cluster(alone, book):
    with pytest.raises(NoCluster):
        list(cluster.train_all(["dense2", "dense10"], book.settings))


def test_one_run_is_trained_here_on_all_cores(alone, book):
    assert list(cluster.train_all(["dense2"], book.settings)) == [("dense2", "dense2")]


def test_what_is_made_already_takes_no_process(alone, book):
    checkpoint("dense2", book)
    checkpoint("conv16", book)
    three = ["dense10", "dense2", "conv16"]  # the first is the only one left
    assert names(cluster.train_all(three, book.settings)) == three


@pytest.mark.parametrize(("device", "cores"), [("cuda", 2), ("cpu", 1)])
def test_a_gpu_or_a_single_core_takes_one_after_the_other(alone, book, monkeypatch, device, cores):
    monkeypatch.setattr(cluster, "cpu_count", lambda: cores)
    book = replace(book, settings=replace(book.settings, device=device))
    assert names(cluster.train_all(["dense10", "dense2"], book.settings)) == ["dense10", "dense2"]


def test_an_unknown_run_is_named_before_anything_is_trained(alone, book):
    with pytest.raises(KeyError, match="no run 'conv17'"):
        list(cluster.train_all(["conv17", "dense2", "dense10"], book.settings))
    assert alone == []


# --- this machine's own workers -----------------------------------------------------------------


@pytest.mark.parametrize("cores", [1, 2, 6])
def test_without_a_gpu_each_core_has_a_worker(book, monkeypatch, cores):
    monkeypatch.setattr(cluster, "cpu_count", lambda: cores)
    assert worker_count(book.settings) == cores
    assert worker_count(replace(book.settings, device="cuda")) == 1


@pytest.mark.fault(
    "only some of the machine's cores are allowed: by affinity, or by a container's quota",
    "workers, kernels and threads are counted by these",
)
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs affinities")
def test_cores_that_are_not_allowed_are_not_counted():
    code = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
    code += "from press.cluster import worker_count; from press.settings import read\n"
    code += "from press.site import chapters\nprint(worker_count(read()), chapters.cpu_count())"
    said = subprocess.check_output(
        [sys.executable, "-c", code], cwd=ROOT, text=True, env=os.environ | {"VAE_DEVICE": "cpu"}
    )
    assert said == "1 1\n"
    for folder in ("press", "vae_helpers", "chapters", "benchmarks", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            assert "os." + "cpu_count" not in path.read_text(encoding="utf-8"), path


# --- on one worker, in this process -------------------------------------------------------------


@pytest.fixture(scope="module")
def client():
    with Client(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as one:
        yield one


begun = []  # a worker in this process has this list


def double(number):
    begun.append(number)
    return 2 * number


def fail():
    raise ValueError("a reason")


def test_calls_are_begun_in_their_order_and_yield_what_they_return(client, capsys):
    begun.clear()
    found = dict(each(client, {f"call {n}": partial(double, n) for n in range(1, 6)}))
    assert found == {f"call {n}": 2 * n for n in range(1, 6)}
    assert begun == [1, 2, 3, 4, 5]
    assert "5/5" in capsys.readouterr().err  # of the bar


def test_what_a_call_raises_is_raised_and_the_others_are_cancelled(client):
    with pytest.raises(ValueError, match="a reason"):
        list(each(client, {"bad": fail, "good": partial(double, 1)}))


def test_no_scheduler_is_one_error_that_names_it(book, monkeypatch):
    monkeypatch.setattr(cluster, "ANSWERS_WITHIN", "1s")
    for address in ("tcp://127.0.0.1:9", "nowhere"):
        with (
            pytest.raises(BookError, match=f"no Dask scheduler answers at {address}"),
            cluster.cluster(address, settings=book.settings),
        ):
            pass


# --- rows ---------------------------------------------------------------------------------------


@pytest.fixture
def opened(book, monkeypatch):
    """The book that a worker in this process opens."""
    monkeypatch.setattr("press.book.open_book", lambda: book)
    return book


TABLE = grid(latent=(2,), dataset=["garments"])
(ONE,) = TABLE.configurations(None)


def test_a_row_of_other_images_models_or_code_is_refused_by_the_worker(opened):
    today = tables.rests_on(TABLE, opened, ONE)
    for other in ({"of": "another digest"}, {"code": "another digest"}):
        with pytest.raises(ResultError, match="this worker has other images, models or code"):
            row_on_worker(TABLE.name, ONE, today | other)


def test_a_worker_leaves_no_state_behind(opened, tmp_path):
    row = row_on_worker(TABLE.name, ONE, tables.rests_on(TABLE, opened, ONE))
    assert row == tables.measure_row(TABLE, opened, ONE)
    assert not list((tmp_path / "smoke" / "sweeps").rglob("*.safetensors"))


def test_a_sweep_makes_what_is_missing_on_the_workers(opened, client, tmp_path):
    table = grid(tmp_path / "rows.csv", latent=(2, 3), dataset=["garments"])
    path = cluster.sweep(grid(table.file, latent=(2,), dataset=["garments"]), opened, client)
    before = path.read_text().splitlines()
    assert cluster.sweep(table, opened, client) == path
    after = path.read_text().splitlines()
    assert len(before) == 2
    assert after[:2] == before
    assert len(after) == 3
