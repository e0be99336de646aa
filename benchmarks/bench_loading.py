"""One epoch of batches: torchvision's DataLoader against the resident loader, in one process.

python benchmarks/bench_loading.py           prints the ratio
python benchmarks/bench_loading.py --store   and puts it into assets/results for chapter 1
"""

import argparse
import statistics
import time

import conventional
import torch
from timing import BOOK

from press.stored.numbers import store
from vae_helpers.metrics.differences import Estimate

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
    train = BOOK.images("train")
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
        how = {"unit": "times", "command": COMMAND, "settings": BOOK.settings}
        store("loading/ratio", ratio, of=train.digest, **how)


if __name__ == "__main__":
    main()
