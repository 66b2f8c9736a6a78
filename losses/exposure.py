"""Exposure control: local brightness near a wanted level (Guo et al., "Zero-Reference Deep Curve Estimation for
Low-Light Image Enhancement", CVPR 2020, sec. 3.3). No reference picture takes part.

    exposure = mean |m - E|,  exposure_l2 = mean (m - E)^2
    m: mean over the channels and over each of the non-overlapping 16x16 patches; E: `exposure_mean`
"""
from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

PATCH = 16


def exposure_loss(image: Tensor, exposure_mean: float) -> Tensor:
    """L1 form; (B, 3, H, W) in [0, 1], H and W at least 16; a 0-d tensor."""
    return (patch_means(image) - exposure_mean).abs().mean()


def exposure_l2_loss(image: Tensor, exposure_mean: float) -> Tensor:
    """L2 form; (B, 3, H, W) in [0, 1], H and W at least 16; a 0-d tensor."""
    return (patch_means(image) - exposure_mean).square().mean()


def patch_means(image: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 1, H // 16, W // 16); the rest of a side that 16 does not divide is left out.

    Raises ValueError when no patch fits.
    """
    height, width = image.shape[-2:]
    if min(height, width) < PATCH:
        raise ValueError(
            f"the losses exposure and exposure_l2 average {PATCH}x{PATCH} patches: the images need sides of at least "
            f"{PATCH} pixels, found {height}x{width}"
        )
    return F.avg_pool2d(image.mean(1, keepdim=True), PATCH)
