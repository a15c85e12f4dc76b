"""Pictures made up from a few statistics of natural ones, for calibration without data.

Method: dead leaves (Lee, Mumford and Huang, "Occlusion models for natural images", IJCV 2001): opaque shapes over each other,
their sizes distributed as r^-3, over and filled with noise whose spectrum falls as 1/f^a. Colours are mostly grey with a few
saturated ones, lit unevenly. Baradad et al., "Learning to see by looking at noise" (NeurIPS 2021), found such pictures close
enough to natural ones to train features on. They show edges, textures and occlusion; they show no objects.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

_TEXTURES = 12
_TEXTURE_SIDE = 512
_LEAVES = 140


def procedural_pictures(count: int, height: int, width: int, seed: int) -> list[Picture]:
    """`count` RGB pictures [height, width, 3]; the same seed gives the same pictures."""
    random = np.random.default_rng(seed)
    textures = [_noise(random, _TEXTURE_SIDE, exponent) for exponent in np.linspace(0.6, 2.0, _TEXTURES)]
    return [_picture(random, textures, height, width) for _ in range(count)]


def _noise(random: np.random.Generator, side: int, exponent: float) -> Floats:
    """Periodic noise of spectrum 1/f^exponent, mean 0, standard deviation 1."""
    rows = np.fft.fftfreq(side)[:, None]
    columns = np.fft.rfftfreq(side)[None, :]
    frequency = np.sqrt(rows**2 + columns**2)
    frequency[0, 0] = 1.0
    spectrum = (random.normal(size=frequency.shape) + 1j * random.normal(size=frequency.shape)) / frequency**exponent
    spectrum[0, 0] = 0.0
    field = np.fft.irfft2(spectrum, (side, side))
    noise: Floats = (field / field.std()).astype(np.float32)
    return noise


def _patch(random: np.random.Generator, textures: list[Floats], height: int, width: int) -> Floats:
    """A piece of a random texture, at a random zoom of its own."""
    texture = textures[int(random.integers(len(textures)))]
    step = int(random.integers(1, 4))
    rows = (int(random.integers(_TEXTURE_SIDE)) + np.arange(height) * step // 2) % _TEXTURE_SIDE
    columns = (int(random.integers(_TEXTURE_SIDE)) + np.arange(width) * step // 2) % _TEXTURE_SIDE
    return texture[np.ix_(rows, columns)]


def _colour(random: np.random.Generator, brightness: float) -> Floats:
    """Mostly grey: natural colours lie close to the diagonal of the cube, and a few far from it."""
    spread = 0.06 if random.random() < 0.6 else 0.22
    base = np.clip(brightness + 0.25 * random.normal(), 0.02, 0.98)
    colour: Floats = np.clip(base + spread * random.normal(size=3), 0.0, 1.0).astype(np.float32)
    return colour


def _surface(random: np.random.Generator, textures: list[Floats], height: int, width: int, brightness: float) -> Floats:
    """A textured and unevenly lit piece of one colour, [height, width, 3]."""
    contrast = float(random.exponential(0.06))
    field = contrast * _patch(random, textures, height, width)
    slope = random.normal(0, 0.12, 2)
    light = slope[0] * np.linspace(-1, 1, height)[:, None] + slope[1] * np.linspace(-1, 1, width)[None, :]
    colour = _colour(random, brightness)
    tint = 1.0 + 0.3 * random.normal(size=3)
    surface: Floats = (colour[None, None] * (1.0 + light[..., None]) + field[..., None] * tint).astype(np.float32)
    return surface


def _shape(random: np.random.Generator, rows: Floats, columns: Floats, radius: float) -> npt.NDArray[np.bool_]:
    """Which pixels a leaf covers: an ellipse, a rectangle or a half plane cut out of one; coordinates from its centre."""
    angle = random.uniform(0, np.pi)
    u = rows * np.cos(angle) + columns * np.sin(angle)
    v = columns * np.cos(angle) - rows * np.sin(angle)
    ratio = np.exp(random.normal(0, 0.5))
    a, b = radius * min(ratio, 1.0), radius / max(ratio, 1.0)
    kind = random.integers(4)
    mask: npt.NDArray[np.bool_]
    if kind == 0:
        mask = (np.abs(u) <= a) & (np.abs(v) <= b)
    else:
        mask = (u / a) ** 2 + (v / b) ** 2 <= 1.0
    if kind == 1:
        mask &= u + 0.5 * v <= 0.4 * radius
    if kind == 2:
        mask &= (u / a) ** 2 + (v / b) ** 2 >= random.uniform(0.05, 0.7)  # a ring
    return mask


def _picture(random: np.random.Generator, textures: list[Floats], height: int, width: int) -> Picture:
    brightness = random.uniform(0.25, 0.65)
    canvas = _surface(random, textures, height, width, brightness)
    largest, least = 0.45 * min(height, width), max(2.0, 0.008 * min(height, width))
    # r^-3 by inversion, largest first: the small ones stay visible, as they do near the end of a long fall of leaves.
    u = random.random(_LEAVES)
    radii = np.sort((least**-2 + u * (largest**-2 - least**-2)) ** -0.5)[::-1]
    radii[: _LEAVES // 8] = np.sort(random.uniform(0.3 * largest, largest, _LEAVES // 8))[::-1]
    for radius in radii:
        y, x = random.uniform(0, height), random.uniform(0, width)
        top, bottom = max(int(y - radius), 0), min(int(y + radius) + 2, height)
        left, right = max(int(x - radius), 0), min(int(x + radius) + 2, width)
        if top >= bottom or left >= right:
            continue
        rows = (np.arange(top, bottom, dtype=np.float32) - np.float32(y))[:, None]
        columns = (np.arange(left, right, dtype=np.float32) - np.float32(x))[None, :]
        mask = _shape(random, rows, columns, float(radius))
        surface = _surface(random, textures, bottom - top, right - left, brightness)
        region = canvas[top:bottom, left:right]
        region[mask] = surface[mask]
    # A lens blurs by about a pixel, a sensor adds noise.
    soft = canvas.copy()
    soft[1:-1, 1:-1] = 0.5 * canvas[1:-1, 1:-1] + 0.125 * (
        canvas[:-2, 1:-1] + canvas[2:, 1:-1] + canvas[1:-1, :-2] + canvas[1:-1, 2:]
    )
    soft += random.normal(0, random.uniform(0.0, 0.02), soft.shape).astype(np.float32)
    return (np.clip(soft, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
