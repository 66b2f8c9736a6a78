"""From the network's picture, of whatever size, to the result: the photo's size, detail, tone and strength, band by band."""
from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.enhancing.detail import DetailMap, fit_detail, map_size
from engine.enhancing.noise import noise_of
from engine.enhancing.pictures import Picture, put_rows, rows_of, size_of
from engine.enhancing.sizes import bands, enlarged_rows, shrunk
from engine.enhancing.tone import adjusted


def finished(image: Picture, bright: Tensor, *, strength: float = 1.0, detail: float = 0.0, brightness: float = 0.0,
             saturation: float = 1.0) -> Picture:
    """The result for a checked photo (see `pictures`), of its size and kind.

    bright: the network's picture of it (B, 3, h, w) in [0, 1], of the photo's size or smaller. The rest: see
    `engine.enhancing.enhancement.enhance`; with no more than these the result is the network's picture, bit for bit.
    """
    size = size_of(image)
    own = detail_map(image, bright) if detail else None
    result: Any = torch.empty_like(image) if isinstance(image, Tensor) else np.empty_like(image)
    for top, bottom in bands(*size):
        photo = rows_of(image, top, bottom, bright.device)
        picture = enlarged_rows(bright, size, top, bottom)
        if own is not None:
            picture = own.apply(picture, photo, size, top, detail)
        picture = adjusted(picture, brightness, saturation)
        put_rows(result, top, torch.lerp(photo, picture, strength) if strength < 1 else picture)
    return result


def detail_map(image: Picture, bright: Tensor) -> DetailMap:
    """The map from a checked photo to the network's picture of it (B, 3, h, w)."""
    size = map_size(bright.shape[-2], bright.shape[-1])
    return fit_detail(shrunk(image, size, bright.device), bright, noise_of(image, bright.device))
