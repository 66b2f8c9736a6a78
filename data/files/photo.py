"""A photo in memory, and what is done to it whatever file it came from."""
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

INCOMPLETE = "damaged: the file is incomplete, its end is missing; copy or download it again"


class PhotoError(ValueError):
    """A file that cannot be read or written as a photo; the message is the reason, without the file's name."""


@dataclass(frozen=True)
class Photo:
    """A photo, upright.

    pixels: (H, W, 3) RGB, uint8 or uint16 (full range); three equal channels where `gray`.
    alpha: (H, W) of the same type, or None. Colour is not multiplied by it.
    gray: the file holds one channel, and so will what is written.
    icc_profile, exif: blocks to carry over; exif already says orientation 1.
    dpi: print resolution. lossless: a WebP file without loss.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    gray: bool = False
    icc_profile: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    lossless: bool = False


def to_8_bit(pixels: np.ndarray) -> np.ndarray:
    """uint16 -> uint8, to nearest; uint8 as it is."""
    return pixels if pixels.dtype == np.uint8 else ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def side_by_side(left: Photo, right: Photo, longest: float = math.inf) -> Photo:
    """One picture of two of equal size, the second below the first where beside it would be wider than `longest` pixels;
    metadata of neither, colour profile of the right."""
    axis = 1 if 2 * left.pixels.shape[1] <= longest else 0
    pixels = np.concatenate([left.pixels, right.pixels], axis)
    alpha = None
    if left.alpha is not None and right.alpha is not None:
        alpha = np.concatenate([left.alpha, right.alpha], axis)
    return Photo(pixels, alpha, left.gray and right.gray, right.icc_profile, lossless=right.lossless)


def upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """Stored (H, W, ...) -> as the camera was held; orientation 1..8 as in EXIF (a view, nothing is copied)."""
    if orientation >= 5:
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return values
