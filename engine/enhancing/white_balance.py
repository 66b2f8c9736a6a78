"""Less of the colour cast of what came out of the dark: gray world (Buchsbaum, "A spatial processor model for object colour
perception", 1980), for the light that the network has added and nothing else.

A step of a camera's black level is a colour in a photo of a few levels, and the light of dark rooms is warm; the network
brightens both along with the scene. Each pixel counts, and is changed, by the square of the share of its light that the network
has added: what the photo shows well lit keeps its colours, and says nothing about the cast of the rest.
"""
from __future__ import annotations

from torch import Tensor

from engine.enhancing.gains import gain_to, lightness
from engine.enhancing.pictures import luma_of

POWER = 2  # of the share of a pixel's light that the network has added: so much the pixel counts, and is changed


def balance_gains(dark: Tensor, bright: Tensor, amount: float) -> Tensor:
    """Gains (B, 3, h, w) that take `amount` of the cast off a network's picture of a photo, both (B, 3, h, w) in [0, 1]; at 1
    the mean of what it has made of next to nothing is gray, as light as before (luma)."""
    added = (1 - gain_to(lightness(dark), lightness(bright))).clamp(min=0) ** POWER    # (B, 1, h, w)
    mean = (bright * added).mean((2, 3), keepdim=True)                                 # (B, 3, 1, 1)
    gain = gain_to(mean.mean(1, keepdim=True), mean) ** amount
    gain = gain * gain_to(luma_of(mean), luma_of(mean * gain))
    return gain ** added
