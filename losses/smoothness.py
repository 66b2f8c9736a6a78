"""Smoothness of the enhanced picture: total variation, and a variant that leaves structure alone.

    tv   = 2 (sum dh^2 / ((H - 1) W) + sum dw^2 / (H (W - 1))) / B,  sums over batch and channels
    satv = mean (exp(-10 |gx|) |gx|) + mean (exp(-10 |gy|) |gy|),    g of the luma; d, g: forward differences

tv after Guo et al. (CVPR 2020, sec. 3.3); satv, structure-aware, weighs a difference down where it is large (an edge).
"""
from __future__ import annotations

from torch import Tensor

EDGE_FALLOFF = 10.0


def tv_loss(image: Tensor) -> Tensor:
    """Total variation of (B, 3, H, W) in [0, 1], H and W at least 2; a 0-d tensor."""
    _check("tv", image)
    batch, _, height, width = image.shape
    vertical = image.diff(dim=2).square().sum() / ((height - 1) * width)
    horizontal = image.diff(dim=3).square().sum() / (height * (width - 1))
    return 2 * (vertical + horizontal) / batch


def satv_loss(image: Tensor) -> Tensor:
    """Structure-aware total variation of (B, 3, H, W) RGB in [0, 1], H and W at least 2; a 0-d tensor."""
    _check("satv", image)
    red, green, blue = image.unbind(1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue  # (B, H, W)
    across, down = luma.diff(dim=2).abs(), luma.diff(dim=1).abs()
    return ((-EDGE_FALLOFF * across).exp() * across).mean() + ((-EDGE_FALLOFF * down).exp() * down).mean()


def _check(name: str, image: Tensor) -> None:
    height, width = image.shape[-2:]
    if min(height, width) < 2:
        raise ValueError(f"the loss {name} needs images of at least 2x2 pixels, found {height}x{width}")
