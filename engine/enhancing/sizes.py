"""Smaller and larger copies of a picture, in bands of rows: little memory, and the same numbers whatever the bands."""
from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.enhancing.pictures import rows_of, size_of

BAND_PIXELS = 2**18  # of a band; a few copies of it in float32 fit a CPU's cache


def working_size(height: int, width: int, megapixels: float) -> tuple[int, int]:
    """Height and width of the largest copy of at most so many megapixels in nearly the same shape; 0: as it is."""
    scale = math.sqrt(megapixels * 1e6 / (height * width))
    return (height, width) if not 0 < scale < 1 else (max(int(height * scale), 1), max(int(width * scale), 1))


def bands(height: int, width: int) -> Iterator[tuple[int, int]]:
    """(top, bottom) of the bands that make up a picture."""
    rows = max(BAND_PIXELS // width, 1)
    return ((top, min(top + rows, height)) for top in range(0, height, rows))


def shrunk(image: np.ndarray | Tensor, size: tuple[int, int], device: torch.device) -> Tensor:
    """A checked picture (see `pictures`) -> float32 (B, 3, *size) in [0, 1] on the device, each pixel a mean of all that it
    stands for (triangle filter, as wide as the step). Its own size: all its pixels, unchanged."""
    height, width = size_of(image)
    if size == (height, width):
        return rows_of(image, 0, height, device)
    narrow = [resized(rows_of(image, top, bottom, device), (bottom - top, size[1])) for top, bottom in bands(height, width)]
    return resized(torch.cat(narrow, -2), size).clamp_(0, 1)


def resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, H, W) -> (B, C, *size), no smaller than 1x1 and no larger than x; values as in `shrunk`."""
    return F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)


def enlarged_rows(x: Tensor, size: tuple[int, int], top: int, bottom: int) -> Tensor:
    """Rows `top` to `bottom` of x (B, C, h, w) enlarged to `size`, bilinearly: (B, C, bottom - top, size[1]). Never beyond the
    values around a pixel. A view where x has that size already."""
    height, width = size
    if x.shape[-2:] == size:
        return x[..., top:bottom, :]
    place = (torch.arange(top, bottom, device=x.device, dtype=torch.float64) + 0.5) * (x.shape[-2] / height) - 0.5
    place.clamp_(0, x.shape[-2] - 1)
    above = place.floor().long()
    below = (above + 1).clamp_(max=x.shape[-2] - 1)
    share = (place - above).to(x.dtype)[:, None]
    rows = torch.lerp(x[..., above, :], x[..., below, :], share)
    return F.interpolate(rows.flatten(1, 2), width, mode="linear", align_corners=False).unflatten(1, rows.shape[1:3])
