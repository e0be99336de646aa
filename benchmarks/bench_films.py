"""Frames of a film a second: drawn into copies of one background, against a figure per frame.

python benchmarks/bench_films.py [--store]
"""

import io

import matplotlib.pyplot as plt
from timing import Numbers, main, seconds, spread

from vae_helpers import animation, data, runs

RUN = "beta-1"
NAIVE_FRAMES = 10
REPEATS = 3


def naive(one: runs.Trained, test: data.ImageDataset) -> list[bytes]:
    """The first frames as a loop over ``savefig`` makes them: the same size and content."""
    film = runs.film(one)
    followed = runs.film_images(test, one.run.classes)
    classes = [one.run.classes.index(followed.classes[label]) for label in followed.labels]
    reach, drawn = 1.1 * float(film.positions[film.epochs >= 1].abs().max()), []
    for i in range(NAIVE_FRAMES):
        figure = plt.figure(figsize=(4.8, 7.06), dpi=animation.DPI)
        axes = figure.add_axes((0.05, 0.21, 0.94, 0.64))
        for which, name in enumerate(one.run.classes):
            chosen = [k for k, one_class in enumerate(classes) if one_class == which]
            axes.scatter(*film.positions[i, chosen].T, s=20, alpha=0.7, label=name)
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
        axes.legend()
        total, reconstruction, kl = film.losses[i].tolist()
        figure.suptitle(
            f"epoch {film.epochs[i]:.1f}: {total:.1f} = {reconstruction:.1f} + {kl:.1f}"
        )
        for column in range(8):
            pictures = (followed.images[column, 0], film.reconstructions[i, column, 0])
            for row, picture in enumerate(pictures):
                place = figure.add_axes((column / 8, 0.09 * (1 - row), 0.125, 0.085))
                place.imshow(picture, cmap="gray", vmin=0, vmax=255)
                place.axis("off")
        packed = io.BytesIO()
        figure.savefig(packed, format="png")
        plt.close(figure)
        drawn.append(packed.getvalue())
    return drawn


def measured() -> Numbers:
    one, test = runs.trained(RUN), data.load("test")
    frames = len(runs.film(one).steps)
    naive(one, test)
    animation.frames([one], test)
    slow, fast = [], []
    for _ in range(REPEATS):
        slow.append(NAIVE_FRAMES / seconds(lambda: naive(one, test)))
        fast.append(frames / seconds(lambda: animation.frames([one], test)))
    ratios = [b / a for a, b in zip(slow, fast, strict=True)]
    assert min(ratios) >= 10, f"only {min(ratios):.1f} times as fast as a figure per frame"
    return {
        "film rate": (spread(fast), "frames/s"),
        "film naive rate": (spread(slow), "frames/s"),
        "film ratio": (spread(ratios), "times"),
    }


if __name__ == "__main__":
    plt.switch_backend("agg")
    command = "python benchmarks/bench_films.py --store"
    main(__doc__, command, runs.trained(RUN).digest, measured)
