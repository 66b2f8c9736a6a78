"""Seams: no more gradient at the borders of the attention windows than the reference has there (of this project).

    seams = sum over k and axes of (mean over the batch of (c_k(p) - c_k(r)))^2,   c_k(x) = g_k(x) / (mean of g over k + floor)

g_k is the mean absolute difference between neighbours along an axis whose second position is k modulo 8, the window's size.
A picture without seams has c_k near 1 for each k. Squared after the mean over the batch: what one photo's own edges add
to a c_k differs from photo to photo, what the network adds does not.
"""
from __future__ import annotations

import torch
from torch import Tensor

PERIOD = 8               # the side of Swin2SR's windows here; those shifted by half of it have borders at k = 4
FLOOR = 0.5 / 255        # half an 8-bit level: keeps the ratio finite on flat ground


def seams_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """The formula above for two (B, 3, H, W) images in [0, 1]; a 0-d tensor. Raises ValueError below 9x9 pixels."""
    if min(prediction.shape[-2:]) <= PERIOD:
        raise ValueError(f"the loss seams needs images of at least {PERIOD + 1}x{PERIOD + 1} pixels, found "
                         f"{prediction.shape[-2]}x{prediction.shape[-1]}")
    return sum(((profile(prediction, axis) - profile(target, axis)).mean(0).square().sum() for axis in (-1, -2)),
               start=prediction.new_zeros(()))


def profile(image: Tensor, axis: int) -> Tensor:
    """c_k along the axis -1 or -2 of (B, 3, H, W) in [0, 1]: (B, 8), without unit."""
    steps = image.diff(dim=axis).abs().mean((1, -3 - axis))               # (B, H - 1 or W - 1); entry i: from i to i + 1
    by_position = torch.stack([steps[:, (k - 1) % PERIOD:: PERIOD].mean(1) for k in range(PERIOD)], 1)
    return by_position / (by_position.mean(1, keepdim=True) + FLOOR)
