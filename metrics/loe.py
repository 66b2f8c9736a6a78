"""Lightness order error: how often an enhancement turns round which of two pixels is the lighter one (Wang, Zheng, Hu and Li,
"Naturalness preserved enhancement algorithm for non-uniform illumination images", IEEE TIP 22(9), 2013, sec. IV-B).

    LOE = (1/m) sum_x RD(x),    RD(x) = sum_y  U(L(x), L(y)) xor U(L'(x), L'(y)),    U(a, b) = [a >= b]

L and L' are the lightness (the largest of R, G, B) of the input and of the result, m the number of pixels. As there, both
are first made smaller, to 50 pixels along the shorter side, here with the antialiased bicubic filter that MATLAB's imresize
has. 0 is an order wholly kept. The sum is not divided by m a second time, so a value is a number of pixels: it is compared
among results of the same pictures only.
"""
from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from metrics.pictures import Picture, check_pair

DEFINITION = ("lightness order error against the input (Wang et al. 2013): mean over pixels of the number of pixels whose "
              "order in lightness, max(R, G, B), is not the input's; at 50 pixels along the shorter side")
SHORTER_SIDE = 50
BLOCK = 256  # pixels compared with all others at a time


def loe(output: Picture, source: Picture) -> float:
    """Of the result and the input it was made from, uint8 (H, W, 3) of one size; 0 or more, lower is better.

    Raises ValueError for other arrays or different sizes.
    """
    check_pair(output, source)
    before, after = _lightness(source), _lightness(output)
    differing = sum(
        int(np.count_nonzero((before[start : start + BLOCK, None] >= before) != (after[start : start + BLOCK, None] >= after)))
        for start in range(0, before.size, BLOCK))
    return differing / before.size


def _lightness(picture: Picture) -> NDArray[np.uint8]:
    """max(R, G, B) of the smaller picture, uint8 (m,)."""
    lightness = Image.fromarray(picture.max(2))
    scale = SHORTER_SIDE / min(lightness.size)
    width, height = (round(side * scale) for side in lightness.size)
    return np.asarray(lightness.resize((width, height), Image.Resampling.BICUBIC)).ravel()
