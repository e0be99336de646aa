"""Seconds to import what chapters and the command line import, against PyTorch alone.

python benchmarks/bench_import.py [--store]
"""

import subprocess
import sys

from timing import CHILD, Numbers, main, ratio, seconds, spread

REPEATS = 7
LIMIT = 1.5  # times as long as PyTorch itself
PACKAGES = {
    "training": "from vae_helpers import data, latent, losses, models, training",
    "chapter": (
        "from press.book import open_book; open_book();"
        "from vae_helpers import data, figures, latent, losses"
    ),
    "command line": "import press.__main__",
}


def start(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, env=CHILD)


def measured() -> Numbers:
    times: dict[str, list[float]] = {name: [] for name in ("torch", *PACKAGES)}
    bare = []
    for _ in range(REPEATS + 1):  # in turn; the first round fills the disk's cache
        bare.append(seconds(lambda: start("pass")))
        times["torch"].append(seconds(lambda: start("import torch")))
        for name, code in PACKAGES.items():
            times[name].append(seconds(lambda: start(code)))  # noqa: B023
    python = min(bare)
    own = {name: [one - python for one in many[1:]] for name, many in times.items()}
    numbers: Numbers = {"import torch": (spread(own["torch"]), "seconds")}
    for name in PACKAGES:
        numbers[f"import {name}"] = ratio(own[name], own["torch"]), "times"
        times_torch = numbers[f"import {name}"][0].value
        assert times_torch <= LIMIT, f"{name}: {times_torch:.2f} times PyTorch's own import"
    return numbers


if __name__ == "__main__":
    main(__doc__, "python benchmarks/bench_import.py --store", "the package", measured)
