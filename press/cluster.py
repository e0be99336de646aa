"""Work side by side, on the workers of a Dask cluster: this machine's own, or any other.

Two threads train the book's small networks 1.1 to 1.5 times as fast as one does, two trainings
side by side get 1.6 times as much done: here every core has a worker of one thread.
"""

import logging
import os
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import torch
from tqdm import tqdm

from press import checkpoints, runs
from press.errors import ClusterError, ResultError
from press.experiments import find
from press.settings import Settings
from press.stored import Table, tables
from vae_helpers.training import best_device

if TYPE_CHECKING:  # a second to import, and Colab's chapters never need it
    from distributed import Client

    from press.book import Book

TOLD_EVERY = 0.01  # of a task: how often it says how far it is
LOCAL = {"host": "127.0.0.1"}
ANSWERS_WITHIN = "10s"  # of a scheduler that is there
BAR = "{desc} |{bar}| {percentage:.1f} % [{elapsed}<{remaining}]"
# Memory that a training step frees is what the next one needs. glibc, still more so as Dask sets it
# up, gives it back to the system, and a convolutional step takes half as long again.
KEEP_MEMORY = {
    "MALLOC_TRIM_THRESHOLD_": 2**30,  # bytes
    "MALLOC_MMAP_MAX_": 0,
    "MALLOC_ARENA_MAX": 1,  # other arenas cannot hold what is large
}
# What a worker of this machine begins with. Ctrl-C reaches every process of a terminal; the first
# one answers for all. The lock of bars is a semaphore, which a stopped process would leave behind.
BEGIN = """
import signal, threading, torch, tqdm
signal.signal(signal.SIGINT, signal.SIG_IGN)
tqdm.tqdm.set_lock(threading.RLock())
torch.set_num_threads({})
"""


@dataclass(frozen=True)
class Task:
    """A piece of work for a worker.

    name: shown while it runs, and of no other task. call: called there with a function that it may
    tell its share done, up to 1; it is pickled, and so is what it returns or raises.
    work: how long it takes, in any unit that all tasks of a call share.
    """

    name: str
    call: Callable[[Callable[[float], None]], Any]
    work: float


# --- the book's work ----------------------------------------------------------------------------


def train(names: Sequence[str], book: "Book") -> Iterator[tuple[str, Path]]:
    """Train those runs, resuming unfinished ones; yield (name, checkpoint) as they end.

    Side by side on this machine's own cluster, or one after the other where it would have a single
    worker. Raises what ``checkpoints.train`` and ``each`` raise; a next call resumes each training
    from the last epoch that it has finished, as Ctrl-C leaves them, too.
    """
    settings = book.settings
    found = [runs.find_run(name, settings) for name in names]
    here = [run for run in found if checkpoints.checkpoint_path(run.name, settings).exists()]
    left = [run for run in found if run not in here]
    if len(left) < 2 or len(workers(settings)) == 1:
        here, left = here + left, []  # those that exist are as good as done, but for their checks
    yield from ((run.name, checkpoints.train(run, settings)) for run in here)
    if left:
        tasks = [
            Task(run.name, partial(checkpoints.train, run, settings), runs.work(run, settings))
            for run in left
        ]
        with cluster(settings=settings) as client:
            yield from ((task.name, path) for task, path in each(client, tasks))


def sweep(table: Table, book: "Book", client: "Client") -> Path:
    """Make what is missing of that table on the workers of a cluster; return its file.

    Only a table's name, a configuration and digests travel: workers read images and models from
    their own disks, and raise ResultError where these are not the ones that the table is made of.
    Raises what ``each`` raises; a next call goes on with the rows that are missing.
    """

    def on_workers(table: Table, book: "Book", configurations: Sequence[dict]) -> Iterator[dict]:
        tasks = [
            Task(
                " ".join([table.name, *(f"{key}={value}" for key, value in one.items())]),
                partial(row_on_worker, table.name, one, tables.rests_on(table, book, one)),
                runs.work(run, book.settings) if (run := table.trains(one, book)) else 1,
            )
            for one in configurations
        ]
        return (row for _, row in each(client, tasks))

    return tables.measure(table, book, on_workers)


def row_on_worker(name: str, configuration: dict, rests_on: dict, tell: Callable) -> dict:
    """The row of that configuration, measured by this worker's own book.

    Raises ResultError where that rests on anything else than ``rests_on`` says.
    """
    from press.book import open_book

    table, book = find(name), replace(open_book(), progress=tell)
    if tables.rests_on(table, book, configuration) != rests_on:
        raise ResultError(
            f"{name}, {configuration}: this worker has other images, models or code; give it the "
            "same checkout, VAE_PROFILE and data (VAE_DATA_DIR) as the machine that asks"
        )
    return tables.measured(table, book, configuration)


# --- any work -----------------------------------------------------------------------------------


