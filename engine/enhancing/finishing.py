"""From the network's picture, of whatever size, to the result: the photo's size, light, white balance, detail, tone and
strength, band by band."""
from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.enhancing.channel_order import channel_gains
from engine.enhancing.detail import DetailMap, fit_detail
from engine.enhancing.gains import GainMap, fit_gains
from engine.enhancing.light_order import order_gains
from engine.enhancing.noise import noise_of
from engine.enhancing.pictures import Picture, put_rows, rows_of, size_of
from engine.enhancing.sizes import bands, enlarged_rows, resized, shrunk
from engine.enhancing.tone import adjusted
from engine.enhancing.white_balance import balance_gains
from engine.enhancing.windows import small_copy


def finished(image: Picture, bright: Tensor, small: Tensor | None = None, *, strength: float = 1.0, light_order: float = 0.0,
             white_balance: float = 0.0, detail: float = 0.0, brightness: float = 0.0, saturation: float = 1.0) -> Picture:
    """The result for a checked photo (see `pictures`), of its size and kind.

    bright: the network's picture of it (B, 3, h, w) in [0, 1], of the photo's size or smaller. small: the `small_copy` of what
    the network was shown; None: it is made anew. The rest: see `engine.enhancing.enhancement.enhance`; with no more than these
    the result is the network's picture, bit for bit.
    """
    size = size_of(image)
    gains, own = maps_of(image, bright, small, light_order, white_balance, detail)
    result: Any = torch.empty_like(image) if isinstance(image, Tensor) else np.empty_like(image)
    for top, bottom in bands(*size):
        photo = rows_of(image, top, bottom, bright.device)
        picture = enlarged_rows(bright, size, top, bottom)
        if gains is not None:
            picture = gains.apply(picture, size, top)
        if own is not None:
            picture = own.apply(picture, photo, size, top, detail)
        picture = adjusted(picture, brightness, saturation)
        put_rows(result, top, torch.lerp(photo, picture, strength) if strength < 1 else picture)
    return result


def maps_of(image: Picture, bright: Tensor, small: Tensor | None, light_order: float, white_balance: float,
            detail: float) -> tuple[GainMap | None, DetailMap | None]:
    """What a checked photo does to the network's picture of it (B, 3, h, w), and then to what comes of that; None: nothing,
    as amounts of 0 say."""
    if not (light_order or white_balance or detail):
        return None, None
    dark = small_copy(shrunk(image, bright.shape[-2:], bright.device)) if small is None else small
    bright = resized(bright, dark.shape[-2:])
    gains = None
    if light_order or white_balance:
        gains = fit_gains(bright, gains_of(dark, bright, light_order, white_balance))
        bright = gains.apply(bright, dark.shape[-2:], 0)
    return gains, fit_detail(dark, bright, noise_of(image, bright.device)) if detail else None


def gains_of(dark: Tensor, bright: Tensor, light_order: float, white_balance: float) -> Tensor:
    """Gains (B, 3, h, w) for the network's picture of a photo, both (B, 3, h, w) in [0, 1]. Order comes before the balance,
    which is of the scene as the result shows it, and once more after it: what has been balanced has another order of light."""
    each_time = 1 - math.sqrt(1 - light_order)  # what is left after both is 1 - light_order
    gain = order_gains(dark, bright, each_time) if light_order else torch.ones_like(bright)
    if white_balance:
        gain = gain * balance_gains(dark, bright * gain, white_balance)
    if light_order:
        gain = gain * channel_gains(dark, bright * gain, light_order)
        gain = gain * order_gains(dark, bright * gain, each_time)
    return gain
