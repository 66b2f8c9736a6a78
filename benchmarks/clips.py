"""Dark clips of which everything is known: photos under a moving window, with sensor noise and a lamp that goes on."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

GAMMA = 2.2
FASTEST = 3.0                      # pixels a frame, and a hand's tremble of 1
LAMP_GAIN = 4.0                    # times the light in the middle of its pool
SHOT_NOISE, READ_NOISE = 1e-4, 2e-6  # variances: per unit of light, and of the sensor


@dataclass(frozen=True)
class Clip:
    """frames: uint8 (H, W, 3) RGB. offsets: top and left of each frame's window in its photo. cuts: the frames at which
    another photo begins. lamps: those at which a lamp goes on."""

    frames: list[np.ndarray]
    offsets: list[tuple[int, int]]
    cuts: frozenset[int]
    lamps: frozenset[int]


def make_clip(photos: list[np.ndarray], size: tuple[int, int], frames: int, seed: int = 0, exposure: float = 0.06,
              noise: float = 1.0, lamps: bool = True) -> Clip:
    """`frames` pictures of each photo (uint8, (H, W, 3) RGB, larger than `size`), cut behind one another.

    The window, size (height, width), moves through the photo in a straight line with the tremble of a hand of a pixel, so
    that frames are shifted against one another by whole pixels, which `offsets` tell. `exposure` is the share of the light
    that is left, `noise` times a camera's is added. Halfway through each photo, with `lamps`, one goes on at a fixed place of
    the scene.
    """
    rng = np.random.default_rng(seed)
    clip = Clip([], [], frozenset(range(frames, frames * len(photos), frames)),
                frozenset(frames * number + frames // 2 for number in range(len(photos)) if lamps))
    for photo in photos:
        room = np.array(photo.shape[:2]) - size
        if (room < 0).any():
            raise ValueError(f"a photo of {photo.shape[1]}x{photo.shape[0]}; expected at least {size[1]}x{size[0]}")
        line = np.linspace(rng.uniform(0, room), rng.uniform(0, room), frames)
        line = line[0] + (line - line[0]) * min(1.0, FASTEST * frames / (np.abs(line[-1] - line[0]).max() + 1e-9))
        offsets = np.clip(np.round(line + rng.integers(-1, 2, line.shape)), 0, room).astype(int)
        light = (photo / 255.0) ** GAMMA * exposure
        pool = _pool_of_light(photo.shape[:2], rng)[..., None]
        for number, (top, left) in enumerate(offsets):
            lit = light * (1 + (LAMP_GAIN - 1) * pool) if lamps and number >= frames // 2 else light
            view = lit[top : top + size[0], left : left + size[1]]
            clip.frames.append(_exposed(view, noise, rng))
            clip.offsets.append((int(top), int(left)))
    return clip


def luma_change(frames: list[np.ndarray], clip: Clip) -> float:
    """Mean absolute change of luma (BT.601, 8-bit levels) from one frame to the next along the known motion, without cuts."""
    changes = []
    for number in range(1, len(frames)):
        if number not in clip.cuts:
            before, after = overlap(frames[number - 1], frames[number], clip.offsets[number - 1], clip.offsets[number])
            changes.append(np.abs(luma(after) - luma(before)).mean())
    return float(np.mean(changes))


def overlap(first: np.ndarray, second: np.ndarray, at: tuple[int, int], then: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The parts of two windows of equal size that show the same of their photo."""
    parts = []
    for picture, mine, other in ((first, at, then), (second, then, at)):
        top, left = (max(o - m, 0) for m, o in zip(mine, other, strict=True))
        bottom, right = (side + min(o - m, 0) for side, m, o in zip(picture.shape, mine, other, strict=False))
        parts.append(picture[top:bottom, left:right])
    return parts[0], parts[1]


def luma(picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) RGB -> (H, W), BT.601."""
    return picture @ np.array([0.299, 0.587, 0.114])


def _pool_of_light(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """(H, W) in [0, 1]: a Gaussian a quarter of the photo wide, somewhere in its middle half."""
    height, width = shape
    y, x = np.mgrid[0:height, 0:width]
    top, left = rng.uniform(0.25, 0.75, 2) * shape
    return np.exp(-((y - top) ** 2 + (x - left) ** 2) / (2 * (0.15 * max(shape)) ** 2))


def _exposed(light: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Linear light with shot and read noise -> 8 bits with gamma."""
    noisy = light + noise * rng.normal(size=light.shape) * np.sqrt(SHOT_NOISE * light + READ_NOISE)
    return np.round(np.clip(noisy, 0, 1) ** (1 / GAMMA) * 255).astype(np.uint8)
