"""How costs grow: training with images and latent size, the Fréchet distance with samples.

python benchmarks/bench_growth.py [--store]
"""

import torch
from bench_metrics import features
from timing import BOOK, Numbers, main, seconds, spread

from vae_helpers.metrics.frechet import frechet
from vae_helpers.models import build_vae
from vae_helpers.training import fit

REPEATS = 3
IMAGES = (3_200, 12_800, 51_200)
LATENTS = (2, 8, 32, 128)
SAMPLES = (1_000, 10_000, 100_000)


def per_image(body: str, latent: int, count: int) -> float:
    """Microseconds an image of an epoch of that many."""
    images = BOOK.images("train").subset(slice(count))
    history, _ = fit(build_vae(body, latent), images, epochs=1, progress=False)
    return 1e6 * history.seconds / count


def measured() -> Numbers:
    settings = {f"images {count}": ("conv", 16, count) for count in IMAGES} | {
        f"{body} {latent}": (body, latent, IMAGES[1])
        for body in ("dense", "conv")
        for latent in LATENTS
    }
    per_image("conv", 2, 1_280)  # warm up
    times: dict[str, list[float]] = {name: [] for name in settings}
    for _ in range(REPEATS):  # in turn, so that a busy moment hits no setting alone
        for name, one in settings.items():
            times[name].append(per_image(*one))
    numbers: Numbers = {
        f"growth {name}": (spread(many), "µs an image") for name, many in times.items()
    }
    for count in SAMPLES:
        many = features(128, 0, count), features(128, 1, count)
        times = [1e3 * seconds(lambda: frechet(*many)) for _ in range(REPEATS + 1)][1:]  # noqa: B023
        numbers[f"growth samples {count}"] = spread(times), "ms"
    return numbers


if __name__ == "__main__":
    torch.manual_seed(0)
    command = "python benchmarks/bench_growth.py --store"
    main(__doc__, command, BOOK.images("train").digest, measured)
