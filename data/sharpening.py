"""Sharper targets: what the network cannot know it leaves out, so it is asked for a little more of the finest structure.

Source: Real-ESRGAN (Wang et al., ICCVW 2021, sec. 3.4) sharpens its targets by unsharp masking, too. Not in the paper; off by
default.
"""
from __future__ import annotations

import cv2
import numpy as np

SIGMA = 1.0  # of the Gaussian, in pixels


def unsharp_mask(planes: np.ndarray, amount: float) -> np.ndarray:
    """y + amount (y - G y), G a Gaussian of 1 pixel; uint8 (3, H, W) in and out, `planes` itself for an amount of 0."""
    if amount == 0.0:
        return planes
    soft = [cv2.GaussianBlur(plane, (0, 0), SIGMA) for plane in planes.astype(np.float32)]
    return np.clip(np.rint((1.0 + amount) * planes - amount * np.stack(soft)), 0, 255).astype(np.uint8)