@contextmanager
def cluster(
    scheduler: str | None = None, count: int | None = None, *, settings: Settings
) -> "Iterator[Client]":
    """A client of the cluster whose scheduler has that address, or of one of this machine's own.

    The latter has a worker for each GPU, or else one for each core, and ends with the block.
    count: only so many. Raises ClusterError where no scheduler answers.
    """
    from distributed import Client

    if scheduler is None:
        with _own(workers(settings, count)) as own, Client(own, set_as_default=False) as client:
            yield client
        return
    try:
        client = Client(scheduler, timeout=ANSWERS_WITHIN, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"no Dask scheduler answers at {scheduler} ({error}); start one with `dask scheduler`, "
            "or name none to work on this machine alone"
        ) from error
    with client:
        yield client


def _own(started: dict[int, dict]):
    import dask
    from distributed import Scheduler, SpecCluster

    # Its dashboard is this machine's alone: whoever sees it can run code.
    scheduler = {"cls": Scheduler, "options": LOCAL | {"dashboard_address": "127.0.0.1:8787"}}
    environment = "distributed.nanny.pre-spawn-environ"
    how = {environment: dask.config.get(environment) | KEEP_MEMORY}
    # Nor is every worker's call stack looked at a hundred times a second.
    with dask.config.set(how | {"distributed.worker.profile.enabled": False}):
        return SpecCluster(started, scheduler, silence_logs=logging.WARN)


def workers(settings: Settings, count: int | None = None) -> dict[int, dict]:
    """How the workers of this machine's own cluster are started, as Dask's ``SpecCluster`` has it.

    One a GPU, or else one a core; ``count`` of them where it is given. Each reads these settings.
    """
    from distributed import Nanny

    cores = os.cpu_count() or 1
    device = settings.device or best_device().type
    gpus = _gpus() if device.startswith("cuda") else []
    begin = BEGIN.format(max(1, cores // len(gpus)) if gpus else 1)
    options = LOCAL | {
        "nthreads": 1,  # a task at a time; what it computes has threads of its own
        "silence_logs": logging.WARN,
        "memory_limit": 0,  # Dask's share of a small machine is less than PyTorch takes
        "preload": begin,
    }
    seen = [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus] or [{}] * (count or cores)
    return {
        number: {"cls": Nanny, "options": options | {"env": settings.environment() | one}}
        for number, one in enumerate(seen[:count])
    }


def _gpus() -> list[str]:
    """What CUDA calls the GPUs that this process sees."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = seen.split(",") if seen else map(str, range(torch.cuda.device_count()))
    return list(names)[: torch.cuda.device_count()]


def each(client: "Client", tasks: Sequence[Task]) -> Iterator[tuple[Task, Any]]:
    """Yield (task, what it returned) as they end, under one bar; the longest are begun first.

    A task whose worker is lost is given to another one. Raises what a task raises, and ClusterError
    where four workers were lost over a task, or the cluster itself; the other tasks are cancelled.
    """
    from distributed import CancelledError, KilledWorker

    topic = f"shares-{uuid.uuid4().hex}"
    # Shares, and futures that are done. Ctrl-C may interrupt who waits here and does no harm: in
    # Dask's own ``as_completed`` it could leave a lock held that the client needs to close.
    news: SimpleQueue = SimpleQueue()
    client.subscribe_topic(topic, lambda event: news.put(tuple(event[1])))
    longest_first = sorted(tasks, key=lambda task: task.work, reverse=True)
    futures = {  # keys of one group: the scheduler then hands tasks out as workers ask for them
        client.submit(
            _call, task.call, task.name, topic, key=(topic, number), priority=task.work
        ): task
        for number, task in enumerate(longest_first)
    }
    for future in futures:
        future.add_done_callback(news.put)
    left, running = {task.name: task.work for task in tasks}, {}
    pace = 0.5 if sys.stderr.isatty() else 30  # where no one watches, a bar is a log
    with tqdm(
        total=sum(left.values()), mininterval=pace, bar_format=BAR, dynamic_ncols=True, smoothing=0
    ) as bar:
        try:
            while left:
                one = news.get()
                task = futures.get(one)
                name, share = (task.name, 1.0) if task else one
                result = one.result() if task else None
                if name not in left:  # news of a task that is older than its end
                    continue
                more = left[name] * (share - running.get(name, 0.0))
                bar.update(min(more, bar.total - bar.n))  # rounded up, it would exceed the whole
                running[name] = share
                if task:
                    del left[name], running[name]
                said = (f"{other} {part:.0%}" for other, part in running.items())
                bar.set_description(", ".join(said), refresh=False)
                if task:
                    yield task, result
        except KilledWorker as error:
            raise ClusterError(
                f"{task.name}: every worker that took it on was killed (out of memory?); call "
                "again to resume"
            ) from error
        except CancelledError as error:
            raise ClusterError(
                f"the cluster at {client.scheduler.address} was lost; call again to resume"
            ) from error
        finally:
            client.unsubscribe_topic(topic)
            client.cancel(list(futures))


def _call(call: Callable, name: str, topic: str) -> Any:
    from distributed import get_worker

    worker, last = get_worker(), 0.0

    def tell(share: float) -> None:
        nonlocal last
        if abs(share - last) >= TOLD_EVERY:
            last = share
            worker.log_event(topic, (name, share))

    return call(tell)
