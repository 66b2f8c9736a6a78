"""A photo in memory, and what is done to it whatever file it came from."""
from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from data.files.kinds import PhotoError

__all__ = ["INCOMPLETE", "LUMA", "LUMINANCE", "Photo", "PhotoError", "divided_by_alpha", "full_range", "in_depth",
           "side_by_side", "to_8_bit", "upright"]

LUMA = np.array([0.299, 0.587, 0.114])   # weights of R, G and B in gray (ITU-R BT.601)
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)  # of linear R, G and B in luminance (ITU-R BT.709)
INCOMPLETE = "damaged: the file is incomplete, its end is missing; copy or download it again"


@dataclass(frozen=True)
class Photo:
    """A photo, upright.

    pixels: (H, W, 3) RGB, uint8 or uint16 (full range); three equal channels where `gray`. sRGB values, or what a file
        without a profile holds; uint16 where `own_pixels` are there.
    alpha: (H, W) of the type that the file has, or None. Colour is not multiplied by it.
    gray: the file holds one channel, and so will what is written.
    icc_profile: of the photo's own colour space, which the result goes back into.
    exif, xmp, iptc: blocks as they were found; what they say about orientation, size and thumbnail is set right in writing.
    dpi: print resolution. lossless: a WebP file without loss.
    own_pixels: (H, W, 1 or 3), the values in the space of `icc_profile`, where `pixels` were made from them; None where
        `pixels` are the file's own values.
    notes: what had to be left out in reading, for people.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    gray: bool = False
    icc_profile: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    lossless: bool = False
    xmp: bytes | None = None
    iptc: bytes | None = None
    own_pixels: np.ndarray | None = None
    notes: tuple[str, ...] = ()


def to_8_bit(pixels: np.ndarray) -> np.ndarray:
    """uint16 -> uint8, to nearest; uint8 as it is."""
    return pixels if pixels.dtype == np.uint8 else ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def in_depth(photo: Photo) -> Photo:
    """The photo with `pixels`, sRGB values, of the depth that its file has; its own values are left behind."""
    if photo.own_pixels is None:
        return photo
    pixels = to_8_bit(photo.pixels) if photo.own_pixels.dtype == np.uint8 else photo.pixels
    return replace(photo, pixels=pixels, own_pixels=None, icc_profile=None)


def full_range(values: np.ndarray, bits: int) -> np.ndarray:
    """Whole numbers of `bits` bits -> uint8 (up to 8 bits) or uint16 (up to 16), to nearest."""
    top = (1 << bits) - 1
    if bits in (8, 16):
        return values.astype(np.uint8 if bits == 8 else np.uint16, copy=False)
    full, kind = (255, np.uint8) if bits < 8 else (65535, np.uint16)
    return ((values.astype(np.uint32) * full + top // 2) // top).astype(kind)


def divided_by_alpha(values: np.ndarray) -> np.ndarray:
    """(H, W, 2 or 4), uint8 or uint16, whose colours are multiplied by the alpha behind them -> with plain colours."""
    top, alpha = np.iinfo(values.dtype).max, values[..., -1:]
    colours = np.minimum(np.round(values[..., :-1] * (top / np.maximum(alpha, 1))), top)
    return np.concatenate([colours.astype(values.dtype), alpha], axis=2)


def side_by_side(left: Photo, right: Photo, longest: float = math.inf) -> Photo:
    """One picture of two of equal size, the second below the first where beside it would be wider than `longest` pixels;
    metadata of neither; the right one's colour profile, or sRGB where `pixels` are that."""
    left, right = in_depth(left), in_depth(right)
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
