"""Fashion-MNIST from its files into memory: the book's reader against torchvision's dataset.

python benchmarks/bench_files.py [--store]

The book's reader unpacks the published files and checks them against their checksums each time;
torchvision's reads files that have been unpacked before.
"""

from timing import Numbers, in_turn, main, ratio, spread

from vae_helpers import data

REPEATS = 5


def measured() -> Numbers:
    def ours() -> None:
        data._read.cache_clear()  # it reads each file once
        data.fashion_mnist("train")

    theirs, mine = in_turn(lambda: data.torchvision_dataset("train"), ours, REPEATS)
    return {
        "load": (spread(mine), "seconds"),
        "load torchvision": (spread(theirs), "seconds"),
        "load ratio": (ratio(theirs, mine), "times"),
    }


if __name__ == "__main__":
    command = "python benchmarks/bench_files.py --store"
    main(__doc__, command, data.load("train").digest, measured)
