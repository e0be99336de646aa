"""Garments drawn from known factors: a stand-in for Fashion-MNIST, and a ground truth.

A picture is a function of its factors and of nothing else. Shapes are signed distances, positive
inside, on a 28 × 28 grid whose sides run from −1 to 1 (y downwards); they are joined by ``max``,
cut by ``min``, and turned into soft-edged coverage one pixel wide.
"""

import numpy as np

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
# class: 0 … 9. width, length, sleeve, shade, shift, drop: real, 0 … 1. pattern: 0 … 3.
# "sleeve" is each garment's own part: sleeves of tops, flare of trousers, heel of sandals and
# sneakers, shaft of boots, handle of bags; shift and drop move it right and down. Patterns are
# plain, horizontal stripes, vertical stripes, checks.
FACTORS = ("class", "width", "length", "sleeve", "shade", "pattern", "shift", "drop")
LEVELS = {"class": len(CLASSES), "pattern": 4}  # the others are continuous
SIZE = 28

_at = (np.arange(SIZE) + 0.5) / SIZE * 2 - 1
X, Y = np.meshgrid(_at, _at)


def sample_factors(n: int, seed: int) -> np.ndarray:
    """Independent uniform factors, float64 ``(n, 8)``, with classes as balanced as ``n`` allows.

    Raises ValueError for n < 1.
    """
    if n < 1:
        raise ValueError(f"{n} garments; ask for at least 1")
    random = np.random.default_rng(seed)
    factors = random.random((n, len(FACTORS)))
    factors[:, 0] = random.permutation(np.arange(n) % len(CLASSES))
    factors[:, FACTORS.index("pattern")] = random.integers(0, LEVELS["pattern"], n)
    return factors


def draw(factors: np.ndarray) -> np.ndarray:
    """The pictures of ``factors`` ``(n, 8)``, uint8 ``(n, 28, 28)``, bright on black.

    Raises ValueError for another shape, or a factor that is not in its range (see ``FACTORS``).
    """
    factors = np.asarray(factors, dtype=np.float64)
    if factors.ndim != 2 or factors.shape[1] != len(FACTORS):
        raise ValueError(f"factors of shape {factors.shape}; give (n, {len(FACTORS)}): {FACTORS}")
    for name, column in zip(FACTORS, factors.T, strict=True):
        most, whole = LEVELS.get(name, 2) - 1, name in LEVELS
        right = (column >= 0) & (column <= most) & ((column == np.round(column)) | (not whole))
        if not right.all():
            allowed = f"{'a whole number ' * whole}from 0 to {most}"
            raise ValueError(f"{name} is {column[~right][0]}; give {allowed}")
    images = np.zeros((len(factors), SIZE, SIZE), dtype=np.uint8)
    for label, garment in enumerate(GARMENTS):
        chosen = factors[:, 0] == label
        width, length, sleeve, shade, pattern, shift, drop = factors[chosen, 1:].T[..., None, None]
        x, y = X - 0.24 * (2 * shift - 1), Y - 0.2 * (2 * drop - 1)
        fabric, details = garment(x, y, width, length, sleeve)
        grey = (0.25 + 0.7 * shade) * _cover(fabric) * _cloth(x, y, pattern)
        images[chosen] = np.round(255 * grey * (1 - 0.5 * _cover(details)))
    return images


def _cover(distance: np.ndarray) -> np.ndarray:
    # From outside to inside within one pixel, which is 2 / SIZE wide.
    return np.clip(distance * SIZE / 2 + 0.5, 0, 1)


def _cloth(x: np.ndarray, y: np.ndarray, pattern: np.ndarray) -> np.ndarray:
    across, along = np.sin(y * 14) > 0, np.sin(x * 14) > 0
    dark = np.choose(pattern.astype(int), (across & False, across, along, across ^ along))
    return 1 - 0.5 * dark


# --- shapes: signed distance, positive inside ---------------------------------------------------


def _box(x, y, left, right, top, bottom):
    return np.minimum(np.minimum(x - left, right - x), np.minimum(y - top, bottom - y))


def _taper(x, y, top, bottom, upper, lower):
    """A symmetric trapezoid whose half width goes from ``upper`` at the top to ``lower``."""
    half = upper + (lower - upper) * np.clip((y - top) / (bottom - top), 0, 1)
    return np.minimum(half - np.abs(x), np.minimum(y - top, bottom - y))


def _ellipse(x, y, half_width, half_height):
    radius = np.sqrt((x / half_width) ** 2 + (y / half_height) ** 2)
    return (1 - radius) * np.minimum(half_width, half_height)


def _line(x, y, x0, y0, x1, y1, radius):
    """A stroke with round ends from (x0, y0) to (x1, y1)."""
    dx, dy = x1 - x0, y1 - y0
    along = np.clip(((x - x0) * dx + (y - y0) * dy) / (dx**2 + dy**2), 0, 1)
    return radius - np.hypot(x - x0 - along * dx, y - y0 - along * dy)


def _cut(shape, hole):
    return np.minimum(shape, -hole)


# --- garments: (x, y, width, length, sleeve) → fabric, darker details -------------------------


def _top(x, y, half, hem, flare, reach, neck):
    """Torso with two sleeves, of which ``reach`` from 0 to 1 is there, and a neckline."""
    torso = _taper(x, y, -0.82, hem, half, half * flare)
    arm_x, arm_y = half + 0.08 + 0.3 * reach, -0.6 + 1.05 * reach
    sleeves = _line(np.abs(x), y, half - 0.06, -0.66, arm_x, arm_y, 0.15)
    return _cut(np.maximum(torso, sleeves), _ellipse(x, y + 0.86, 0.22, neck))


