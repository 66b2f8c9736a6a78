"""Noise of a real sensor in little light, then JPEG: an extra degradation beyond the published recipe, off by default.

A pixel that collects light v in [0, 1] reads v + n with n ~ N(0, shot * v + read): the first term is the Poisson noise
of the photons, the second that of the electronics. The noise arises in linear light, before the camera's tone curve, so
the picture is taken back there first. Sources: Foi et al., "Practical Poissonian-Gaussian noise modeling and fitting
for single-image raw-data" (IEEE TIP 2008); Brooks et al., "Unprocessing images for learned raw denoising" (CVPR 2019),
whose fits give the log-uniform spread of shot and read noise. The tone curve is that of sRGB, IEC 61966-2-1.
"""
from __future__ import annotations

import math

import cv2
import numpy as np

from data.pairs.augment import standard_normal
from exp_config.config import Config


def to_linear(v: np.ndarray) -> np.ndarray:
    """sRGB values in [0, 1] to linear light in [0, 1]."""
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def to_srgb(light: np.ndarray) -> np.ndarray:
    """Linear light in [0, 1] to sRGB values in [0, 1]."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055)


def to_levels(light: np.ndarray) -> np.ndarray:
    """Linear light in [0, 1] as the 8-bit sRGB values that the published recipe stores: floor(255 v), same shape."""
    return np.floor(255.0 * to_srgb(light) + ROUNDING).astype(np.uint8)


ROUNDING = 1e-3  # in 8-bit levels: what float32 may lose of a whole number before the floor
LINEAR_LIGHT = to_linear(np.arange(256) / 255.0).astype(np.float32)  # of every 8-bit value


def add_sensor_noise(x: np.ndarray, rng: np.random.Generator, config: Config) -> np.ndarray:
    """A dark photo as a sensor and a JPEG file would give it, uint8 (3, H, W) in and out."""
    return noisy_file(LINEAR_LIGHT[x], rng, config)


def noisy_file(light: np.ndarray, rng: np.random.Generator, config: Config) -> np.ndarray:
    """Linear light in [0, 1], float32 (3, H, W), as a sensor and a JPEG file would give it, uint8 (3, H, W)."""
    shot = log_uniform(rng, *config.sensor_shot_range)
    read = log_uniform(rng, *config.sensor_read_range)
    quality = int(rng.integers(config.sensor_jpeg_range[0], config.sensor_jpeg_range[1] + 1))
    noisy = noisy_light(light, rng, shot, read)
    levels = np.floor(255.0 * to_srgb(np.clip(noisy, 0.0, 1.0)) + 0.5).astype(np.uint8)
    if config.sensor_jpeg_rate < 1.0 and rng.random() >= config.sensor_jpeg_rate:
        return levels
    return through_jpeg(levels, quality)


def light_lost(low: np.ndarray, normal: np.ndarray) -> float:
    """1 - the mean of the dark photo over that of the normal one, in [0, 1]; 0 where the normal one is black."""
    return float(1.0 - low.mean() / normal.mean()) if normal.any() else 0.0


def noisy_light(light: np.ndarray, rng: np.random.Generator, shot: float, read: float) -> np.ndarray:
    """light + N(0, shot * light + read), float32; `shot` and `read` are variances (per unit of light, and alone)."""
    std = np.sqrt(np.float32(shot) * light + np.float32(read))
    return light + std * standard_normal(rng, light.shape)


def through_jpeg(planes: np.ndarray, quality: int) -> np.ndarray:
    """Written and read as JPEG of a quality in 0..100, uint8 (3, H, W) RGB."""
    _, content = cv2.imencode(".jpg", cv2.merge(planes[::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.stack(cv2.split(cv2.imdecode(content, cv2.IMREAD_COLOR))[::-1])


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Uniform in the logarithm over [low, high]; a lower end of 0 is taken as a millionth of the upper one."""
    u = rng.random()
    if high <= 0.0:
        return 0.0
    low = max(low, high * 1e-6)
    return math.exp((1.0 - u) * math.log(low) + u * math.log(high))
