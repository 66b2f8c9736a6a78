"""The exposure of normal photos: two changes of the training's references beyond the published recipe, off by default.

What little light a dark photo has says next to nothing about how bright its scene was: one that was dim and lost little looks
like one that was bright and lost much, and a network that is trained on both answers with the mean of the two, so that the
darkest photos stay too dark. Cameras do not ask the scene either: they expose to a mean brightness. So does this. Before
anything darkens the photo y, its tone is bent,

    y <- y^g,   g in [1/2, 2] such that the mean of y, all channels alike, is as near to m as it gets

with m uniform in `normal_mean_range`, of sRGB values in [0, 1].

What the dark photo x does say is the other way round: one that still has much light was not bright as a scene, since somebody
took it as it is, and the darkest are of scenes that had to be exposed up most. `reference_mean` = [a, b] exposes the reference
after x was made from it, to

    m = (1 - w) mean(y) + w f(mean(x)),   f(v) = a + (b - a) log(255 v) / log(255),
    w = min(1, 2 max(0, 1 - q(x) / q(y)))

f is a for a mean of one level (and below), b for white, and changes by as much with each stop between. q is the brightest
part's value, the 95th percentile: w is 1 where it lost half, or more, and 0 where it lost nothing: photos that are as they
should be stay so, and so does what is lit in an unevenly lit one.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data.pairs.degradation import LEVELS

MOST = 2.0        # largest exponent, and the smallest is 1 / MOST: beyond that a photo is no longer one
BRIGHTEST = 95    # percentile of the brightest part, which tells whether anything in a photo has kept its light
HALVINGS = 20     # of the interval of log g, until it is far finer than a level of the mean


def exposed(normal: np.ndarray, mean: float) -> np.ndarray:
    """The formula above with m = `mean` in [0, 1]: uint8 of any shape -> the same."""
    share = np.bincount(normal.ravel(), minlength=256) / max(normal.size, 1)
    low, high = -np.log(MOST), np.log(MOST)
    for _ in range(HALVINGS):  # the mean falls as g grows
        middle = (low + high) / 2
        low, high = (middle, high) if (LEVELS ** np.exp(middle)) @ share > mean else (low, middle)
    return np.round(255.0 * LEVELS ** np.exp((low + high) / 2)).astype(np.uint8)[normal]


def reference(low: np.ndarray, normal: np.ndarray, means: Sequence[float]) -> np.ndarray:
    """What the network is to make of the dark photo `low`: the formula above with [a, b] = `means`; uint8 of one shape."""
    dark, white = means
    kept = np.percentile(low, BRIGHTEST) / max(np.percentile(normal, BRIGHTEST), 1.0)
    weight = min(2.0 * max(1.0 - kept, 0.0), 1.0)
    way = np.log(max(low.mean(), 1.0)) / np.log(255.0)  # of the stops from one level to white, so many are passed
    return exposed(normal, (1.0 - weight) * normal.mean() / 255.0 + weight * (dark + (white - dark) * way))
