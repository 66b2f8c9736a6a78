"""Colour fidelity: distance of the saturation and of the two colour differences (HVR-SSLE's `sat`).

With p the prediction and t the target,

    sat = 0.1 mean |S(p) - S(t)| + 0.5 mean (|Cb(p) - Cb(t)| + |Cr(p) - Cr(t)|)
    S = (max - min) / (max + 1e-6) over the channels, Y = .299 R + .587 G + .114 B, Cb = B - Y, Cr = R - Y

S changes by 1e6 per unit of brightness at black, so its gradients reach 1e3 and more on dark pixels: finite everywhere,
but to be clipped. The second mean alone is the loss `chroma`: colour without those gradients.
"""
from __future__ import annotations

from torch import Tensor

SATURATION_WEIGHT, CHROMA_WEIGHT = 0.1, 0.5
EPSILON = 1e-6


def sat_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """The formula above for (B, 3, H, W) RGB in [0, 1]; a 0-d tensor."""
    return SATURATION_WEIGHT * saturation_distance(prediction, target) + CHROMA_WEIGHT * chroma_distance(
        prediction, target
    )


def saturation_distance(prediction: Tensor, target: Tensor) -> Tensor:
    """mean |S(prediction) - S(target)|; (B, 3, H, W) in [0, 1]; a 0-d tensor."""
    return (saturation(prediction) - saturation(target)).abs().mean()


def chroma_distance(prediction: Tensor, target: Tensor) -> Tensor:
    """mean (|Cb - Cb'| + |Cr - Cr'|); (B, 3, H, W) in [0, 1]; a 0-d tensor. Cb and Cr are linear in the image."""
    difference = prediction - target                      # (B, 3, H, W)
    red, green, blue = difference.unbind(1)               # (B, H, W) each
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return ((blue - luma).abs() + (red - luma).abs()).mean()


def saturation(image: Tensor) -> Tensor:
    """HSV saturation, (B, 3, H, W) in [0, 1] -> (B, H, W) in [0, 1).

    `amax` and `amin` share the gradient among equal channels, so gray and black pixels have finite ones.
    """
    largest, smallest = image.amax(1), image.amin(1)      # (B, H, W)
    return (largest - smallest) / (largest + EPSILON)
