"""psnr, ssim, ssim_3x3 and the GT-mean variants against scikit-image and OpenCV."""
from __future__ import annotations

import math
import sys
import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from metrics.gtmean import brightness_gain, mean_gray, psnr_gtmean, ssim_gtmean
from metrics.psnr import psnr
from metrics.ssim import ssim, ssim_3x3

GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "channel_axis": -1}


@pytest.fixture
def make_pair(make_photo):
    """A photo, and a darker noisy version of it; uint8 (H, W, 3)."""

    def pair(height=70, width=53, seed=0):
        reference = make_photo(height, width, seed)
        noise = np.random.default_rng(seed).normal(0, 9, reference.shape)
        return np.clip(0.7 * reference + noise, 0, 255).astype(np.uint8), reference

    return pair


def gt_mean_by_opencv(output, reference):
    """The usual recipe: float32 gray means by cvtColor, scale, clip."""
    output, reference = (picture.astype(np.float64) / 255 for picture in (output, reference))
    gray = [cv2.cvtColor(picture.astype(np.float32), cv2.COLOR_RGB2GRAY).mean() for picture in (output, reference)]
    return np.clip(output * (gray[1] / gray[0]), 0, 1), reference


# Sides below, at and across the bands of 64 rows, and the smallest that the window fits.
@pytest.mark.parametrize(("height", "width"), [(11, 11), (12, 40), (64, 48), (74, 53), (75, 20), (139, 31)])
def test_equal_to_scikit_image(make_pair, height, width):
    output, reference = make_pair(height, width)
    assert psnr(output, reference) == pytest.approx(peak_signal_noise_ratio(reference, output), abs=1e-9)
    assert ssim(output, reference) == pytest.approx(structural_similarity(output, reference, **GAUSSIAN), abs=1e-9)
    expected = structural_similarity(output, reference, win_size=3, channel_axis=-1)
    assert ssim_3x3(output, reference) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("darken", [False, True])
def test_gt_mean_equal_to_scikit_image(make_pair, darken):
    """Both ways: a gain above 1 clips highlights, a gain below 1 does not."""
    output, reference = make_pair()
    if darken:
        output, reference = reference, output
    scaled, target = gt_mean_by_opencv(output, reference)
    expected = structural_similarity(scaled, target, data_range=1, **GAUSSIAN)
    assert ssim_gtmean(output, reference) == pytest.approx(expected, abs=1e-6)
    expected = peak_signal_noise_ratio(target, scaled, data_range=1)
    assert psnr_gtmean(output, reference) == pytest.approx(expected, abs=1e-5)  # dB; float32 gray in the recipe


def test_gt_mean_forgives_brightness_alone(make_photo):
    reference = make_photo(40, 40) // 2 * 2
    darker = reference // 2
    assert brightness_gain(darker, reference) == pytest.approx(2)
    assert psnr(darker, reference) < 20 < 200 < psnr_gtmean(darker, reference)
    assert ssim_gtmean(darker, reference) == pytest.approx(1)


def test_gt_mean_of_a_black_output_is_plain(make_photo):
    reference, black = make_photo(20, 20), np.zeros((20, 20, 3), np.uint8)
    assert psnr_gtmean(black, reference) == psnr(black, reference)
    assert ssim_gtmean(black, reference) == ssim(black, reference)


def test_mean_gray_of_known_colours():
    picture = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]]], np.uint8)
    assert mean_gray(picture) == pytest.approx((255 * (0.299 + 0.587 + 0.114) + 9) / 4)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(11, 30), st.integers(11, 30))
def test_properties_of_any_pair(seed, height, width):
    """Symmetric, bounded, best for equal pictures; noise included."""
    a, b = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    for metric in (ssim, ssim_3x3):
        assert -1 <= metric(a, b) < 1
        assert metric(a, b) == pytest.approx(metric(b, a), abs=1e-12)
        assert metric(a, a) == pytest.approx(1, abs=1e-12)
    assert psnr(a, b) == psnr(b, a) > 0
    assert psnr(a, a) == math.inf


@pytest.mark.parametrize(("metric", "least"), [(ssim, 11), (ssim_gtmean, 11), (ssim_3x3, 3)])
def test_smallest_pictures(metric, least):
    metric(*np.zeros((2, least, least, 3), np.uint8))
    with pytest.raises(ValueError, match=f"at least {least} pixels, found {least}x{least - 1}"):
        metric(*np.zeros((2, least - 1, least, 3), np.uint8))


@pytest.mark.parametrize("metric", [psnr, ssim, ssim_3x3, psnr_gtmean, ssim_gtmean])
def test_other_arrays_are_refused(metric, make_photo):
    photo = make_photo(20, 30)
    with pytest.raises(ValueError, match=r"one size, found 30x20 and 20x30"):
        metric(photo, make_photo(30, 20))
    with pytest.raises(ValueError, match=r"output must be a uint8 array \(H, W, 3\).*found float32 \(20, 30, 3\)"):
        metric(photo.astype(np.float32), photo)
    with pytest.raises(ValueError, match=r"reference must be.*found uint8 \(20, 30\)"):
        metric(photo, photo[..., 0])
    with pytest.raises(ValueError, match="found list"):
        metric(photo.tolist(), photo)


def test_non_contiguous_pictures(make_pair):
    output, reference = make_pair(30, 40)
    flipped = psnr_gtmean(output[:, ::-1], reference[:, ::-1]), ssim_gtmean(output[::-1], reference[::-1])
    assert flipped == pytest.approx((psnr_gtmean(output, reference), ssim_gtmean(output, reference)), abs=1e-9)


def test_large_pictures_take_little_memory():
    """Three megapixels as float64 maps would be 72 MB each, of which a plain SSIM holds a dozen."""
    a, b = np.random.default_rng(0).integers(0, 256, (2, 1500, 2000, 3), dtype=np.uint8)
    for metric in (psnr, ssim, psnr_gtmean):
        tracemalloc.start()
        metric(a, b)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 60e6, metric.__name__


def test_reference_metrics_need_no_pyiqa(monkeypatch, make_pair):
    from metrics.suite import FUNCTIONS, MetricSuite

    monkeypatch.setitem(sys.modules, "pyiqa", None)  # an import would now fail
    scores = MetricSuite(FUNCTIONS).score(*make_pair(20, 20), make_pair(20, 20)[0])
    assert list(scores) == list(FUNCTIONS) and not scores.reasons
