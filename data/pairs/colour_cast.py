"""The colour cast of darkness: an extra degradation beyond the published recipe, off by default.

What a sensor reads without light, its black level, is subtracted from every channel. An error of a thousandth of white
changes nothing in a well exposed photo and the hue of everything in one that has a thousandth of the light; and white
balance is a guess where there is little to guess from. So, in linear light, for each channel c,

    x_c <- max(g_c x_c + b_c, 0)

with b_c ~ N(0, cast_black_spread) and log g_c ~ N(0, d cast_gain_spread) for red and blue, 1 for green; d is the light lost.
It comes before the noise and before the file's 8 bits.
"""
from __future__ import annotations

import numpy as np

from data.pairs.sensor_noise import light_lost, to_srgb
from exp_config.config import Config


def has_cast(config: Config) -> bool:
    return config.cast_gain_spread > 0.0 or config.cast_black_spread > 0.0


def with_cast(light: np.ndarray, normal: np.ndarray, rng: np.random.Generator, config: Config) -> np.ndarray:
    """Linear light in [0, 1] of a dark photo, float32 (3, H, W), with the cast of the formula above; `normal`: the photo
    before it lost its light, uint8 (3, H, W) sRGB."""
    red, blue, *black = rng.normal(size=5)
    spread = config.cast_gain_spread * max(light_lost(255.0 * to_srgb(light), normal), 0.0)
    gains = np.exp([spread * red, 0.0, spread * blue])
    return np.clip(light * gains[:, None, None].astype(np.float32)
                   + (config.cast_black_spread * np.array(black, np.float32))[:, None, None], 0.0, 1.0, dtype=np.float32)
