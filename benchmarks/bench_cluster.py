"""Sweeps: efficiency of a second worker, and what Dask costs where there are very many tasks.

python benchmarks/bench_cluster.py [--store]

The efficiency is that of trainings on this machine. Larger clusters are simulated: ten thousand
tasks that only sleep, on workers that are threads of one process: the time beyond their sleep is
the scheduler's work and theirs, which share an interpreter.
"""

import random
import time
from collections.abc import Sequence
from functools import partial

from distributed import Client, LocalCluster
from timing import BOOK, Numbers, main, seconds, spread

from press import cluster
from press.book import open_book
from press.runs import Run, build
from vae_helpers.metrics.differences import Estimate
from vae_helpers.training import fit

REPEATS = 3
TRAININGS = 4
MODELS = (2, 4, 8)
TRAINED = Run("benchmark", body="conv", latent=16, epochs=1)
IMAGES = 3_200
TASKS = 10_000
SIMULATED = {8: 0.02, 64: 0.2}  # workers → mean seconds a task sleeps


def training(seed: int) -> float:
    """One training of the benchmark; the images are loaded once a worker."""
    images = open_book().images("train").subset(slice(IMAGES))
    model = build(TRAINED)
    history, _ = fit(model, images, epochs=1, seed=seed, progress=False)
    return history.seconds


def makespans(workers: int, counts: Sequence[int]) -> list[float]:
    """Seconds that so many trainings take on workers of one thread, once these are warm."""
    with cluster.cluster(count=workers, settings=BOOK.settings) as client:

        def train(count: int) -> None:
            calls = {f"training {i}": partial(training, i) for i in range(count)}
            assert len(list(cluster.each(client, calls))) == count

        train(2 * workers)
        return [seconds(partial(train, count)) for count in counts]


def simulated(workers: int, mean: float) -> tuple[float, float]:
    """Makespan and ideal makespan of ten thousand sleeping tasks, in seconds."""
    some = random.Random(0)
    lengths = sorted((mean * some.uniform(0.5, 1.5) for _ in range(TASKS)), reverse=True)
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=False,
            memory_limit=0,  # all of them are one process, whose memory each takes for its own
            dashboard_address=None,
        ) as simulation,
        Client(simulation) as client,
    ):
        tasks = {f"task {i}": partial(time.sleep, one) for i, one in enumerate(lengths)}
        began = time.perf_counter()
        assert len(list(cluster.each(client, tasks))) == TASKS
        return time.perf_counter() - began, max(sum(lengths) / workers, max(lengths))


def measured() -> Numbers:
    one, many = [], []
    for _ in range(REPEATS):
        one += makespans(1, [TRAININGS])
        many.append(makespans(2, MODELS))
    pairs = [(a, b[MODELS.index(TRAININGS)]) for a, b in zip(one, many, strict=True)]
    numbers: Numbers = {
        f"growth models {count}": (spread([b[i] / count for b in many]), "s a model")
        for i, count in enumerate(MODELS)
    } | {
        "cluster speedup": (spread([a / b for a, b in pairs]), "times"),
        "cluster efficiency": (spread([50 * a / b for a, b in pairs]), "%"),
    }
    for workers, mean in SIMULATED.items():
        played = [simulated(workers, mean) for _ in range(REPEATS)]
        # A task's share of the time in which not all workers slept.
        overheads = [1_000 * (taken - ideal) / TASKS for taken, ideal in played]
        makespan = spread([taken for taken, _ in played])
        numbers[f"simulated {workers} makespan"] = makespan, "seconds"
        numbers[f"simulated {workers} ideal"] = Estimate(played[0][1]), "seconds"
        numbers[f"simulated {workers} overhead"] = spread(overheads), "ms a task"
    return numbers


if __name__ == "__main__":
    command = "python benchmarks/bench_cluster.py --store"
    main(__doc__, command, BOOK.images("train").digest, measured)
