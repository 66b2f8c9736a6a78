"""The photo's order of red, green and blue in the network's picture: what is greener than it is blue in the one is so in the
other.

The network now and then swaps two channels of a strong colour: a green ribbon becomes cyan. One curve for the whole scene,
which a camera or an eye that sees more light would answer with, cannot: where the photo says that one channel is the larger,
the picture's follow, as far apart as the scene's curve puts them. What has next to no colour is left alone: which of its
channels is the largest is a matter of noise, and of the colour of the light.
"""
from __future__ import annotations

from torch import Tensor

from engine.enhancing.gains import gain_to, grayness, lightness
from engine.enhancing.light_order import on_one_curve

PAIRS = (0, 0, 1), (1, 2, 2)  # R and G, R and B, G and B
CERTAIN = 0.01         # apart by so much on the scene's curve, as a logarithm, the photo's order of two channels is believed
POWER = 0.7            # of the strength of a colour (1 - grayness): as much of the change is made
AT_MOST = 8.0          # times as far apart as they were, the other way round: what was next to equal stays so
DARKEST = 1e-3         # added to nothing, of which there is no logarithm


def channel_gains(dark: Tensor, bright: Tensor, amount: float) -> Tensor:
    """Gains (B, 3, h, w) that bring the channels of a network's picture of a photo, both (B, 3, h, w) in [0, 1], into the
    photo's order where they are in another, as far as `amount` says, 0 to 1."""
    photo, picture = scene_curve(dark, bright).clamp(min=DARKEST).log(), bright.clamp(min=DARKEST).log()
    first, second = (dark.new_tensor(numbers).long() for numbers in PAIRS)
    told, found = (values[:, first] - values[:, second] for values in (photo, picture))          # (B, 3, h, w), by PAIRS
    against = (-told * found.sign() / CERTAIN).clamp(0, 1)
    share = amount * against * against * (3 - 2 * against) * (1 - grayness(bright)).clamp(min=0) ** POWER
    wanted = told.sign() * told.abs().minimum(AT_MOST * found.abs())
    half = (wanted - found) * share / 2
    change = half.new_zeros(half.shape).index_add_(1, first, half).index_add_(1, second, -half)
    return gain_to(bright * change.exp(), bright)


def scene_curve(dark: Tensor, bright: Tensor) -> Tensor:
    """Each channel of a photo (B, 3, h, w) on the one rising curve that is nearest from its lightness to that of the picture
    (B, 3, h, w)."""
    return on_one_curve(lightness(dark), lightness(bright), at=dark.flatten(1, 2)[:, None]).view(dark.shape)
