"""Structural similarity (Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE
TIP 2004), equal to scikit-image's `structural_similarity`.

    SSIM = (2 ux uy + C1) (2 vxy + C2) / ((ux^2 + uy^2 + C1) (vx + vy + C2)),  C1 = (0.01 * 255)^2, C2 = (0.03 * 255)^2

with local means u, variances and covariance v in a window, per RGB channel. Borders: scikit-image filters with
reflection, then leaves out (window - 1) / 2 pixels on each side before the mean; what is left are just the windows that
lie wholly inside the picture, and those are averaged here.
"""
from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from metrics.pictures import Picture, bands, check_pair

DEFINITION = (
    "SSIM with an 11x11 Gaussian window (sigma 1.5, population covariance) per RGB channel, windows inside the picture, "
    "mean over pixels and channels"
)
DEFINITION_3X3 = (
    "SSIM with a uniform 3x3 window and sample covariance per RGB channel, mean over pixels and channels: the variant of "
    "the published code (scikit-image with win_size=3)"
)
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_OFFSETS = np.arange(-5, 6) / 1.5
GAUSSIAN: NDArray[np.float64] = np.exp(-0.5 * _OFFSETS**2) / np.exp(-0.5 * _OFFSETS**2).sum()
UNIFORM: NDArray[np.float64] = np.full(3, 1 / 3)


def ssim(output: Picture, reference: Picture, *, gain: float = 1.0) -> float:
    """The standard SSIM in [-1, 1] of two uint8 pictures (H, W, 3) with sides of at least 11.

    Equals structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=-1).
    gain: factor on the output's levels before, clipped at 255 (see metrics.gtmean).
    Raises ValueError for other arrays, different or too small sizes.
    """
    return _mean_ssim(output, reference, GAUSSIAN, 1.0, gain)


def ssim_3x3(output: Picture, reference: Picture) -> float:
    """The published code's SSIM in [-1, 1] of two uint8 pictures (H, W, 3) with sides of at least 3.

    Equals structural_similarity(win_size=3, channel_axis=-1). Raises ValueError as `ssim` does.
    """
    return _mean_ssim(output, reference, UNIFORM, 9 / 8, 1.0)


def _mean_ssim(
    output: Picture, reference: Picture, kernel: NDArray[np.float64], covariance_factor: float, gain: float
) -> float:
    check_pair(output, reference)
    height, width, channels = output.shape
    radius = kernel.size // 2
    if min(height, width) < kernel.size:
        raise ValueError(f"needs sides of at least {kernel.size} pixels, found {width}x{height}")
    total = sum(
        float(_ssim_map(ours, theirs, kernel, covariance_factor).sum())
        for ours, theirs in bands(output, reference, gain, halo=radius)
    )
    return total / ((height - 2 * radius) * (width - 2 * radius) * channels)


def _ssim_map(
    x: NDArray[np.float64], y: NDArray[np.float64], kernel: NDArray[np.float64], covariance_factor: float
) -> NDArray[np.float64]:
    """SSIM of every window inside (H, W, 3) levels. Only vx + vy is needed, so one filter serves both variances."""
    radius = kernel.size // 2

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        filtered = cv2.sepFilter2D(values, cv2.CV_64F, kernel, kernel, borderType=cv2.BORDER_REFLECT)
        return np.asarray(filtered, np.float64)[radius:-radius, radius:-radius]

    ux, uy = mean(x), mean(y)
    product, squares = ux * uy, ux * ux + uy * uy
    covariance = covariance_factor * (mean(x * y) - product)
    variances = covariance_factor * (mean(x * x + y * y) - squares)
    return (2 * product + C1) * (2 * covariance + C2) / ((squares + C1) * (variances + C2))
