"""The exposure of normal photos: a change of the training's references beyond the published recipe, off by default.

What little light a dark photo has says next to nothing about how bright its scene was: one that was dim and lost little looks
like one that was bright and lost much, and a network that is trained on both answers with the mean of the two, so that the
darkest photos stay too dark. Cameras do not ask the scene either: they expose to a mean brightness. So does this. Before
anything darkens the photo y, its tone is bent,

    y <- y^g,   g in [1/2, 2] such that the mean of y, all channels alike, is as near to m as it gets

with m uniform in `normal_mean_range`, of sRGB values in [0, 1].
"""
from __future__ import annotations

import numpy as np

from data.pairs.degradation import LEVELS

MOST = 2.0        # largest exponent, and the smallest is 1 / MOST: beyond that a photo is no longer one
HALVINGS = 20     # of the interval of log g, until it is far finer than a level of the mean


def exposed(normal: np.ndarray, mean: float) -> np.ndarray:
    """The formula above with m = `mean` in [0, 1]: uint8 of any shape -> the same."""
    share = np.bincount(normal.ravel(), minlength=256) / max(normal.size, 1)
    low, high = -np.log(MOST), np.log(MOST)
    for _ in range(HALVINGS):  # the mean falls as g grows
        middle = (low + high) / 2
        low, high = (middle, high) if (LEVELS ** np.exp(middle)) @ share > mean else (low, middle)
    return np.round(255.0 * LEVELS ** np.exp((low + high) / 2)).astype(np.uint8)[normal]
