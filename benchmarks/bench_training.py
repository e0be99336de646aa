"""The standard model's epoch: the conventional loop against ``fit``, alternating in one process.

python benchmarks/bench_training.py            epoch ratio, cost per image, what bounds the step
python benchmarks/bench_training.py --quality  also: time to what the conventional recipe reaches
python benchmarks/bench_training.py --store    also: put the numbers into assets/results
"""

import argparse
import subprocess
import sys
import time

import conventional
import torch
from timing import BOOK, CHILD, Numbers, ratio, seconds, spread

from press.files import hardware
from press.runs import ONE_CYCLE, RUNS
from press.stored import over_seeds
from press.stored.numbers import store
from vae_helpers.data import ImageDataset
from vae_helpers.metrics.differences import Estimate
from vae_helpers.models import build_vae
from vae_helpers.training import best_device, best_precision, evaluate, fit

COMMAND = "python benchmarks/bench_training.py --quality --store"
SEEDS = (2, 3, 4)  # one for each round
CONVENTIONAL = RUNS["conv16"]  # the recipe that the conventional loop follows
# Found by trying, on the test images, with seeds 0 and 1, which are not timed: 13 are too few.
QUALITY = {"epochs": 15, **ONE_CYCLE}
# Multiply-adds of the conv body's forward pass, per image, by layer (output size × kernel × depth).
FORWARD_MACS = {
    "conv 1→32": 14 * 14 * 9 * 32,
    "conv 32→64": 7 * 7 * 9 * 32 * 64,
    "heads": 2 * 3136 * 16,
    "linear 16→3136": 3136 * 16,
    "transposed conv 64→32": 7 * 7 * 16 * 64 * 32,
    "transposed conv 32→1": 14 * 14 * 16 * 32,
}


def trained(images: ImageDataset, device, precision, seed=0, **options):
    """A standard model that ``fit`` trained, and the seconds that it took."""
    model = build_vae("conv", 16, seed=seed).to(device)
    options = {"epochs": 1, "seed": seed, "progress": False} | options
    history, _ = fit(model, images, precision=precision, **options)
    return model, history.seconds


def conventional_epoch(device) -> float:
    """Seconds of one epoch of the conventional loop."""
    model, batches = build_vae("conv", 16).to(device), conventional.loader()
    optimizer = torch.optim.Adam(model.parameters(), lr=CONVENTIONAL.lr)
    return seconds(lambda: conventional.epoch(model, batches, optimizer))


def matmul_rate(device) -> float:
    """Multiply-adds per second of a large float32 matrix product: this machine's ceiling."""
    a = torch.rand(2048, 2048, device=device)
    best = float("inf")
    for _ in range(8):
        began = time.perf_counter()
        (a @ a)[0, 0].item()
        best = min(best, time.perf_counter() - began)
    return 2048**3 / best


def peak_memory() -> float:
    """Gigabytes resident at the peak of the standard run's first epoch, in its own process."""
    code = (
        "import resource; from press.book import open_book; book = open_book();"
        "from vae_helpers.models import build_vae; from vae_helpers.training import fit;"
        "fit(build_vae('conv', 16), book.images('train'), epochs=1, progress=False,"
        "    watch={'test': book.images('test')});"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    out = subprocess.check_output([sys.executable, "-c", code], env=CHILD)
    return int(out) / 1024**2


def measured(quality: bool) -> Numbers:
    device = best_device()
    train, test = BOOK.images("train"), BOOK.images("test")
    has_units = best_precision(device) == torch.bfloat16
    # Where bfloat16 is slow, a tenth of an epoch shows by how much.
    some = train if has_units else train.subset(slice(6_400))
    quarter = train.subset(slice(15_000))
    precisions = {"": None} | ({"bfloat16 ": torch.bfloat16} if has_units else {})

    for precision in (None, torch.bfloat16):  # warm up
        trained(train.subset(slice(2_560)), device, precision)
    taken: dict[str, list[float]] = {}
    for seed in SEEDS:
        now = {
            "conventional": conventional_epoch(device),
            "fit": trained(train, device, None)[1],
            "bfloat16": trained(some, device, torch.bfloat16)[1] * len(train) / len(some),
            "quarter": trained(quarter, device, None)[1],
            "memory": peak_memory(),
        }
        for name, precision in precisions.items() if quality else ():
            model, now[f"{name}quality"] = trained(train, device, precision, seed, **QUALITY)
            now[f"{name}nats"] = float(evaluate(model, test)["total"].mean())
        for name, value in now.items():
            taken.setdefault(name, []).append(value)
        print(", ".join(f"{name} {value:.2f}" for name, value in now.items()))

    in_full = [len(train) / len(quarter) * one for one in taken["quarter"]]
    numbers: Numbers = {
        "ratio": (ratio(taken["conventional"], taken["fit"]), "times"),
        "epoch": (spread(taken["fit"]), "seconds"),
        "conventional_epoch": (spread(taken["conventional"]), "seconds"),
        "bfloat16": (ratio(taken["bfloat16"], taken["fit"]), "times"),
        "growth": (ratio(taken["fit"], in_full), "times"),
        "peak_memory": (spread(taken["memory"]), "GiB"),
    }
    if device.type == "cpu":
        # Backward is twice the forward pass: one product for the inputs, one for the weights.
        least = 3 * sum(FORWARD_MACS.values()) * len(train) / matmul_rate(device)
        numbers["arithmetic_share"] = spread([100 * least / one for one in taken["fit"]]), "points"
    if quality:
        trainings = BOOK.rows("seeds")
        target = over_seeds(trainings, "elbo", run=CONVENTIONAL.name)
        numbers["quality_target"] = target, "nats"
        numbers["quality_epochs"] = Estimate(QUALITY["epochs"]), "epochs"
        whole = [CONVENTIONAL.epochs * one for one in taken["conventional"]]
        for name in precisions:
            reached = spread(taken[f"{name}nats"])
            if reached.value > target.value:
                raise SystemExit(
                    f"{name}{QUALITY}: {reached:.2f} nats where the conventional recipe has "
                    f"{target:.2f}: no time to quality to report"
                )
            numbers[f"{name}quality_nats"] = reached, "nats"
            numbers[f"{name}quality_seconds"] = spread(taken[f"{name}quality"]), "seconds"
            numbers[f"{name}quality_speedup"] = ratio(whole, taken[f"{name}quality"]), "times"
    return numbers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quality", action="store_true", help="measure time to quality as well")
    parser.add_argument("--store", action="store_true", help="write assets/results")
    wanted = parser.parse_args()
    print(hardware(str(best_device())))
    for name, (number, unit) in measured(wanted.quality).items():
        print(f"{name:25} {number:.4g} {unit} (n = {number.n})")
        if wanted.store:
            how = {"unit": unit, "command": COMMAND, "settings": BOOK.settings}
            store(f"speed/{name}", number, of=BOOK.images("train").digest, **how)


if __name__ == "__main__":
    main()
