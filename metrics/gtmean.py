"""PSNR and SSIM after matching the mean brightness to the reference ("GT-mean"), as many papers quote them since Zhang
et al., "Kindling the Darkness" (ACM MM 2019).

    output' = clip(output * mean(gray(reference)) / mean(gray(output)), 0, 1),  gray = .299 R + .587 G + .114 B

Gray is OpenCV's RGB2GRAY, in floating point; the scaled picture is not rounded to 8 bits again. The reference takes part
in making the picture, so these figures are no fair measure of brightness: they go beside psnr and ssim.
"""
from __future__ import annotations

import cv2
import numpy as np

from metrics.pictures import Picture, check_pair
from metrics.psnr import psnr
from metrics.ssim import ssim

_SCALED = "after scaling the output so that its mean gray (.299 R + .587 G + .114 B) equals the reference's, clipped at 1"
PSNR_DEFINITION = f"psnr {_SCALED}"
SSIM_DEFINITION = f"ssim {_SCALED}"
GRAY_WEIGHTS = np.array([0.299, 0.587, 0.114])


def brightness_gain(output: Picture, reference: Picture) -> float:
    """mean gray of the reference over that of the output, two uint8 pictures (H, W, 3); 1 for a black output."""
    check_pair(output, reference)
    ours, theirs = mean_gray(output), mean_gray(reference)
    return theirs / ours if ours > 0 else 1.0


def mean_gray(picture: Picture) -> float:
    """Mean of .299 R + .587 G + .114 B in levels; by the channels' means, since it is linear."""
    return float(np.dot(cv2.mean(picture)[:3], GRAY_WEIGHTS))


def psnr_gtmean(output: Picture, reference: Picture) -> float:
    """PSNR in dB after matching the mean gray; uint8 (H, W, 3) each. Raises ValueError as `psnr` does."""
    return psnr(output, reference, gain=brightness_gain(output, reference))


def ssim_gtmean(output: Picture, reference: Picture) -> float:
    """SSIM after matching the mean gray; uint8 (H, W, 3) each. Raises ValueError as `ssim` does."""
    return ssim(output, reference, gain=brightness_gain(output, reference))
