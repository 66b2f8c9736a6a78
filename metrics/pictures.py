"""What the metrics of two pictures share: the check of their form, and their levels band by band."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]  # (H, W, 3) RGB: the saved 8-bit picture
BAND_ROWS = 64               # small enough for the processor's cache, and for pictures of any size


def check_picture(picture: Any, what: str) -> None:
    """Raises ValueError unless `picture` is a uint8 array (H, W, 3) with at least one pixel."""
    if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8 or picture.shape[2:] != (3,) or not picture.size:
        found = f"{picture.dtype} {picture.shape}" if isinstance(picture, np.ndarray) else type(picture).__name__
        raise ValueError(f"the {what} must be a uint8 array (H, W, 3) of RGB levels, found {found}")


def check_pair(output: Any, reference: Any) -> None:
    """Raises ValueError unless both are pictures of one size."""
    check_picture(output, "output")
    check_picture(reference, "reference")
    if output.shape != reference.shape:
        sizes = [f"{picture.shape[1]}x{picture.shape[0]}" for picture in (output, reference)]
        raise ValueError(f"output and reference must have one size, found {sizes[0]} and {sizes[1]} (width x height)")


def bands(
    output: Picture, reference: Picture, gain: float, halo: int = 0
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Both pictures as float64 levels (rows, W, 3) in [0, 255], a band of rows at a time.

    The output is multiplied by `gain` and clipped. Bands overlap by `2 * halo` rows, so that filters of that radius see
    every window that lies inside the picture, once.
    """
    height = output.shape[0]
    for top in range(halo, height - halo, BAND_ROWS):
        rows = slice(top - halo, min(top + BAND_ROWS, height - halo) + halo)
        levels = output[rows].astype(np.float64)
        if gain != 1.0:
            np.minimum(np.multiply(levels, gain, out=levels), 255.0, out=levels)
        yield levels, reference[rows].astype(np.float64)
