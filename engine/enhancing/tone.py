"""What a person may change about a result: its brightness in stops, its saturation."""
from __future__ import annotations

import torch
from torch import Tensor

from engine.enhancing.pictures import luma_of

ROLL_OFF = 2.0  # how late the gain gives way to white: 1 from the darkest tones on, infinity only at white itself


def adjusted(picture: Tensor, brightness: float, saturation: float) -> Tensor:
    """sRGB (B, 3, H, W) in [0, 1] -> the same with other saturation, then other brightness; 1 and 0 change nothing."""
    if saturation != 1:
        picture = saturated(picture, saturation)
    return brightened(picture, brightness) if brightness else picture


def brightened(picture: Tensor, stops: float) -> Tensor:
    """sRGB (B, 3, H, W) in [0, 1] -> its light times 2^stops, rolling off before white; colours keep their ratios.

    Of the largest channel m of each pixel in linear light: f(m) = g m / (1 + (g^p - 1) m^p)^(1/p) with g = 2^stops and p =
    ROLL_OFF. f has the slope g at black and keeps white, so nothing is clipped; -stops undoes stops.
    """
    gain = 2.0**stops
    light = _to_linear(picture)
    brightest = light.amax(1, keepdim=True)                                                         # (B, 1, H, W)
    gains = gain / (1 + (gain**ROLL_OFF - 1) * brightest**ROLL_OFF) ** (1 / ROLL_OFF)
    return _from_linear(light * gains).clamp_(0, 1)


def saturated(picture: Tensor, factor: float) -> Tensor:
    """sRGB (B, 3, H, W) in [0, 1] -> its differences from gray of the same luma times `factor`; 0 is gray.

    A colour that would leave [0, 1] goes as far as it can: hue and luma stay.
    """
    luma = luma_of(picture)                                                                         # (B, 1, H, W)
    colour = picture - luma
    if factor > 1:
        tiny = torch.finfo(picture.dtype).tiny
        up = (1 - luma) / colour.amax(1, keepdim=True).clamp(min=tiny)
        down = luma / (-colour.amin(1, keepdim=True)).clamp(min=tiny)
        return (luma + colour * torch.minimum(up, down).clamp(1, factor)).clamp_(0, 1)
    return (luma + colour * factor).clamp_(0, 1)


def _to_linear(srgb: Tensor) -> Tensor:
    """IEC 61966-2-1."""
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _from_linear(light: Tensor) -> Tensor:
    return torch.where(light <= 0.0031308, light * 12.92, 1.055 * light.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)
