"""The photo's order of light in the network's picture: what is equally light in the one is so in the other.

A camera or an eye that sees more light answers with one curve for the whole scene. The network brightens each place as its
surroundings suggest, and now and then turns round which of two places is the lighter one (lightness order error: Wang et al.,
IEEE TIP 2013). Here the one rising curve that fits its picture best is found (isotonic regression: Barlow et al., 1972), from
the lightness max(R, G, B) of the photo to that of the picture, and each place of the picture is brought to it: as light as the
network made such places on the whole. A share of the change is of each channel's own curve, which evens out casts that vary
over the picture: the grayer a place, the more, as a strong colour is no cast.
"""
from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from torch import Tensor

from engine.enhancing.gains import gain_to, grayness, lightness

GROUPS = 256           # of equally many pixels, in the order of the photo's lightness: the curve goes through their means
OF_CHANNELS = 0.35     # share of the change that is of the curves of R, G and B by themselves where a picture is gray; in
                       # colours less, by the root of their smallest over their largest of R, G and B: the rest is of lightness


def order_gains(dark: Tensor, bright: Tensor, amount: float) -> Tensor:
    """Gains (B, 3, h, w) that bring a network's picture of a photo, both (B, 3, h, w) in [0, 1], to the photo's order of light,
    as far as `amount` says, 0 to 1."""
    light = lightness(bright)
    of_light = gain_to(on_one_curve(lightness(dark), light), light)
    of_channels = gain_to(on_one_curve(dark, bright), bright)
    share = amount * OF_CHANNELS * grayness(bright).sqrt()
    return of_light ** (amount - share) * of_channels**share


def on_one_curve(dark: Tensor, bright: Tensor, at: Tensor | None = None) -> Tensor:
    """dark, bright (B, C, h, w), of any range: what rising curve of `dark` is nearest to `bright`, one for each of B and C.
    at (B, C, ...), without it `dark`: the curve's values there."""
    x, y = (values.flatten(2).cpu().double().numpy() for values in (dark, bright))
    places = x if at is None else at.flatten(2).cpu().double().numpy()
    fitted = np.stack([[np.interp(place, *rising_curve(*both)) for *both, place in zip(*photo, strict=True)]
                       for photo in zip(x, y, places, strict=True)])
    return torch.from_numpy(fitted).to(bright).view(bright.shape if at is None else at.shape)


def rising_curve(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The points (n,), (n,) of a curve that nowhere falls and is nearest to y of x, both (m,): through the means of GROUPS."""
    edges = np.unique(np.quantile(x, np.linspace(0, 1, GROUPS + 1)[1:-1]))
    group = np.searchsorted(edges, x, side="right")
    count = np.bincount(group)
    there = count > 0
    mean_x, mean_y = (np.bincount(group, values)[there] / count[there] for values in (x, y))
    return mean_x, isotonic_regression(mean_y, weights=count[there]).x
