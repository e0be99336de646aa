"""Fashion-MNIST from its files into memory: the book's reader against torchvision's dataset.

python benchmarks/bench_files.py [--store]

The book's reader unpacks the published files and checks them against their checksums each time;
torchvision's reads files that have been unpacked before.
"""

from conventional import torchvision_dataset
from timing import BOOK, Numbers, in_turn, main, ratio, spread

from vae_helpers.data import fashion_mnist, find

REPEATS = 5


def measured() -> Numbers:
    folder = find("FashionMNIST", BOOK.settings.places).parents[1]

    def theirs_of() -> None:
        torchvision_dataset("train", BOOK.settings)

    theirs, mine = in_turn(theirs_of, lambda: fashion_mnist("train", folder), REPEATS)
    return {
        "load": (spread(mine), "seconds"),
        "load torchvision": (spread(theirs), "seconds"),
        "load ratio": (ratio(theirs, mine), "times"),
    }


if __name__ == "__main__":
    command = "python benchmarks/bench_files.py --store"
    main(__doc__, command, BOOK.images("train").digest, measured)
