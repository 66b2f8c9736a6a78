"""Darkness that keeps the colours, as less light does: an extra degradation beyond the published recipe, off by default.

The published curve darkens red, green and blue each for itself. A curve with an exponent above 1 then takes more from the
weaker channels than from the strongest one, and the dark photo has stronger colours than the normal one: a network that
learns to undo this makes real photos pale, whose colours did not grow when the light fell. Less light takes the same share
of every channel. So here, in linear light, with Y the photo's luminance (ITU-R BT.709):

    x = (1 - t) curve(y) + t y curve(Y) / Y

t is the share of the colour that is kept: 0 is the published curve, with 1 the ratios of the channels stay as they are and
the luminance is darkened as a gray of the same luminance would be.
"""
from __future__ import annotations

import numpy as np

from data.files.photo import LUMINANCE
from data.pairs.degradation import LEVELS, CurveParameters, degradation_curve
from data.pairs.sensor_noise import LINEAR_LIGHT, to_linear, to_srgb

BLACK = 1e-7                      # of all light: below it there is no colour to keep


def darkened_light(normal: np.ndarray, curve: CurveParameters, kept: float) -> np.ndarray:
    """The formula above with t = `kept` in [0, 1]: uint8 (3, H, W) sRGB -> linear light in [0, 1], float32 (3, H, W)."""
    by_channel = to_linear(degradation_curve(LEVELS, *curve)).astype(np.float32)[normal]  # (3, H, W)
    if kept <= 0.0:
        return by_channel
    light = LINEAR_LIGHT[normal]
    luminance = np.maximum(np.tensordot(LUMINANCE, light, 1), BLACK)                      # (H, W)
    darkened = to_linear(degradation_curve(to_srgb(luminance), *curve)).astype(np.float32)
    return by_channel + np.float32(kept) * (light * (darkened / luminance) - by_channel)
