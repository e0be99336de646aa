"""Several trainings at once, one on each core, under one bar.

Two threads train the book's small networks 1.1 to 1.5 times as fast as one does, two trainings
side by side get twice as much done.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import torch
from tqdm import tqdm

from vae_helpers import runs
from vae_helpers.settings import settings
from vae_helpers.training import TrainingError, best_device

TOLD_EVERY = 0.01  # of a run: how often a training says how far it is


def train(names: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Train those runs, resuming unfinished ones; yield (name, checkpoint) as they end.

    On a GPU, or for a single run, one after the other; else as many at a time as there are cores,
    the longest first, with a thread each. Raises what ``runs.train`` raises, and TrainingError
    when a training's process is killed. The others are stopped then, as they are by Ctrl-C, and a
    next call resumes them all from the last epoch that each has finished.
    """
    made = [name for name in names if runs.checkpoint_path(name).exists()]
    yield from ((name, runs.train(name)) for name in made)  # as good as done, but for its checks
    names = [name for name in names if name not in made]
    cores = os.cpu_count() or 1
    device = settings().device or best_device().type
    if len(names) < 2 or cores == 1 or device != "cpu":
        yield from ((name, runs.train(name)) for name in names)
        return
    work = {name: runs.work(runs.find_run(name)) for name in names}
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")  # a fork would copy PyTorch's thread pools
    told = context.SimpleQueue()
    done = dict.fromkeys(names, 0.0)
    pace = 0.5 if sys.stderr.isatty() else 30  # where no one watches, a bar is a log
    with (
        tqdm(total=100, unit="%", mininterval=pace, bar_format=BAR, dynamic_ncols=True) as bar,
        ProcessPoolExecutor(
            min(cores, len(names)), context, initializer=_start, initargs=(told,)
        ) as pool,
    ):
        longest_first = sorted(names, key=work.get, reverse=True)
        pending = {pool.submit(_train, name): name for name in longest_first}
        try:
            while pending:
                ended, _ = wait(pending, timeout=pace, return_when=FIRST_COMPLETED)
                while not told.empty():
                    name, share = told.get()
                    done[name] = share
                for future in ended:
                    name = pending.pop(future)
                    done[name] = 1.0
                    yield name, future.result()
                running = [f"{name} {done[name]:.0%}" for name in names if 0 < done[name] < 1]
                bar.set_description(", ".join(running), refresh=False)
                bar.n = 100 * sum(work[name] * done[name] for name in names) / sum(work.values())
                bar.refresh()
        except BrokenProcessPool as error:
            raise TrainingError(
                "a training's process was killed (out of memory?); call again to resume"
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()


BAR = "{desc} |{bar}| {n:.1f} % [{elapsed}<{remaining}]"
_tell: Callable[[tuple[str, float]], None]


def _start(told) -> None:
    global _tell
    _tell = told.put
    torch.set_num_threads(1)
    tqdm.set_lock(threading.RLock())  # its own is a semaphore that a stopped process leaves behind
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the first process answers
    threading.Thread(target=_end_with_the_first, daemon=True).start()


def _end_with_the_first() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)  # else a killed ``make retrain`` would go on unseen, and the next one wait for it


def _train(name: str) -> Path:
    last = 0.0

    def tell(share: float) -> None:
        nonlocal last
        if share - last >= TOLD_EVERY:
            last = share
            _tell((name, share))

    return runs.train(name, tell)
