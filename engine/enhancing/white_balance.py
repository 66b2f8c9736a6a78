"""Less of the colour cast of what came out of the dark: gray world (Buchsbaum, "A spatial processor model for object colour
perception", 1980), for the light that the network has added and nothing else.

A step of a camera's black level is a colour in a photo of a few levels, and the light of dark rooms is warm; the network
brightens both along with the scene. Each pixel counts, and is changed, by the square of the share of its light that the network
has added: what the photo shows well lit keeps its colours, and says nothing about the cast of the rest. And the grayer it is,
the more it counts: a strong colour is no cast.
"""
from __future__ import annotations

from torch import Tensor

from engine.enhancing.gains import gain_to, grayness, lightness
from engine.enhancing.pictures import luma_of

POWER = 2  # of the share of a pixel's light that the network has added: so much the pixel counts, and is changed
GRAY_COUNTS = 2  # power of how gray a pixel is: so much it counts
TINY = 1e-9  # a sum that is divided by is no smaller


def balance_gains(dark: Tensor, bright: Tensor, amount: float) -> Tensor:
    """Gains (B, 3, h, w) that take `amount` of the cast off a network's picture of a photo, both (B, 3, h, w) in [0, 1]; at 1
    what is next to gray of what it has made of next to nothing is gray in the mean, as light as before (luma)."""
    added = (1 - gain_to(lightness(dark), lightness(bright))).clamp(min=0) ** POWER    # (B, 1, h, w)
    counts = added * grayness(bright) ** GRAY_COUNTS
    mean = (bright * counts).sum((2, 3), keepdim=True) / counts.sum((2, 3), keepdim=True).clamp(min=TINY)
    mean = mean * added.mean((2, 3), keepdim=True)                                     # (B, 3, 1, 1)
    gain = gain_to(mean.mean(1, keepdim=True), mean) ** amount
    gain = gain * gain_to(luma_of(mean), luma_of(mean * gain))
    return gain**added
