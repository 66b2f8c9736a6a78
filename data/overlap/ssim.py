"""SSIM of many pairs of pictures: in full, and estimated from a sample of its windows.

SSIM (Wang et al., "Image quality assessment: from error visibility to structural similarity", IEEE TIP 2004) is the
mean, over window positions and RGB channels, of

    (2 mx my + C1) (2 sxy + C2) / ((mx^2 + my^2 + C1) (sx^2 + sy^2 + C2)),    C1 = 0.01^2, C2 = 0.03^2, values in [0, 1]

with mx, sx^2, sxy the mean, variance and covariance under an 11x11 Gaussian window of sigma 1.5 that lies wholly
inside. Neighbouring windows overlap, so the mean over every seventh window or so says nearly the same; and at a sampled
position the products of many test pictures with many training pictures are one matrix product. That is the estimate.
"""
from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2
_HALF = WINDOW // 2
_GAUSSIAN = cv2.getGaussianKernel(WINDOW, SIGMA)  # (11, 1), sums to 1
_CHUNK = 256  # windows in one matrix product
_SAMPLED_WINDOWS = 4000  # per channel; the estimate's error falls with the root of it


@dataclass(frozen=True)
class Moments:
    """A picture with its window statistics: three float64 arrays, `picture` (H, W, 3), the others (H-10, W-10, 3)."""

    picture: np.ndarray
    mean: np.ndarray
    variance: np.ndarray

    @classmethod
    def of(cls, picture: np.ndarray) -> Moments:
        """picture: float (H, W, 3) in [0, 1], H and W at least 11."""
        picture = picture.astype(np.float64)
        mean = _window_mean(picture)
        return cls(picture, mean, _window_mean(picture * picture) - mean * mean)


def full_ssim(x: Moments, y: Moments) -> float:
    """SSIM of two pictures of one size, every window; scikit-image's with Gaussian weights and population covariance."""
    covariance = _window_mean(x.picture * y.picture) - x.mean * y.mean
    return float(_ssim_map(x.mean, y.mean, x.variance, y.variance, covariance).mean())


def _window_mean(values: np.ndarray) -> np.ndarray:
    """Gaussian-weighted mean of every window inside: (H, W, 3) -> (H-10, W-10, 3)."""
    return cv2.sepFilter2D(values, -1, _GAUSSIAN, _GAUSSIAN)[_HALF:-_HALF, _HALF:-_HALF]


def _ssim_map(mean_x: np.ndarray, mean_y: np.ndarray, variance_x: np.ndarray, variance_y: np.ndarray,
              covariance: np.ndarray) -> np.ndarray:
    return ((2 * mean_x * mean_y + C1) * (2 * covariance + C2)
            / ((mean_x * mean_x + mean_y * mean_y + C1) * (variance_x + variance_y + C2)))


@dataclass(frozen=True)
class WindowSample:
    """Windows of one picture on a regular grid, all channels: P windows of K = 121 values each, float32.

    values (P, K): picture - 0.5, times the root of the Gaussian weight, so that a product of two is a weighted mean of
    products; mean (P,) of the picture itself; variance (P,). `shape` is the picture's (H, W).
    """

    shape: tuple[int, int]
    values: np.ndarray
    mean: np.ndarray
    variance: np.ndarray

    @classmethod
    def of(cls, picture: np.ndarray) -> WindowSample:
        """picture: float (H, W, 3) in [0, 1], H and W at least 11."""
        height, width = picture.shape[:2]
        stride = _stride(height, width)
        windows = np.lib.stride_tricks.sliding_window_view(picture.astype(np.float32) - 0.5, (WINDOW, WINDOW), (0, 1))
        start = stride // 2
        windows = windows[min(start, height - WINDOW)::stride, min(start, width - WINDOW)::stride]  # (h, w, 3, 11, 11)
        root = np.sqrt(_GAUSSIAN @ _GAUSSIAN.T).astype(np.float32).reshape(-1)
        values = windows.reshape(-1, WINDOW * WINDOW) * root  # (P, K)
        mean = values @ root
        return cls((height, width), values, mean + 0.5, np.einsum("pk,pk->p", values, values) - mean * mean)


def _stride(height: int, width: int) -> int:
    """Distance of sampled windows: odd, so that the grid does not keep step with the 8x8 blocks of a JPEG."""
    positions = (height - WINDOW + 1) * (width - WINDOW + 1)
    return int(np.sqrt(positions / _SAMPLED_WINDOWS)) // 2 * 2 + 1


def estimate_ssim(tests: list[WindowSample], trains: list[WindowSample]) -> np.ndarray:
    """Estimated SSIM of every test with every train picture, float64 (T, R); all must have one shape."""
    total = np.zeros((len(tests), len(trains)))
    count = len(tests[0].mean)
    for start in range(0, count, _CHUNK):  # in pieces that stay in the processor's cache
        x, mean_x, variance_x = _stack(tests, slice(start, start + _CHUNK))  # (p, T, K), (p, T), (p, T)
        y, mean_y, variance_y = _stack(trains, slice(start, start + _CHUNK))  # (p, R, K), (p, R), (p, R)
        mean_x, variance_x, mean_y, variance_y = (mean_x[:, :, None], variance_x[:, :, None],
                                                  mean_y[:, None, :], variance_y[:, None, :])
        covariance = np.matmul(x, y.transpose(0, 2, 1)) - (mean_x - 0.5) * (mean_y - 0.5)  # (p, T, R)
        total += _ssim_map(mean_x, mean_y, variance_x, variance_y, covariance).sum(0, dtype=np.float64)
    return total / count


def _stack(samples: list[WindowSample], part: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Some windows of all samples, window first: values (p, N, K), mean (p, N), variance (p, N)."""
    return (np.stack([s.values[part] for s in samples], 1), np.stack([s.mean[part] for s in samples], 1),
            np.stack([s.variance[part] for s in samples], 1))
