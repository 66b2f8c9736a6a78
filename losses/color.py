"""Colour constancy: under the gray-world assumption the channels of a good photo have about equal means
(Guo et al., "Zero-Reference Deep Curve Estimation for Low-Light Image Enhancement", CVPR 2020, sec. 3.3).

    color = mean over the batch of (r - g)^2 + (r - b)^2 + (g - b)^2,  with r, g, b the means of an image's channels
"""
from __future__ import annotations

from torch import Tensor


def color_loss(image: Tensor) -> Tensor:
    """The formula above for (B, 3, H, W) RGB in [0, 1]; a 0-d tensor."""
    red, green, blue = image.mean((2, 3)).unbind(1)  # (B,) each
    return ((red - green).square() + (red - blue).square() + (green - blue).square()).mean()
