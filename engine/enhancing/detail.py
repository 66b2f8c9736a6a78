"""The photo's own fine structure in the network's picture: a local affine map, per channel, from dark to enhanced.

The network paints each pixel anew from its latents, a little coarser than the camera saw it. How light and colour change
from place to place is smooth, though: fitted to the network's picture (guided filter: He, Sun and Tang, TPAMI 2013), on
smaller copies (He and Sun, "Fast Guided Filter", 2015), and applied to the photo, it takes every pixel of the photo along.
Where the photo's noise would show in the result, brightened as much as everything else, the network's own picture stays; and
of what the photo has more than that picture, each pixel keeps what its noise does not explain (non-negative garrote: Gao,
"Wavelet shrinkage denoising using the non-negative garrote", 1998).
"""
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.enhancing.pictures import luma_of
from engine.enhancing.sizes import enlarged_rows, resized
from engine.enhancing.windows import local_fit, window_mean

RADIUS = 1             # of the windows of the fit, in pixels of these copies: 3x3
EPSILON = 1e-7         # added to the variance of a window: flat ones are not divided by nothing
# Noise as it would show in the result, in luma and in colours: the photo's detail up to the first, none from the second on.
# Grain that has colours is seen, and disliked, sooner than grain that has none.
FAINT, LOUD = (4 / 255, 2 / 255), (8 / 255, 4 / 255)
OF_NOISE = 0.5, 1.0    # detail of so many times that noise, in luma and in colours, is none
CLIPPED = (251 / 255, 254 / 255)  # mean luma of a window: up to the first the photo has all its detail, from the second on none
TINY = 1e-12           # added to squares that are divided by: no change is not divided by nothing
BLACK = 1e-3           # added to the luma that the network's is compared with


@dataclass(frozen=True)
class DetailMap:
    """maps (B, 9, h, w): gain and offset of each channel, the share of the mapped photo in the result's luma and in its
    colours, and the standard deviation of its noise there."""

    maps: Tensor

    def apply(self, picture: Tensor, dark: Tensor, size: tuple[int, int], top: int, amount: float) -> Tensor:
        """Rows `top` and following of a picture of `size`: the network's and the photo's, (B, 3, rows, W) in [0, 1] both, ->
        the network's with the photo's detail, as much of it as `amount` says, 0 to 1."""
        maps = enlarged_rows(self.maps, size, top, top + picture.shape[-2])
        change = torch.addcmul(maps[:, 3:6], maps[:, :3], dark).clamp_(0, 1).sub_(picture)
        of_luma, of_colour, noise = maps[:, 6:].split(1, 1)
        light = luma_of(change)
        colour = beyond_noise(change.sub_(light), noise * OF_NOISE[1]).mul_(of_colour * amount)
        return colour.add_(beyond_noise(light, noise * OF_NOISE[0]).mul_(of_luma * amount)).add_(picture).clamp_(0, 1)


def fit_detail(dark: Tensor, bright: Tensor, noise: Tensor) -> DetailMap:
    """The map from a photo to the network's picture of it, both (B, 3, h, w) in [0, 1], the photo of
    `engine.enhancing.windows.small_copy` and the picture no smaller. noise: standard deviation of that of the photo's own
    pixels (B,), see `noise_of`."""
    exact = torch.float32 if dark.device.type == "mps" else torch.float64  # differences of squares; Apple's GPUs have no more
    bright, dark = resized(bright, dark.shape[-2:]).to(exact), dark.to(exact)
    gain, offset = local_fit(dark, bright, RADIUS, EPSILON)
    mean_dark, mean_bright = window_mean(dark, RADIUS), window_mean(bright, RADIUS)
    shown = noise.view(-1, 1, 1, 1) * luma_of(mean_bright) / (luma_of(mean_dark) + BLACK)  # (B, 1, h, w)
    share = share_of_photo(mean_dark, shown)
    return DetailMap(torch.cat([window_mean(torch.cat([gain, offset], 1), RADIUS), share, shown], 1).float())


def beyond_noise(change: Tensor, noise: Tensor) -> Tensor:
    """A change d (B, C, h, w) less what noise (B, 1, h, w) explains of it, in place: d -> d max(0, 1 - noise^2 / v), v the
    mean of d^2 over the channels."""
    square = change.square().mean(1, keepdim=True)
    return change.mul_((1 - noise * noise / (square + TINY)).clamp_(min=0))


def share_of_photo(mean_dark: Tensor, shown: Tensor) -> Tensor:
    """Window means of the photo (B, 3, h, w) and its noise, brightened as they are (B, 1, h, w), -> (B, 2, h, w), for luma and
    for colours: 1 where the noise is faint, 0 where it is loud, a smooth step between."""
    faint, loud = (shown.new_tensor(levels).view(1, 2, 1, 1) for levels in (FAINT, LOUD))
    whole, gone = CLIPPED
    step = ((loud - shown) / (loud - faint)).clamp_(0, 1) * ((gone - luma_of(mean_dark)) / (gone - whole)).clamp_(0, 1)
    return step * step * (3 - 2 * step)
