"""The degradation curve: how a normal photo y in [0, 1] is darkened to x (paper, sec. III-D).

    gamma = 1 / (1 - alpha^0.2 + 1e-6),   C = (1 - l) / max((1 - k)^gamma, 1e-6)
    x = clip(C * max(y - k, 0)^gamma, 0, 1)

alpha bends the curve, k cuts off the blacks, l is the share of light that is lost.
"""
from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import cv2
import numpy as np

from exp_config.config import Config

SIGMOID_STEEPNESS = 6.0
SIGMOID_CENTRE = 0.5
STANDARD_NORMAL = NormalDist()
LEAST_LIGHT = 1 / 255
LEVELS = np.arange(256) / 255.0


class CurveParameters(NamedTuple):
    """One curve: alpha in [0, 1), k in [0, 1), l in [0, 1]."""

    alpha: float
    k: float
    l: float  # noqa: E741 (the paper's letter)


class CurveRanges(NamedTuple):
    """(min, max) of each parameter."""

    alpha: tuple[float, float]
    k: tuple[float, float]
    l: tuple[float, float]  # noqa: E741


def degradation_curve(y: np.ndarray, alpha: float, k: float, l: float) -> np.ndarray:  # noqa: E741
    """x = curve(y), float64, any shape, values of y and x in [0, 1]."""
    gamma = 1.0 / (1.0 - alpha**0.2 + 1e-6)
    scale = (1.0 - l) / max((1.0 - k) ** gamma, 1e-6)
    return np.clip(scale * np.maximum(np.asarray(y, dtype=np.float64) - k, 0.0) ** gamma, 0.0, 1.0)


def darken(planes: np.ndarray, parameters: CurveParameters) -> np.ndarray:
    """The curve on an 8-bit photo, uint8 (3, H, W) in and out: floor(255 * curve(y / 255)).

    y is a camera file's 8-bit value already, so there are 256 values to compute the curve for, and the rest is look-up:
    exact, and some twenty times faster than a power for every pixel.
    """
    table = np.floor(255.0 * degradation_curve(LEVELS, *parameters)).astype(np.uint8)
    return cv2.LUT(planes.reshape(-1, planes.shape[-1]), table).reshape(planes.shape)


def ranges_at(config: Config, epoch: int) -> CurveRanges:
    """The parameter ranges of `epoch` (0-based): constant, or on the way from start to end of the schedule.

    The first epoch has the start ranges, the last the end ranges, exactly.
    """
    progress = min(max(epoch / (config.epochs - 1), 0.0), 1.0) if config.epochs > 1 else 0.0
    return _ranges(config, progress)


def final_ranges(config: Config) -> CurveRanges:
    """The parameter ranges at the end of the training, whatever its length: those of every validation."""
    return _ranges(config, 1.0)


def _ranges(config: Config, progress: float) -> CurveRanges:
    schedule = config.image_preprocessing_schedule
    if schedule is None:
        return CurveRanges(*(_pair(r) for r in (config.alpha_range, config.k_range, config.l_range)))
    if schedule["type"] == "sigmoid":
        progress = _rescaled_sigmoid(progress)
    start, end = schedule["start"], schedule["end"]
    return CurveRanges(*(
        _pair([(1.0 - progress) * a + progress * b for a, b in zip(start[name], end[name], strict=True)])
        for name in CurveRanges._fields))


def draw_curve(rng: np.random.Generator, ranges: CurveRanges, l_distribution: str = "normal",
               alpha_distribution: str = "uniform") -> CurveParameters:
    """Random parameters: alpha uniform on the 3-decimal grid, k and l normal(0, width / 4) cut to their ranges.

    l_distribution "uniform": l uniform over its range, to 3 decimals. Photos taken in the dark have lost most of their
    light (l of 0.7 to 0.9 fits them), which the normal distribution hardly ever draws. "stops": the logarithm of 1 - l uniform,
    so that there are as many photos with an eighth as with half of the light, and not a quarter as many.
    alpha_distribution "root": the fifth root of alpha, which is 1 - 1/gamma, uniform. Of the uniform alphas in [0, 0.05) nine
    in ten bend the curve by a gamma above 1.5, and a network that sees no other photos makes well exposed ones too bright.
    """
    draw_alpha = _uniform_root if alpha_distribution == "root" else _grid_uniform
    draw_l = {"normal": _cut_normal, "uniform": _rounded_uniform, "stops": _uniform_stops}[l_distribution]
    return CurveParameters(
        alpha=draw_alpha(rng, *ranges.alpha), k=_cut_normal(rng, *ranges.k), l=draw_l(rng, *ranges.l))


def _pair(values: list[float]) -> tuple[float, float]:
    low, high = values
    return float(low), float(high)


def _rescaled_sigmoid(t: float) -> float:
    """Sigmoid of t in [0, 1], stretched to run from exactly 0 to exactly 1."""
    low, value, high = (1.0 / (1.0 + math.exp(-SIGMOID_STEEPNESS * (u - SIGMOID_CENTRE))) for u in (0.0, t, 1.0))
    return (value - low) / (high - low)


def _grid_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Uniform over the multiples of 0.001 in [low, high); `low` where there is none."""
    first, last = (math.ceil(round(1000.0 * bound, 6)) for bound in (low, high))
    u = rng.random()
    return max((first + int(u * (last - first))) / 1000.0, low) if last > first else low


def _uniform_root(rng: np.random.Generator, low: float, high: float) -> float:
    """The fifth power of a number that is uniform between the fifth roots of low and high."""
    first, last = low**0.2, high**0.2
    return min(max((first + rng.random() * (last - first)) ** 5, low), high)


def _rounded_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Uniform over [low, high], rounded to 3 decimals."""
    return min(max(round(low + rng.random() * (high - low), 3), low), high)


def _uniform_stops(rng: np.random.Generator, low: float, high: float) -> float:
    """l in [low, high], log(1 - l) uniform, rounded to 3 decimals; of light there is at least `LEAST_LIGHT`."""
    most, least = (math.log(max(1.0 - bound, LEAST_LIGHT)) for bound in (low, high))
    return min(max(round(1.0 - math.exp(most + rng.random() * (least - most)), 3), low), high)


def _cut_normal(rng: np.random.Generator, low: float, high: float) -> float:
    """normal(0, (high - low) / 4) cut to [low, high], 0 <= low, rounded to 3 decimals.

    By the inverse of the upper tail's probability, which keeps its precision far from 0, where 1 - tail would be 1.
    """
    u = rng.random()
    std = (high - low) / 4.0
    if std <= 0.0:
        return low
    tail_low, tail_high = (0.5 * math.erfc(bound / std / math.sqrt(2.0)) for bound in (low, high))
    tail = tail_low + u * (tail_high - tail_low)
    value = -std * STANDARD_NORMAL.inv_cdf(tail) if tail > 0.0 else low
    return min(max(round(value, 3), low), high)
