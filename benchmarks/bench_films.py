"""Frames of a film a second: drawn into copies of one background, against a figure per frame.

python benchmarks/bench_films.py [--store]
"""

import io

import matplotlib.pyplot as plt
from timing import BOOK, Numbers, main, seconds, spread

from press import films
from press.checkpoints import Experiment, film, film_images
from vae_helpers.films import DPI, training_film

RUN = "beta-1"
NAIVE_FRAMES = 10
REPEATS = 3


def naive(one: Experiment) -> list[bytes]:
    """The first frames as a loop over ``savefig`` makes them: the same size and content."""
    frames = film(one)
    followed = film_images(one.test, one.run.classes)
    classes = [one.run.classes.index(followed.classes[label]) for label in followed.labels]
    reach, drawn = 1.1 * float(frames.positions[frames.epochs >= 1].abs().max()), []
    for i in range(NAIVE_FRAMES):
        figure = plt.figure(figsize=(4.8, 7.06), dpi=DPI)
        axes = figure.add_axes((0.05, 0.21, 0.94, 0.64))
        for which, name in enumerate(one.run.classes):
            chosen = [k for k, one_class in enumerate(classes) if one_class == which]
            axes.scatter(*frames.positions[i, chosen].T, s=20, alpha=0.7, label=name)
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
        axes.legend()
        total, reconstruction, kl = frames.losses[i].tolist()
        figure.suptitle(
            f"epoch {frames.epochs[i]:.1f}: {total:.1f} = {reconstruction:.1f} + {kl:.1f}"
        )
        for column in range(8):
            pictures = (followed.images[column, 0], frames.reconstructions[i, column, 0])
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
    one = BOOK.experiment(RUN)
    frames = len(film(one).steps)
    naive(one)
    training_film([films.watched(one)])
    slow, fast = [], []
    for _ in range(REPEATS):
        slow.append(NAIVE_FRAMES / seconds(lambda: naive(one)))
        fast.append(frames / seconds(lambda: training_film([films.watched(one)])))
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
    main(__doc__, command, BOOK.experiment(RUN).digest, measured)
