"""Draws the picture that ``senet demo`` runs on, a hot-air balloon over a lake: conformance/cli/balloon.jpg.

python benchmarks/balloon.py [FILE.jpg]
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 400, 480
FILE = Path(__file__).parents[1] / "conformance" / "cli" / "balloon.jpg"
SUN = np.array([-0.55, -0.45, 0.70])  # direction to the light: left, up, towards the viewer
COLOURS = np.array([(196, 40, 44), (240, 178, 52), (238, 232, 214), (38, 96, 150)], np.float64)


def noise(shape: tuple[int, int], octaves: int, seed: int, stretch: float = 1.0) -> np.ndarray:
    """Fractal noise, 0 to 1: smooth noise of doubled frequency and halved height, summed.

    Args:
        shape: (H, W) of the result.
        octaves: how many are summed; the first has 4 cells along the longer side.
        seed: of the random grids.
        stretch: how much wider than high a cell is.
    """
    rng = np.random.default_rng(seed)
    total = np.zeros(shape)
    for octave in range(octaves):
        cell = max(shape) / 4 / 2**octave
        y, x = np.arange(shape[0]) / (cell / stretch), np.arange(shape[1]) / cell
        grid = rng.random((int(y[-1]) + 2, int(x[-1]) + 2))
        i, j = y.astype(int), x.astype(int)
        v, u = _smooth(y - i)[:, None], _smooth(x - j)[None]
        above, below = ((1 - u) * grid[np.ix_(i + k, j)] + u * grid[np.ix_(i + k, j + 1)] for k in (0, 1))
        total += ((1 - v) * above + v * below) / 2**octave
    return (total - total.min()) / (total.max() - total.min())


def _smooth(t: np.ndarray) -> np.ndarray:
    return t * t * (3 - 2 * t)


def mix(below: np.ndarray, above: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Two pictures (H, W, 3), the upper one with the given opacity (H, W)."""
    return below + (above - below) * np.clip(share, 0, 1)[..., None]


