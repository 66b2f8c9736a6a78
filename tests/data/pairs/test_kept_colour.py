"""Darkness that keeps the colours: what it does to ratios and grays, and the streams of random numbers."""
from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from data.files.photo import LUMINANCE
from data.pairs.dataset import LowLightPairs
from data.pairs.degradation import CurveParameters, darken, degradation_curve
from data.pairs.kept_colour import darkened_light
from data.pairs.sensor_noise import LINEAR_LIGHT, to_levels, to_linear, to_srgb
from engine.training.validation import validation_of
from exp_config.config import Config

CURVES = [CurveParameters(0.05, 0.0, 0.6), CurveParameters(0.01, 0.1, 0.85), CurveParameters(0.0, 0.0, 0.9)]
CONFIG = Config.named("dark_photos", reference_mean=[0.0, 0.0], uneven_light_rate=0.5, height=24, width=32)


@pytest.fixture(scope="module")
def normal(make_photo):
    """uint8 (3, 40, 56), no channel next to black."""
    return np.ascontiguousarray(np.maximum(make_photo(40, 56, 1), 60).transpose(2, 0, 1))


@pytest.fixture(scope="module")
def photos(photos):
    """Eight are enough here."""
    return photos[:8]


@pytest.mark.parametrize("curve", CURVES)
def test_nothing_kept_is_the_published_curve(normal, curve):
    np.testing.assert_array_equal(to_levels(darkened_light(normal, curve, 0.0)), darken(normal, curve))


@pytest.mark.parametrize("curve", CURVES)
def test_all_kept_leaves_the_ratios_of_the_channels_and_darkens_the_luminance(normal, curve):
    light, dark = LINEAR_LIGHT[normal], darkened_light(normal, curve, 1.0)
    assert dark.dtype == np.float32 and dark.min() >= 0.0 and dark.max() <= 1.0
    for one, other in ((0, 1), (2, 1)):
        np.testing.assert_allclose(dark[one] * light[other], dark[other] * light[one], rtol=1e-4, atol=1e-9)
    luminance = np.tensordot(LUMINANCE, light, 1)
    np.testing.assert_allclose(np.tensordot(LUMINANCE, dark, 1), to_linear(degradation_curve(to_srgb(luminance), *curve)),
                               rtol=1e-3, atol=1e-6)


def test_a_strong_curve_by_channels_makes_colours_stronger_and_a_part_kept_lies_between(normal):
    def colour(light):
        return float(np.mean(light.max(0) / np.maximum(light.min(0), 1e-6)))

    curve = CurveParameters(0.03, 0.0, 0.7)
    none, half, whole = (colour(darkened_light(normal, curve, kept)) for kept in (0.0, 0.5, 1.0))
    assert none > 1.3 * whole and whole < half < none
    assert whole == pytest.approx(colour(LINEAR_LIGHT[normal]), rel=1e-3)


@pytest.mark.parametrize("kept", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("curve", CURVES)
def test_grays_are_the_same_whatever_is_kept_and_black_and_white_stay_in_bounds(curve, kept):
    grays = np.repeat(np.arange(256, dtype=np.uint8).reshape(1, 16, 16), 3, 0)
    difference = to_levels(darkened_light(grays, curve, kept)).astype(int) - darken(grays, curve)
    assert np.abs(difference).max() <= 1 and (difference != 0).mean() < 0.02
    extremes = np.array([[[0, 255], [0, 255]], [[0, 0], [255, 255]], [[0, 255], [0, 0]]], np.uint8)
    light = darkened_light(extremes, curve, kept)
    assert np.isfinite(light).all() and light.min() >= 0.0 and light.max() <= 1.0


def test_the_other_random_numbers_of_a_sample_stay_what_they_are(photos):
    """Normal photo, seeds, and which photos are unevenly lit; with the range at 0 the samples are those of before."""
    noisy = dataclasses.replace(CONFIG, sensor_shot_range=[1e-2, 1e-2])  # other noise would be seen at once
    none, some, whole = (LowLightPairs(photos, dataclasses.replace(noisy, colour_kept_range=bounds), True)
                         for bounds in ([0.0, 0.0], [0.0, 1e-9], [1.0, 1.0]))
    changed = 0
    for epoch in range(3):
        for index in range(8):
            before, hardly, after = none[epoch, index], some[epoch, index], whole[epoch, index]
            for other in (hardly, after):
                assert torch.equal(before["normal"], other["normal"]) and before["state_seed"] == other["state_seed"]
            difference = (before["low"].float() - hardly["low"].float()).abs().mean()  # by rounding, and by JPEG after it
            assert difference < 0.6
            changed += not torch.equal(before["low"], after["low"])
    assert changed > 20


@pytest.mark.parametrize("train", [True, False])
def test_the_share_is_random_by_photo_and_reproducible(photos, train):
    config = dataclasses.replace(CONFIG, colour_kept_range=[0.0, 1.0])
    one, other = (LowLightPairs(order, config, train) for order in (photos, photos[::-1]))
    for index in range(8):
        assert torch.equal(one[0, index]["low"], other[0, 7 - index]["low"])
    ends = [LowLightPairs(photos, dataclasses.replace(CONFIG, colour_kept_range=[end, end]), train) for end in (0.0, 1.0)]
    between = sum(not any(torch.equal(one[0, index]["low"], end[0, index]["low"]) for end in ends) for index in range(8))
    assert between >= 6


def test_losses_of_validation_with_other_colours_are_not_compared(photos):
    """And a checkpoint of before, which does not know of kept colours, compares as equal where none are kept."""
    plain, kept = (dataclasses.replace(CONFIG, colour_kept_range=bounds) for bounds in ([0.0, 0.0], [0.5, 1.0]))
    before, after = (validation_of(config, LowLightPairs(photos, config, False)) for config in (plain, kept))
    assert "colour_kept_range" not in before and after == before | {"colour_kept_range": [0.5, 1.0]}
    assert Config().colour_kept_range == [0.0, 0.0] == Config.named("base_model").colour_kept_range
