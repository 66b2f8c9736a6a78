"""The photo's order of red, green and blue in the network's picture: what is greener than it is blue in the one is so in the
other, and by as much.

The network paints strong colours paler than they are, and now and then swaps two of their channels: a green ribbon becomes
cyan. One curve for the whole scene, which a camera or an eye that sees more light would answer with, cannot. So where the
photo says which of two channels is the larger, the picture's are brought at least as far apart, in the photo's order, as the
scene's curve puts them. What has next to no colour is left alone: which of its channels is the largest is a matter of noise,
and of the colour of the light.
"""
from __future__ import annotations

from torch import Tensor

from engine.enhancing.gains import gain_to, grayness, lightness
from engine.enhancing.light_order import on_one_curve

PAIRS = (0, 0, 1), (1, 2, 2)  # R and G, R and B, G and B
APART = 1.25           # times as far apart as on the scene's curve, which is of lightness and flatter than that of a colour
CERTAIN = 0.005        # apart by so much on that curve, as a logarithm, the photo's order of two channels is believed
POWER = 1.5            # of the strength of a colour (1 - grayness): as much of the change is made
DARKEST = 1e-3         # what is taken for nothing, of which there is no logarithm


def channel_gains(dark: Tensor, bright: Tensor, amount: float) -> Tensor:
    """Gains (B, 3, h, w) that bring the channels of a network's picture of a photo, both (B, 3, h, w) in [0, 1], into the
    photo's order and as far apart, as far as `amount` says, 0 to 1. None that are farther apart come nearer; all stay as
    light (the largest of R, G and B)."""
    photo, picture = scene_curve(dark, bright).clamp(min=DARKEST).log(), bright.clamp(min=DARKEST).log()
    first, second = (dark.new_tensor(numbers).long() for numbers in PAIRS)
    told, found = (values[:, first] - values[:, second] for values in (photo, picture))          # (B, 3, h, w), by PAIRS
    certain = (told.abs() / CERTAIN).clamp(max=1)
    share = amount * certain * certain * (3 - 2 * certain) * (1 - grayness(bright)) ** POWER
    lacking = (APART * told.abs() - told.sign() * found).clamp(min=0)
    half = told.sign() * lacking * share / 2
    change = half.new_zeros(half.shape).index_add_(1, first, half).index_add_(1, second, -half)
    gain = gain_to(bright * change.exp(), bright)
    return gain * gain_to(lightness(bright), lightness(bright * gain))


def scene_curve(dark: Tensor, bright: Tensor) -> Tensor:
    """Each channel of a photo (B, 3, h, w) on the one rising curve that is nearest from its lightness to that of the picture
    (B, 3, h, w)."""
    return on_one_curve(lightness(dark), lightness(bright), at=dark.flatten(1, 2)[:, None]).view(dark.shape)
