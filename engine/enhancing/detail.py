"""The photo's own fine structure in the network's picture: a local affine map, per channel, from dark to enhanced.

The network paints each pixel anew from its latents, a little coarser than the camera saw it. How light and colour change
from place to place is smooth, though: fitted to the network's picture (guided filter: He, Sun and Tang, TPAMI 2013), on a
smaller copy of it (He and Sun, "Fast Guided Filter", 2015), and applied to the photo, it takes every pixel of the photo
along. Where the photo has next to no light its fine structure is noise, and the network's own picture stays.
"""
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from data.files.photo import LUMA
from engine.enhancing.sizes import enlarged_rows, resized

SHRINK = 2             # the map is fitted on copies of 1 / SHRINK of the sides: there, the network's picture is as fine
RADIUS = 4             # of the windows of the fit, in pixels of these copies: 9x9
EPSILON = 1e-6         # added to the variance of a window: what varies less is not followed
DARK, LIGHT = 0.02, 0.1  # luma of the surroundings: up to the first the network's picture, from the second on the photo's


@dataclass(frozen=True)
class DetailMap:
    """maps (B, 7, h, w): gain and offset of each channel, and the share of the mapped photo in the result."""

    maps: Tensor

    def apply(self, picture: Tensor, dark: Tensor, size: tuple[int, int], top: int, amount: float) -> Tensor:
        """Rows `top` and following of a picture of `size`: the network's and the photo's, (B, 3, rows, W) in [0, 1] both, ->
        the network's with the photo's detail, as much of it as `amount` says, 0 to 1."""
        maps = enlarged_rows(self.maps, size, top, top + picture.shape[-2])
        mapped = torch.addcmul(maps[:, 3:6], maps[:, :3], dark).clamp_(0, 1)
        return torch.lerp(picture, mapped, maps[:, 6:] * amount)


def guide_of(dark: Tensor) -> Tensor:
    """Photo (B, 3, H, W) -> the copy that a map is fitted on, (B, 3, h, w)."""
    return resized(dark, tuple(max(side // SHRINK, 1) for side in dark.shape[-2:]))


def fit_detail(dark: Tensor, bright: Tensor) -> DetailMap:
    """The photo's copy by `guide_of`, (B, 3, h, w), and the network's picture of any larger size, both in [0, 1] -> the map
    from one to the other."""
    bright = resized(bright, dark.shape[-2:])
    mean_dark, mean_bright = window_mean(dark), window_mean(bright)
    variance = window_mean(dark * dark) - mean_dark * mean_dark
    covariance = window_mean(dark * bright) - mean_dark * mean_bright
    gain = covariance / (variance.clamp_(min=0) + EPSILON)
    offset = mean_bright - gain * mean_dark
    return DetailMap(torch.cat([window_mean(torch.cat([gain, offset], 1)), share_of_photo(mean_dark)], 1))


def share_of_photo(mean_dark: Tensor) -> Tensor:
    """Window means of the photo (B, 3, h, w) -> smooth step of their luma (B, 1, h, w), 0 where it has next to no light."""
    weights = mean_dark.new_tensor(LUMA).view(1, 3, 1, 1)
    step = (((mean_dark * weights).sum(1, keepdim=True) - DARK) / (LIGHT - DARK)).clamp_(0, 1)
    return step * step * (3 - 2 * step)


def window_mean(x: Tensor) -> Tensor:
    """(B, C, h, w) -> means over windows of 2 RADIUS + 1 pixels; at the edges over what there is of a window."""
    side = 2 * RADIUS + 1
    x = F.avg_pool2d(x, (side, 1), 1, (RADIUS, 0), count_include_pad=False)
    return F.avg_pool2d(x, (1, side), 1, (0, RADIUS), count_include_pad=False)
