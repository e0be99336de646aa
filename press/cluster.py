"""Work side by side, on the workers of a Dask cluster: this machine's own, or any other.

Two threads train the book's small networks 1.1 to 1.5 times as fast as one does, two trainings
side by side get 1.6 times as much done: here every core has a worker of one thread.
"""

import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import dask
from dask.system import cpu_count
from distributed import CancelledError, Client, KilledWorker
from tqdm import tqdm

from press import runs, training
from press.checkpoints import checkpoint_path
from press.errors import BookError, ResultError
from press.experiments import find_table
from press.settings import Settings
from press.stored import Table, tables

ANSWERS_WITHIN = "10s"  # of a scheduler that is there
OWN = {  # how Dask is to start the cluster of this machine
    "threads_per_worker": 1,
    "memory_limit": 0,  # Dask's share of a small machine is less than PyTorch takes
    "dashboard_address": "127.0.0.1:8787",  # nobody else's: whoever sees it can run code
    # Ctrl-C reaches every process of a terminal; the first one answers for all. The lock of bars
    # is a semaphore, which a stopped process would leave behind.
    "preload": "import signal, threading, tqdm\n"
    "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    "tqdm.tqdm.set_lock(threading.RLock())\n",
}
# Memory that a training step frees is what the next one needs. glibc, still more so as Dask sets it
# up, gives it back to the system, and a convolutional step takes half as long again.
SPAWNED = "distributed.nanny.pre-spawn-environ"
CONFIGURED = {
    f"{SPAWNED}.MALLOC_TRIM_THRESHOLD_": 2**30,  # bytes
    f"{SPAWNED}.MALLOC_MMAP_MAX_": 0,
    f"{SPAWNED}.MALLOC_ARENA_MAX": 1,  # other arenas cannot hold what is large
    "distributed.worker.profile.enabled": False,  # call stacks, a hundred times a second
}


def train_all(names: Sequence[str], settings: Settings) -> Iterator[tuple[str, Path]]:
    """Train those runs, resuming unfinished ones; yield (name, checkpoint) as they end.

    Side by side on this machine's own cluster, or one after the other where it would have a single
    worker. Raises what ``training.train`` and ``each`` raise; a next call resumes each training
    from the last epoch that it has finished, as Ctrl-C leaves them, too.
    """
    found = [runs.find_run(name, settings) for name in names]
    left = [run for run in found if not checkpoint_path(run.name, settings).exists()]
    if min(len(left), worker_count(settings)) < 2:
        left = []
    yield from ((run.name, training.train(run, settings)) for run in found if run not in left)
    if left:
        # The longest first, so that none goes on alone for long.
        left.sort(key=lambda run: runs.operations(run, settings), reverse=True)
        calls = {run.name: partial(training.train, run, settings, progress=False) for run in left}
        with cluster(settings=settings) as client:
            yield from each(client, calls)


def sweep(table: Table, book, client: Client) -> Path:
    """Make what is missing of that table on the workers of a cluster; return its file.

    Only a table's name, a configuration and digests travel: workers read images and models from
    their own disks, and raise ResultError where these are not the ones that the table is made of.
    Raises what ``each`` raises; a next call goes on with the rows that are missing.
    """

    def on_workers(configurations: Sequence[dict]) -> Iterator[dict]:
        calls = {}
        for one in configurations:
            name = " ".join([table.name, *(f"{key}={value}" for key, value in one.items())])
            rests_on = tables.rests_on(table, book, one)
            calls[name] = partial(row_on_worker, table.name, one, rests_on)
        return (row for _, row in each(client, calls))

    return tables.measure(table, book, on_workers)


def row_on_worker(name: str, configuration: dict, rests_on: dict) -> dict:
    """The row of that configuration, measured by this worker's own book.

    Raises ResultError where that rests on anything else than ``rests_on`` says.
    """
    from press.book import open_book

    table, book = find_table(name), open_book()
    if tables.rests_on(table, book, configuration) != rests_on:
        raise ResultError(
            f"{name}, {configuration}: this worker has other images, models or code; give it the "
            "same checkout, VAE_PROFILE and data (VAE_DATA_DIR) as the machine that asks"
        )
    return tables.measure_row(table, book, configuration)


def worker_count(settings: Settings) -> int:
    """How many workers this machine's own cluster has: one a core, or one that has the GPU."""
    device = settings.device or settings.torch_device.type
    return cpu_count() if device == "cpu" else 1


def cluster(
    scheduler: str | None = None, count: int | None = None, *, settings: Settings
) -> Client:
    """A client of the cluster whose scheduler has that address, or of one of this machine's own.

    The latter has ``worker_count`` workers, or ``count``, with these settings, and ends with the
    client's block. Raises BookError where no scheduler answers.
    """
    try:
        if scheduler:
            return Client(scheduler, timeout=ANSWERS_WITHIN, set_as_default=False)
        workers = {"n_workers": count or worker_count(settings), "env": settings.environment()}
        with dask.config.set(CONFIGURED):
            return Client(**OWN, **workers, set_as_default=False)
    except (OSError, ValueError) as error:
        raise BookError(
            f"no Dask scheduler answers at {scheduler} ({error}); start one with `dask scheduler`, "
            "or name none to work on this machine alone"
        ) from error


def each(client: Client, calls: Mapping[str, Callable[[], Any]]) -> Iterator[tuple[str, Any]]:
    """Yield (name, what its call returned) as they end, under one bar.

    A call, like what it returns or raises, is pickled. One whose worker is lost is given to another
    worker. Raises what a call raises, and BookError where four workers were lost over one, or the
    cluster itself; the others are cancelled.
    """
    # Ctrl-C may interrupt who waits here and does no harm: in Dask's own ``as_completed`` it could
    # leave a lock held that the client needs to close.
    ended, futures, group = SimpleQueue(), [], f"calls-{uuid.uuid4().hex}"
    for number, (name, call) in enumerate(calls.items()):
        # Keys of one group: the scheduler then hands calls out as workers ask for them.
        futures.append(client.submit(call, key=(group, number)))
        futures[-1].add_done_callback(lambda one, name=name: ended.put((name, one)))
    pace = 0.5 if sys.stderr.isatty() else 30  # where no one watches, a bar is a log
    try:
        for _ in tqdm(calls, mininterval=pace, dynamic_ncols=True, smoothing=0):
            name, future = ended.get()
            yield name, future.result()
    except (CancelledError, KilledWorker) as error:
        raise BookError(
            f"{name}: every worker that took it on was killed (out of memory?), or the whole "
            f"cluster was lost; call again to resume ({error})"
        ) from error
    finally:
        client.cancel(futures)
