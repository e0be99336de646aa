"""One epoch of batches: torchvision's DataLoader against the resident loader, in one process.

python benchmarks/bench_loading.py           prints the ratio
python benchmarks/bench_loading.py --store   and puts it into assets/results for chapter 1
"""

import argparse
import statistics
import time

import conventional
import torch

from vae_helpers import data
from vae_helpers.results import Estimate, store

REPEATS = 3
COMMAND = "python benchmarks/bench_loading.py --store"


def seconds(batches) -> float:
    began = time.perf_counter()
    count = sum(len(images) for images, _ in batches)
    assert count == 60_000
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", action="store_true", help="write assets/results")
    wanted = parser.parse_args()
    train = data.fashion_mnist("train")
    usual, ratios = conventional.loader(), []
    seconds(usual)  # the first epoch also unpacks files and starts workers from cold
    for _ in range(REPEATS):
        slow = seconds(usual)
        fast = seconds(train.batches(conventional.BATCH, torch.randperm(len(train))))
        ratios.append(slow / fast)
        print(f"DataLoader {slow:6.2f} s   resident {fast:6.3f} s   ratio {slow / fast:5.1f}")
    ratio = Estimate(statistics.mean(ratios), statistics.stdev(ratios), REPEATS)
    print(f"ratio {ratio:.1f} (mean ± sd of {REPEATS})")
    if wanted.store:
        store("loading/ratio", ratio, unit="times", of=train.digest, command=COMMAND)


if __name__ == "__main__":
    main()
