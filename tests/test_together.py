"""Which trainings go to processes of their own; checks/test_side_by_side.py starts real ones."""

from functools import partial

import pytest
from distributed import Client

from vae_helpers import runs, together
from vae_helpers.together import ClusterError, Task


@pytest.fixture
def alone(smoke, monkeypatch):
    """The names trained in this process, on a machine of two cores; another process is an error."""

    def never(*arguments, **options):
        raise AssertionError("a cluster")

    monkeypatch.setenv("VAE_DEVICE", "cpu")
    monkeypatch.setattr(together.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(together, "cluster", never)
    trained = []
    monkeypatch.setattr(runs, "train", lambda name: trained.append(name) or name)
    return trained


def checkpoint(name):
    path = runs.checkpoint_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_several_runs_go_to_a_cluster(alone):
    with pytest.raises(AssertionError, match="a cluster"):
        list(together.train(["dense2", "dense10"]))


def test_one_run_is_trained_here_on_all_cores(alone):
    assert list(together.train(["dense2"])) == [("dense2", "dense2")]


def test_what_is_made_already_takes_no_process(alone):
    checkpoint("dense2")
    checkpoint("conv16")
    assert [name for name, _ in together.train(["dense10", "dense2", "conv16"])] == [
        "dense2",
        "conv16",
        "dense10",  # the only one left
    ]


@pytest.mark.parametrize(("device", "cores"), [("cuda", 2), ("cpu", 1)])
def test_a_gpu_or_a_single_core_takes_one_after_the_other(alone, monkeypatch, device, cores):
    monkeypatch.setenv("VAE_DEVICE", device)
    monkeypatch.setattr(together.torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(together.os, "cpu_count", lambda: cores)
    assert [name for name, _ in together.train(["dense10", "dense2"])] == ["dense10", "dense2"]


def test_an_unknown_run_is_named_before_anything_is_trained(alone):
    with pytest.raises(KeyError, match="no run 'conv17'"):
        list(together.train(["conv17", "dense2", "dense10"]))
    assert alone == []


@pytest.mark.parametrize(
    ("seen", "devices"),
    [(None, ["0", "1"]), ("3,1", ["3", "1"]), ("GPU-a,GPU-b", ["GPU-a", "GPU-b"])],
)
def test_each_worker_has_a_gpu_of_its_own_where_there_are_any(monkeypatch, seen, devices):
    monkeypatch.setenv("VAE_DEVICE", "cuda")
    monkeypatch.setattr(together.torch.cuda, "device_count", lambda: 2)
    if seen is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen)
    workers = [one["options"] for one in together.workers().values()]
    assert [one["env"]["CUDA_VISIBLE_DEVICES"] for one in workers] == devices


@pytest.mark.parametrize("cores", [1, 2, 6])
def test_without_a_gpu_each_core_has_a_worker_of_one_thread(monkeypatch, cores):
    monkeypatch.setenv("VAE_DEVICE", "cpu")
    monkeypatch.setattr(together.os, "cpu_count", lambda: cores)
    workers = [one["options"] for one in together.workers().values()]
    assert len(workers) == cores
    assert all("torch.set_num_threads(1)" in one["preload"] for one in workers)
    assert all(one["nthreads"] == 1 and one["env"] == {} for one in workers)


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
    found = {task.name: result for task, result in together.each(client, tasks)}
    assert found == {f"task {n}": 2 * n for n in range(1, 6)}
    assert begun == [5, 4, 3, 2, 1]


def test_what_a_task_raises_is_raised_and_the_others_are_cancelled(client):
    tasks = [Task("bad", fail, 2.0), Task("good", partial(double, 1), 1.0)]
    with pytest.raises(ValueError, match="a reason"):
        list(together.each(client, tasks))


def test_a_bar_shows_the_share_of_all_work(client, capsys, monkeypatch):
    monkeypatch.setattr(together.sys.stderr, "isatty", lambda: True, raising=False)
    tenths = [Task(f"task {n}", partial(double, n), work=0.1) for n in range(10)]
    list(together.each(client, tenths))
    shown = capsys.readouterr().err
    assert "100.0 %" in shown
    assert "-00:00" not in shown  # the halves of ten tenths add up to more than one


def test_no_scheduler_is_one_error_that_names_it(monkeypatch):
    monkeypatch.setattr(together, "ANSWERS_WITHIN", "1s")
    for address in ("tcp://127.0.0.1:9", "nowhere"):
        with (
            pytest.raises(ClusterError, match=f"no Dask scheduler answers at {address}"),
            together.cluster(address),
        ):
            pass
