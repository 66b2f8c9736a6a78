"""Extra degradations of a dark photo: blur, spots, mixing noise.

Pictures are float32 (H, W, 3), values in [0, 1], unless a function says otherwise.
"""
from __future__ import annotations

import functools
import math

import cv2
import numpy as np
import torch

DEFOCUS_RADIUS = (1, 3)           # pixels, both ends included
DEFOCUS_ALIAS_BLUR = (0.1, 0.3)   # sigma in pixels of the Gaussian that softens the disc's rim
SPOT_NOISE_RATE = 0.5
SPOT_NOISE_STD = (0.05, 0.4)
SPOT_SIDES = (1, 2)               # pixels, both ends included
SPOT_COVER = 0.1                  # share of the pixels under a spot
SPOT_BLACK_RATE = 0.3
MIX_WEIGHT = 0.1
ROUNDING = 1e-3                   # in 8-bit levels: what float32 may lose of a whole number before the floor


def degrade(planes: np.ndarray, rng: np.random.Generator, rate: float) -> np.ndarray:
    """The degradations of a dark photo, each with p = `rate`, in this order; uint8 (3, H, W) in and out.

    They are computed in floating point and quantised once, by floor as a camera file is. Most photos meet none of them
    and come back as they are.
    """
    blurred, spotted, mixed = rng.random(3) < rate
    if not (blurred or spotted or mixed):
        return planes
    image = cv2.merge(tuple(planes)) * np.float32(1 / 255)
    if blurred:
        image = defocus(image, rng) if rng.random() < 0.5 else down_and_up(image)
    if spotted:
        image = spots(image, rng)
    if mixed:
        image = mix_noise(image, rng)
    levels = np.clip(image * np.float32(255.0) + np.float32(ROUNDING), 0.0, 255.0).astype(np.uint8)  # astype floors
    return np.stack(cv2.split(levels))


def defocus(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A lens out of focus: convolution with a disc of radius 1..3 pixels whose rim a small Gaussian softens."""
    radius = int(rng.integers(DEFOCUS_RADIUS[0], DEFOCUS_RADIUS[1] + 1))
    reach = np.arange(-radius - 2, radius + 3)  # two zeros around the disc, for the Gaussian and its mirrored border
    disc = (reach[:, None] ** 2 + reach[None, :] ** 2 <= radius**2).astype(np.float32)
    kernel = cv2.GaussianBlur(disc / disc.sum(), (3, 3), sigmaX=rng.uniform(*DEFOCUS_ALIAS_BLUR))
    return cv2.filter2D(image, -1, kernel)


def down_and_up(image: np.ndarray) -> np.ndarray:
    """Half the resolution and back, bicubic: what a small sensor or a careless upload leaves."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (max(width // 2, 1), max(height // 2, 1)), interpolation=cv2.INTER_CUBIC)
    return np.clip(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), 0.0, 1.0)


def spots(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Dead and hot pixels: squares of side 1..2 over about a tenth of the pixels, black or uniform noise.

    With p = 0.5 Gaussian noise comes first. The number of squares makes the expected cover 10 %, overlaps counted once.
    """
    height, width = image.shape[:2]
    if rng.random() < SPOT_NOISE_RATE:
        noise = standard_normal(rng, image.shape)
        noise *= np.float32(rng.uniform(*SPOT_NOISE_STD))
        noise += image
        image = np.clip(noise, 0.0, 1.0, out=noise)
    largest = min(SPOT_SIDES[1], height, width)
    mean_area = sum(side**2 for side in range(SPOT_SIDES[0], largest + 1)) / (largest - SPOT_SIDES[0] + 1)
    count = max(round(-math.log(1.0 - SPOT_COVER) / mean_area * height * width), 1)
    sides = rng.integers(SPOT_SIDES[0], largest + 1, count)
    tops, lefts = rng.integers(0, height - sides + 1), rng.integers(0, width - sides + 1)
    fill = rng.random((count, largest, largest, 3), dtype=np.float32)
    fill[rng.random(count) < SPOT_BLACK_RATE] = 0.0
    result = image.copy()
    for dy in range(largest):
        for dx in range(largest):
            reach = sides > max(dy, dx)
            result[tops[reach] + dy, lefts[reach] + dx] = fill[reach, dy, dx]
    return result


def mix_noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """0.9 of the picture and 0.1 of uniform 8-bit noise: a raised, grainy black level."""
    noise = np.frombuffer(rng.bytes(image.size), dtype=np.uint8).reshape(image.shape)
    return np.float32(1.0 - MIX_WEIGHT) * image + np.float32(MIX_WEIGHT / 255.0) * noise


def standard_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """normal(0, 1), float32, as the quantiles of 16-bit uniform numbers: |values| < 4.4, five times as fast as NumPy's."""
    bits = np.frombuffer(rng.bytes(2 * math.prod(shape)), dtype="<u2")
    return np.take(_normal_quantiles(), bits).reshape(shape)


@functools.cache
def _normal_quantiles() -> np.ndarray:
    """The standard normal's quantiles at (i + 0.5) / 65536, float32 (65536,)."""
    return torch.special.ndtri((torch.arange(65536, dtype=torch.float64) + 0.5) / 65536).float().numpy()
