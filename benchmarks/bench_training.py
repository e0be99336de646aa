"""The standard model's epoch: the conventional loop against ``fit``, alternating in one process.

python benchmarks/bench_training.py            epoch ratio, cost per image, what bounds the step
python benchmarks/bench_training.py --quality  also: time to the standard run's quality
python benchmarks/bench_training.py --store    also: put the numbers into assets/results
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time

import conventional
import torch

from vae_helpers import data
from vae_helpers.models import build_vae
from vae_helpers.results import Estimate, store
from vae_helpers.storage import hardware
from vae_helpers.training import best_device, best_precision, evaluate, fit

COMMAND = "python benchmarks/bench_training.py --quality --store"
REPEATS = 3
CONVENTIONAL_EPOCHS = 25
TARGET = 242.3  # nats per image, what the conventional loop reaches in its 25 epochs
# The peak was found by looking at this very loss: fair for a stopwatch, not for a result.
QUALITY = {"epochs": 6, "schedule": "one-cycle", "lr": 8e-3}
# Multiply-adds of the conv body's forward pass, per image, by layer (output size × kernel × depth).
FORWARD_MACS = {
    "conv 1→32": 14 * 14 * 9 * 32,
    "conv 32→64": 7 * 7 * 9 * 32 * 64,
    "heads": 2 * 3136 * 16,
    "linear 16→3136": 3136 * 16,
    "transposed conv 64→32": 7 * 7 * 16 * 64 * 32,
    "transposed conv 32→1": 14 * 14 * 16 * 32,
}


def fit_epoch(images: data.ImageDataset, device, precision) -> tuple[float, float]:
    """Seconds and training loss of one epoch of ``fit``."""
    model = build_vae("conv", 16).to(device)
    history, _ = fit(model, images, epochs=1, precision=precision, progress=False)
    return history.seconds, history.curve("train")[0]


def conventional_epoch(device) -> tuple[float, float]:
    """Seconds and training loss of one epoch of the conventional loop."""
    model, batches = build_vae("conv", 16).to(device), conventional.loader()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    began = time.perf_counter()
    loss = conventional.epoch(model, batches, optimizer)
    return time.perf_counter() - began, loss


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
        "import resource; from vae_helpers import data; from vae_helpers.models import build_vae;"
        "from vae_helpers.training import fit;"
        "fit(build_vae('conv', 16), data.fashion_mnist('train'), epochs=1, progress=False,"
        "    watch={'test': data.fashion_mnist('test')});"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(out.stdout) / 1024**2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quality", action="store_true", help="measure time to quality as well")
    parser.add_argument("--store", action="store_true", help="write assets/results")
    wanted = parser.parse_args()
    device = best_device()
    precision = best_precision(device)
    train, test = data.fashion_mnist("train"), data.fashion_mnist("test")
    print(f"{hardware(str(device))}, fit in {precision or torch.float32}")
    numbers: dict[str, tuple[Estimate, str]] = {}

    fit_epoch(train.subset(slice(2560)), device, precision)  # warm up
    slow, fast = [], []
    for _ in range(REPEATS):
        slow.append(conventional_epoch(device))
        fast.append(fit_epoch(train, device, precision))
        print(
            f"conventional {slow[-1][0]:6.2f} s, {slow[-1][1]:.2f} nats   "
            f"fit {fast[-1][0]:6.2f} s, {fast[-1][1]:.2f} nats   "
            f"ratio {slow[-1][0] / fast[-1][0]:.2f}"
        )
    ratios = [a[0] / b[0] for a, b in zip(slow, fast, strict=True)]
    ratio = Estimate(statistics.mean(ratios), statistics.stdev(ratios), REPEATS)
    epoch = Estimate(statistics.median(b[0] for b in fast), None, REPEATS)
    usual = Estimate(statistics.median(a[0] for a in slow), None, REPEATS)
    numbers["ratio"] = ratio, "times"
    numbers["epoch"] = epoch, "seconds"
    numbers["conventional_epoch"] = usual, "seconds"
    print(f"ratio {ratio:.2f} (mean ± sd of {REPEATS})")

    if device.type == "cpu" and precision is None:
        # Backward is twice the forward pass: one product for the inputs, one for the weights.
        share = 3 * sum(FORWARD_MACS.values()) * len(train) / matmul_rate(device) / epoch.value
        numbers["arithmetic_share"] = Estimate(100 * share), "points"
        some = train.subset(slice(6_400))
        bf16 = fit_epoch(some, device, torch.bfloat16)[0] / fit_epoch(some, device, None)[0]
        numbers["bfloat16"] = Estimate(bf16), "times"
        print(f"bfloat16, without units for it: {bf16:.1f} times as long as float32")
        print(f"the step's multiply-adds at matmul speed: {100 * share:.0f} % of the epoch")

    costs = []
    for times in (1, 2, 4):
        part = train.subset(slice(15_000 * times))
        seconds = min(fit_epoch(part, device, precision)[0] for _ in range(2))
        costs.append(1e6 * seconds / len(part))
        print(f"{len(part):6d} images: {costs[-1]:.0f} µs per image")
    numbers["growth"] = Estimate(costs[-1] / costs[0]), "times"

    numbers["peak_memory"] = Estimate(peak_memory()), "GiB"
    print(f"peak memory {numbers['peak_memory'][0]:.2f} GiB")

    if wanted.quality:
        model = build_vae("conv", 16).to(device)
        history, _ = fit(model, train, precision=precision, **QUALITY)
        reached = float(evaluate(model, test)["total"].mean())
        speedup = CONVENTIONAL_EPOCHS * usual.value / history.seconds
        print(f"{QUALITY}: {reached:.2f} nats in {history.seconds:.0f} s, {speedup:.2f} × sooner")
        if reached > TARGET:
            raise SystemExit(f"that is above {TARGET} nats: no time to quality to report")
        numbers["quality_speedup"] = Estimate(speedup), "times"
        numbers["quality_nats"] = Estimate(reached), "nats"
        numbers["quality_seconds"] = Estimate(history.seconds), "seconds"

    print(f"this process peaked at {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")
    if wanted.store:
        for name, (number, unit) in numbers.items():
            store(f"speed/{name}", number, unit=unit, of=train.digest, command=COMMAND)


if __name__ == "__main__":
    main()
