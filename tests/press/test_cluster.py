"""Trainings that go to processes of their own; tests/slow starts real ones."""

from dataclasses import replace
from functools import partial

import pytest
from distributed import Client

from press import checkpoints, cluster
from press.book import Book
from press.checkpoints import checkpoint_path
from press.cluster import Task, each, row_on_worker, workers
from press.errors import ClusterError, ResultError
from press.experiments.grids import grid
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
    monkeypatch.setattr(cluster.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(cluster, "cluster", never)
    monkeypatch.setattr(checkpoints, "train", train)
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
        list(cluster.train(["dense2", "dense10"], book))


def test_one_run_is_trained_here_on_all_cores(alone, book):
    assert list(cluster.train(["dense2"], book)) == [("dense2", "dense2")]


def test_what_is_made_already_takes_no_process(alone, book):
    checkpoint("dense2", book)
    checkpoint("conv16", book)
    assert names(cluster.train(["dense10", "dense2", "conv16"], book)) == [
        "dense2",
        "conv16",
        "dense10",  # the only one left
    ]


@pytest.mark.parametrize(("device", "cores"), [("cuda", 2), ("cpu", 1)])
def test_a_gpu_or_a_single_core_takes_one_after_the_other(alone, book, monkeypatch, device, cores):
    monkeypatch.setattr(cluster.torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(cluster.os, "cpu_count", lambda: cores)
    book = replace(book, settings=replace(book.settings, device=device))
    assert names(cluster.train(["dense10", "dense2"], book)) == ["dense10", "dense2"]


def test_an_unknown_run_is_named_before_anything_is_trained(alone, book):
    with pytest.raises(KeyError, match="no run 'conv17'"):
        list(cluster.train(["conv17", "dense2", "dense10"], book))
    assert alone == []


# --- this machine's own workers -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("seen", "devices"),
    [(None, ["0", "1"]), ("3,1", ["3", "1"]), ("GPU-a,GPU-b", ["GPU-a", "GPU-b"])],
)
def test_each_worker_has_a_gpu_of_its_own_where_there_are_any(smoke, monkeypatch, seen, devices):
    monkeypatch.setattr(cluster.torch.cuda, "device_count", lambda: 2)
    if seen is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen)
    found = [one["options"]["env"] for one in workers(replace(smoke, device="cuda")).values()]
    assert [one["CUDA_VISIBLE_DEVICES"] for one in found] == devices
    assert [one["VAE_DEVICE"] for one in found] == ["cuda", "cuda"]
    assert len(workers(replace(smoke, device="cuda"), count=1)) == 1


@pytest.mark.parametrize("cores", [1, 2, 6])
def test_without_a_gpu_each_core_has_a_worker_of_one_thread(book, monkeypatch, cores):
    monkeypatch.setattr(cluster.os, "cpu_count", lambda: cores)
    found = [one["options"] for one in workers(book.settings).values()]
    assert len(found) == cores
    assert all("torch.set_num_threads(1)" in one["preload"] for one in found)
    assert all(one["nthreads"] == 1 for one in found)
    assert all(one["env"] == book.settings.environment() for one in found)


# --- on one worker, in this process -------------------------------------------------------------


@pytest.fixture(scope="module")
def client():
    with Client(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as one:
        yield one


begun = []  # a worker in this process has this list


def double(number, tell):
    begun.append(number)
    tell(0.5)
    return 2 * number


def fail(tell):
    raise ValueError("a reason")


def test_tasks_are_begun_longest_first_and_yield_what_they_return(client):
    begun.clear()
    tasks = [Task(f"task {n}", partial(double, n), work=n) for n in range(1, 6)]
    found = {task.name: result for task, result in each(client, tasks)}
    assert found == {f"task {n}": 2 * n for n in range(1, 6)}
    assert begun == [5, 4, 3, 2, 1]


def test_what_a_task_raises_is_raised_and_the_others_are_cancelled(client):
    tasks = [Task("bad", fail, 2.0), Task("good", partial(double, 1), 1.0)]
    with pytest.raises(ValueError, match="a reason"):
        list(each(client, tasks))


def test_a_bar_shows_the_share_of_all_work(client, capsys, monkeypatch):
    monkeypatch.setattr(cluster.sys.stderr, "isatty", lambda: True, raising=False)
    tenths = [Task(f"task {n}", partial(double, n), work=0.1) for n in range(10)]
    list(each(client, tenths))
    shown = capsys.readouterr().err
    assert "100.0 %" in shown
    assert "-00:00" not in shown  # the halves of ten tenths add up to more than one


def test_no_scheduler_is_one_error_that_names_it(book, monkeypatch):
    monkeypatch.setattr(cluster, "ANSWERS_WITHIN", "1s")
    for address in ("tcp://127.0.0.1:9", "nowhere"):
        with (
            pytest.raises(ClusterError, match=f"no Dask scheduler answers at {address}"),
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
            row_on_worker(TABLE.name, ONE, today | other, print)


def test_a_worker_tells_how_far_a_row_is_and_leaves_no_state_behind(opened, tmp_path):
    told = []
    row = row_on_worker(TABLE.name, ONE, tables.rests_on(TABLE, opened, ONE), told.append)
    assert told == sorted(told)
    assert told[-1] == 1
    assert row == tables.measured(TABLE, opened, ONE)
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
