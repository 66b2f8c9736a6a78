"""Spatial consistency: the enhanced picture keeps the input's local contrasts (after Guo et al., "Zero-Reference Deep
Curve Estimation for Low-Light Image Enhancement", CVPR 2020, sec. 3.3, in HVR-SSLE's Laplacian form).

    spa = mean |L(p) - L(i)|,  L: Laplacian (4 in the centre, -1 at the four sides, zeros outside) of the channel mean
"""
from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def spa_loss(prediction: Tensor, input: Tensor) -> Tensor:
    """The formula above for two (B, 3, H, W) images in [0, 1]; a 0-d tensor."""
    return laplacian((prediction - input).mean(1)).abs().mean()


def laplacian(gray: Tensor) -> Tensor:
    """(B, H, W) -> (B, H, W). By shifts: a convolution would round float32 to TF32 on a GPU."""
    padded = F.pad(gray, (1, 1, 1, 1))
    sides = padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] + padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]
    return 4 * gray - sides