def _t_shirt(x, y, width, length, sleeve):
    fabric = _top(x, y, 0.32 + 0.2 * width, 0.35 + 0.5 * length, 1.0, 0.02 + 0.45 * sleeve, 0.2)
    return fabric, -np.ones_like(fabric)


def _pullover(x, y, width, length, sleeve):
    fabric = _top(x, y, 0.32 + 0.2 * width, 0.35 + 0.5 * length, 1.0, 0.35 + 0.65 * sleeve, 0.12)
    return fabric, _box(x, y, -0.6, 0.6, 0.22 + 0.5 * length, 0.26 + 0.5 * length)


def _dress(x, y, width, length, sleeve):
    fabric = _top(x, y, 0.2 + 0.14 * width, 0.55 + 0.4 * length, 1.6, 0.02 + 0.5 * sleeve, 0.25)
    return fabric, _box(x, y, -0.5, 0.5, -0.2, -0.14)


def _coat(x, y, width, length, sleeve):
    fabric = _top(x, y, 0.32 + 0.2 * width, 0.5 + 0.45 * length, 1.1, 0.45 + 0.55 * sleeve, 0.16)
    return fabric, _box(x, y, -0.035, 0.035, -0.8, 1)


def _shirt(x, y, width, length, sleeve):
    fabric = _top(x, y, 0.3 + 0.2 * width, 0.35 + 0.5 * length, 1.0, 0.05 + 0.95 * sleeve, 0.14)
    collar = _line(np.abs(x), y, 0.2, -0.76, 0.02, -0.48, 0.035)
    return fabric, np.maximum(collar, _box(x, y, -0.02, 0.02, -0.5, 0.3))


def _trouser(x, y, width, length, sleeve):
    hem, half = 0.55 + 0.4 * length, 0.26 + 0.16 * width
    legs = _taper(x, y, -0.9, hem, half, half * (0.9 + 0.5 * sleeve))
    gap = _taper(x, y, -0.35, 1.2, 0.01, 0.16)
    return _cut(legs, gap), _box(x, y, -0.6, 0.6, -0.78, -0.73)


def _bag(x, y, width, length, sleeve):
    half, top = 0.5 + 0.35 * width, 0.05 - 0.35 * length
    arch = _ellipse(x, y - top, 0.6 * half, 0.2 + 0.55 * sleeve)
    hole = _ellipse(x, y - top, 0.6 * half - 0.1, 0.1 + 0.55 * sleeve)
    handle = np.minimum(_cut(arch, hole), top - y)
    body = _taper(x, y, top, 0.75, half * 0.92, half)
    return np.maximum(body, handle), _box(x, y, -0.9, 0.9, top + 0.2, top + 0.25)


def _shoe(x, y, width, length, rise):
    """Sole and upper of a shoe that points left; ``rise`` is how high the instep is."""
    back, toe = 0.45 + 0.3 * length, -0.55 - 0.3 * length
    thick = 0.25 + 0.2 * width
    sole = _box(x, y, toe, back, 0.42, 0.54)
    slope = np.clip((x - toe) / (back - toe), 0, 1) ** 1.3
    upper = np.minimum(_box(x, y, toe, back, -1, 0.5), y - (0.46 - thick * (0.5 + rise * slope)))
    return sole, np.maximum(sole, upper), toe, back, thick


def _sandal(x, y, width, length, sleeve):
    sole, upper, toe, back, thick = _shoe(x, y, width, length, 1.2)
    middle = (toe + back) / 2
    straps = [
        _line(x, y, toe + 0.15, 0.45, toe + 0.35, 0.45 - thick, 0.07),
        _line(x, y, middle, 0.45, middle + 0.2, 0.4 - thick, 0.07),
        _line(x, y, back - 0.12, 0.45, back - 0.05, 0.2 - thick, 0.07),
        _line(x, y, middle + 0.2, 0.4 - thick, back - 0.05, 0.2 - thick, 0.06),
    ]
    heel = _box(x, y, back - 0.22, back, 0.42, 0.56 + 0.35 * sleeve)
    fabric = np.maximum.reduce(np.broadcast_arrays(sole, heel, *straps))
    return fabric, -np.ones_like(fabric)


def _sneaker(x, y, width, length, sleeve):
    sole, upper, toe, back, thick = _shoe(x, y, width, length, 1.1)
    heel = _box(x, y, back - 0.3, back, 0.2 - thick - 0.25 * sleeve, 0.5)
    laces = _line(x, y, toe + 0.5, 0.36 - thick, back - 0.45, 0.1 - thick, 0.05)
    return np.maximum(upper, heel), np.maximum(laces, _box(x, y, toe, back, 0.4, 0.44))


def _boot(x, y, width, length, sleeve):
    sole, upper, toe, back, thick = _shoe(x, y, width, length, 1.1)
    top = -0.05 - thick - 0.5 * sleeve
    shaft = _box(x, y, back - 0.42 - 0.15 * width, back, top, 0.5)
    heel = _box(x, y, back - 0.3, back, 0.42, 0.66)
    details = np.maximum(_box(x, y, toe, back, 0.4, 0.44), _box(x, y, -1, 1, top + 0.1, top + 0.14))
    return np.maximum.reduce(np.broadcast_arrays(upper, shaft, heel)), details


GARMENTS = (_t_shirt, _trouser, _pullover, _dress, _coat, _sandal, _shirt, _sneaker, _bag, _boot)
