"""Gains that are wished for in places, made into gains for every pixel of the network's picture: smooth where that is smooth,
with edges where it has edges (guided filter: He, Sun and Tang, TPAMI 2013)."""
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.enhancing.sizes import enlarged_rows
from engine.enhancing.windows import local_fit

RADIUS = 1             # of the windows of the fit, in pixels of the small copies: 3x3
EPSILON = 4e-4         # added to the variance of a window: fainter differences than 0.02 take the gain of their surroundings
ROUNDS = 3             # of the fit, the second and third of what is left (twicing: Tukey, "Exploratory Data Analysis", 1977)
BLACK = 0.02           # added to both sides of a gain: near black it is next to 1
BOUNDS = 0.2, 5.0      # of a gain
WHITE = 0.95           # nothing is raised beyond it: what was not white does not become so


@dataclass(frozen=True)
class GainMap:
    """maps (B, 6, h, w): the gain of R, G and B at a lightness of 0, and how it changes with that of a pixel."""

    maps: Tensor

    def apply(self, picture: Tensor, size: tuple[int, int], top: int) -> Tensor:
        """Rows `top` and following of a picture of `size`, (B, 3, rows, W) in [0, 1], times their gains."""
        maps = enlarged_rows(self.maps, size, top, top + picture.shape[-2])
        light = lightness(picture)
        gain = torch.addcmul(maps[:, :3], maps[:, 3:], light).clamp_(*BOUNDS)
        return gain.clamp_(max=(WHITE / light.clamp(min=BLACK)).clamp_(min=1)).mul_(picture)


def fit_gains(bright: Tensor, gain: Tensor) -> GainMap:
    """From a small copy of the network's picture and the gains wished for there, both (B, 3, h, w)."""
    light, wanted = lightness(bright), bright * gain
    for _ in range(ROUNDS):
        slope, offset = local_fit(light, gain, RADIUS, EPSILON)
        fitted = GainMap(torch.cat([offset, slope], 1))
        gain = gain * gain_to(wanted, fitted.apply(bright, bright.shape[-2:], 0))
    return fitted


def lightness(picture: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 1, H, W), the largest of R, G and B."""
    return picture.amax(1, keepdim=True)


def grayness(picture: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 1, H, W), the smallest of R, G and B over the largest: 1 is gray, as is what is next to black."""
    return gain_to(picture.amin(1, keepdim=True), lightness(picture))


def gain_to(wanted: Tensor, found: Tensor) -> Tensor:
    """wanted / found, both in [0, 1]; next to 1 where both are next to black."""
    return (wanted + BLACK) / (found + BLACK)
