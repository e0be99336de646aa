"""Which trainings go to processes of their own; checks/test_side_by_side.py starts real ones."""

import pytest

from vae_helpers import runs, together


@pytest.fixture
def alone(smoke, monkeypatch):
    """The names trained in this process, on a machine of two cores; another process is an error."""

    def never(*arguments, **options):
        raise AssertionError("a pool of processes")

    monkeypatch.setenv("VAE_DEVICE", "cpu")
    monkeypatch.setattr(together.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(together, "ProcessPoolExecutor", never)
    trained = []
    monkeypatch.setattr(runs, "train", lambda name: trained.append(name) or name)
    return trained


def checkpoint(name):
    path = runs.checkpoint_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_several_runs_go_to_a_pool(alone):
    with pytest.raises(AssertionError, match="a pool of processes"):
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
    monkeypatch.setattr(together.os, "cpu_count", lambda: cores)
    assert [name for name, _ in together.train(["dense10", "dense2"])] == ["dense10", "dense2"]


def test_an_unknown_run_is_named_before_anything_is_trained(alone):
    with pytest.raises(KeyError, match="no run 'conv17'"):
        list(together.train(["conv17", "dense2", "dense10"]))
    assert alone == []