def landscape(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Sky with clouds, and three ranges of mountains, (H, W, 3)."""
    height = (y / y.max())[..., None]
    picture = (1 - height) * np.array((62, 118, 188.0)) + height * np.array((214, 222, 226.0))
    clouds = noise(y.shape, 6, 1, stretch=2.6)
    picture = mix(picture, np.full_like(picture, 250), (clouds - 0.52) * 3 * (1 - y / y.max()))
    ranges = ((0.62, 0.30, (128, 148, 172)), (0.76, 0.22, (86, 110, 112)), (0.90, 0.13, (44, 72, 48)))
    for k, (base, rise, colour) in enumerate(ranges):
        ridge = (base - rise * (noise((8, x.shape[1]), 7, 10 + k)[4] - 0.35)) * y.max()
        rock = noise(y.shape, 7, 20 + k)
        light = 0.75 + 2.7 * (rock - np.roll(rock, 3, axis=1)) + 0.35 * rock
        light[:, :3] = light[:, 3:4]
        ground = np.array(colour, np.float64) * light[..., None]
        snow = np.clip(1 - (y - ridge) / (14 + 30 * rock), 0, 1) * (k == 0)
        ground = mix(ground, np.full_like(ground, 245), snow)
        picture = mix(picture, ground, y - ridge + 0.5)
    return picture


def lake(shore: np.ndarray, depth: int) -> np.ndarray:
    """What the lake mirrors of the landscape above it, darker and broken by waves, (depth, W, 3)."""
    rows, columns = np.mgrid[:depth, : shore.shape[1]]
    waves = noise((depth, shore.shape[1]), 6, 31, stretch=9) - 0.5
    strength = 2 + 16 * rows / depth
    up = np.clip(len(shore) - 1 - rows * 1.6 + waves * strength, 0, len(shore) - 1).astype(int)
    across = np.clip(columns + waves * strength * 0.6, 0, shore.shape[1] - 1).astype(int)
    mirrored = shore[up, across] * 0.72 + np.array((4, 20, 34.0))
    return mirrored + (waves * 46 * (0.3 + rows / depth))[..., None]


def balloon(picture: np.ndarray, y: np.ndarray, x: np.ndarray, cy: float, cx: float, radius: float) -> np.ndarray:
    """The picture with a balloon of coloured gores, lit from the left, and its basket on four ropes."""
    down = (y - cy) / radius
    cone = np.sqrt(np.clip(1 - (down / 1.38) ** 2, 0, 1)) * (1 - 0.16 * down)
    taper = np.where(down > 0, cone, np.sqrt(np.clip(1 - down**2, 0, 1)))  # half the width at each height
    inside = (down > -1) & (down < 1.26)
    across = (x - cx) / radius / np.maximum(taper, 1e-6)
    depth = np.sqrt(np.clip(1 - across**2, 0, 1))
    normal = np.stack([across * taper, np.where(down > 0, down / 1.9, down), depth * taper], axis=-1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-9
    turn = (np.arctan2(across, depth) / np.pi + 0.5) * 8 + 0.3
    gore = turn.astype(int) % len(COLOURS)
    band = np.abs(down - 0.16) < 0.13
    colour = np.where(band[..., None], COLOURS[(gore + 2) % len(COLOURS)], COLOURS[gore])
    seam = 1 - 0.28 * np.exp(-((np.abs(turn % 1 - 0.5) - 0.5) ** 2) / 0.004)
    folds = 1 + 0.05 * np.sin(turn % 1 * np.pi)
    lit = 0.36 + 0.78 * np.clip(normal @ SUN, 0, 1)
    shine = 90 * np.clip(normal @ SUN, 0, 1) ** 24
    cloth = colour * (lit * seam * folds)[..., None] + shine[..., None] + (noise(y.shape, 8, 41)[..., None] - 0.5) * 14
    edge = np.clip((1 - np.abs(across)) * radius * taper + 0.5, 0, 1) * inside
    picture = mix(picture, cloth, edge)
    top, bottom, half = cy + 1.62 * radius, cy + 1.86 * radius, 0.15 * radius
    for start, end in ((-0.30, -1), (-0.12, -0.4), (0.12, 0.4), (0.30, 1)):
        share = (y - cy - 1.24 * radius) / (top - cy - 1.24 * radius)
        rope = cx + radius * start + (half * end - radius * start) * share
        picture = mix(picture, np.full_like(picture, 48), (1.1 - np.abs(x - rope)) * ((share > 0) & (share < 1)))
    wicker = 0.75 + 0.25 * np.sin(y * 1.9) * np.sin(x * 1.5 + (y // 3) * np.pi)
    basket = np.array((142, 96, 54.0)) * (wicker * (1.1 - 0.5 * (x - cx + half) / (2 * half)))[..., None]
    inside = np.minimum(half + 0.5 - np.abs(x - cx), np.minimum(y - top, bottom - y) + 0.5)
    return mix(picture, basket, inside)


def meadow(picture: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The picture with a meadow in front, whose blades and flowers are finer the farther away."""
    h, w = y.shape
    edge = h * (0.90 - 0.05 * noise((8, w), 5, 51)[4])
    blades = noise((h, w), 9, 52, stretch=0.25)
    tone = noise((h, w), 4, 53)
    grass = np.array((76, 112, 38.0)) * (0.35 + 0.75 * blades + 0.4 * tone)[..., None]
    rng = np.random.default_rng(54)
    for _ in range(160):
        fy, fx = rng.uniform(0.89, 1.0) * h, rng.uniform(0, w)
        size = 0.8 + 16 * (fy / h - 0.87)
        petal = COLOURS[rng.integers(3)]
        disc = size - np.hypot((y - fy) * 1.5, x - fx) + 0.5
        grass = mix(grass, np.broadcast_to(petal, grass.shape), disc)
    ragged = y - edge + 9 * (blades - 0.5)
    return mix(picture, grass, ragged)


def draw() -> np.ndarray:
    """The picture, (400, 480, 3) uint8, RGB."""
    horizon = int(0.66 * HEIGHT)
    y, x = np.mgrid[:horizon, :WIDTH].astype(np.float64)
    above = landscape(y, x)
    flown = balloon(above, y, x, 104, 236, 78)
    picture = np.concatenate([flown, lake(flown, HEIGHT - horizon)])
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
    picture = meadow(picture, y, x)
    grain = np.random.default_rng(61).normal(0, 2.2, picture.shape)
    corner = 1 - 0.22 * (((y / HEIGHT - 0.5) ** 2 + (x / WIDTH - 0.5) ** 2) / 0.5)
    return np.clip(picture * corner[..., None] + grain, 0, 255).round().astype(np.uint8)


if __name__ == "__main__":
    Image.fromarray(draw()).save(Path(sys.argv[1]) if len(sys.argv) > 1 else FILE, quality=90, optimize=True)
