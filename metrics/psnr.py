"""Peak signal-to-noise ratio, equal to scikit-image's `peak_signal_noise_ratio`."""
from __future__ import annotations

import math

import numpy as np

from metrics.pictures import Picture, bands, check_pair

DEFINITION = "PSNR in dB over all RGB values, data range 1 (8-bit levels / 255); mean over images of per-image values"


def psnr(output: Picture, reference: Picture, *, gain: float = 1.0) -> float:
    """10 log10(255^2 / MSE) in dB of two uint8 pictures (H, W, 3); infinite for equal ones.

    gain: factor on the output's levels before, clipped at 255 (see metrics.gtmean).
    Raises ValueError for other arrays or different sizes.
    """
    check_pair(output, reference)
    squares = sum(float(np.square(ours - theirs).sum()) for ours, theirs in bands(output, reference, gain))
    return math.inf if squares == 0 else 10 * math.log10(255.0**2 * output.size / squares)
