"""The photo's order of light in the network's picture: what is equally light in the one is so in the other.

A camera or an eye that sees more light answers with one curve for the whole scene. The network brightens each place as its
surroundings suggest, and now and then turns round which of two places is the lighter one (lightness order error: Wang et al.,
IEEE TIP 2013). Here the one rising curve that fits its picture best is found (isotonic regression: Barlow et al., 1972), from
the lightness max(R, G, B) of the photo to that of the picture, and each place of the picture is brought to it: as light as the
network made such places on the whole. The gain varies with the picture's own edges (guided filter: He, Sun and Tang, TPAMI
2013), so the photo's noise does not come along. A share of the change is of each channel's own curve, which evens out casts
that vary over the picture.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from torch import Tensor

from engine.enhancing.sizes import enlarged_rows, resized
from engine.enhancing.windows import local_fit

GROUPS = 256           # of equally many pixels, in the order of the photo's lightness: the curve goes through their means
OF_CHANNELS = 0.3      # share of the change that is of the curves of R, G and B by themselves; the rest is of the lightness
RADIUS = 1             # of the windows of the fit, in pixels of the small copies: 3x3
EPSILON = 1e-3         # added to the variance of a window: fainter differences than 0.03 take the gain of their surroundings
BLACK = 0.02           # added to both sides of a gain: near black it is next to 1
GAINS = 0.2, 5.0       # the least and the largest
WHITE = 0.95           # nothing is raised beyond it: what was not white does not become so


@dataclass(frozen=True)
class LightOrder:
    """maps (B, 6, h, w): the gain of R, G and B at a lightness of 0, and how it changes with that of a pixel."""

    maps: Tensor

    def apply(self, picture: Tensor, size: tuple[int, int], top: int) -> Tensor:
        """Rows `top` and following of a picture of `size`, (B, 3, rows, W) in [0, 1], in the photo's order of light."""
        maps = enlarged_rows(self.maps, size, top, top + picture.shape[-2])
        light = lightness(picture)
        gain = torch.addcmul(maps[:, :3], maps[:, 3:], light).clamp_(*GAINS)
        return gain.minimum((WHITE / light.clamp(min=BLACK)).clamp_(min=1)).mul_(picture)


def fit_light_order(dark: Tensor, bright: Tensor, amount: float) -> LightOrder:
    """The gains from the network's picture to the same in a photo's order of light, as far as `amount` says, 0 to 1.

    dark: the photo (B, 3, h, w) in [0, 1], of `engine.enhancing.windows.map_size`; bright: the network's picture, no smaller.
    """
    bright = resized(bright, dark.shape[-2:])
    light = lightness(bright)
    gain = ((on_one_curve(lightness(dark), light) + BLACK) / (light + BLACK)) ** (amount * (1 - OF_CHANNELS))
    gain = gain * ((on_one_curve(dark, bright) + BLACK) / (bright + BLACK)) ** (amount * OF_CHANNELS)
    slope, offset = local_fit(light, gain, RADIUS, EPSILON)
    return LightOrder(torch.cat([offset, slope], 1))


def lightness(picture: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 1, H, W), the largest of R, G and B, as the lightness order error has it."""
    return picture.amax(1, keepdim=True)


def on_one_curve(dark: Tensor, bright: Tensor) -> Tensor:
    """Both (B, C, h, w), of any range: what rising curve of `dark` is nearest to `bright`, one for each of B and C."""
    x, y = (values.flatten(2).cpu().double().numpy() for values in (dark, bright))
    fitted = np.stack([[rising_curve(*both) for both in zip(*photo, strict=True)] for photo in zip(x, y, strict=True)])
    return torch.from_numpy(fitted).to(bright).view(bright.shape)


def rising_curve(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values (n,) at x of a curve that nowhere falls and is nearest to y, both (n,): between the means of GROUPS."""
    edges = np.unique(np.quantile(x, np.linspace(0, 1, GROUPS + 1)[1:-1]))
    group = np.searchsorted(edges, x, side="right")
    count = np.bincount(group)
    there = count > 0
    mean_x, mean_y = (np.bincount(group, values)[there] / count[there] for values in (x, y))
    return np.interp(x, mean_x, isotonic_regression(mean_y, weights=count[there]).x)
