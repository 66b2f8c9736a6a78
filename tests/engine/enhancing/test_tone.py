"""Brightness and saturation: what changes nothing, what is undone, where white and hues stay."""
from __future__ import annotations

import colorsys

import pytest
import torch

from engine.enhancing.tone import adjusted, brightened, saturated


@pytest.fixture
def picture():
    return torch.rand(2, 3, 16, 20, generator=torch.Generator().manual_seed(0))


def linear(srgb: float) -> float:
    return srgb / 12.92 if srgb <= 0.04045 else ((srgb + 0.055) / 1.055) ** 2.4


def test_nothing_asked_for_changes_nothing(picture):
    assert adjusted(picture, 0.0, 1.0) is picture
    torch.testing.assert_close(brightened(picture, 0.0), picture, atol=2e-6, rtol=0)
    torch.testing.assert_close(saturated(picture, 1.0), picture, atol=2e-6, rtol=0)
    both = adjusted(picture, 0.5, 1.3)
    assert torch.equal(both, brightened(saturated(picture, 1.3), 0.5))


@pytest.mark.parametrize("stops", [-2, -0.5, 0.5, 1, 3])
def test_stops_are_stops_in_the_dark_and_roll_off_before_white(stops):
    gray = torch.linspace(0, 1, 4096).view(1, 1, 1, -1).expand(1, 3, 1, -1)
    out = brightened(gray, stops)[0, 0, 0]
    dark = 40  # of 4095: on the straight part of sRGB's curve, as the results up to 2 stops are
    if stops <= 1:
        assert float(out[dark]) == pytest.approx(float(gray[0, 0, 0, dark]) * 2**stops, rel=1e-3)
    middle = 1024
    gain = linear(float(out[middle])) / linear(float(gray[0, 0, 0, middle]))
    assert 0.7 * 2**stops < gain < 1.01 * 2**stops if stops > 0 else gain == pytest.approx(2**stops, rel=0.02)
    assert float(out[0]) == 0 and float(out[-1]) == pytest.approx(1, abs=1e-6) and float(out.max()) <= 1
    assert (out.diff() > 0).all()                                            # no two tones become one


def test_stops_are_undone_by_their_opposite_and_add_up(picture):
    torch.testing.assert_close(brightened(brightened(picture, 1.2), -1.2), picture, atol=1e-5, rtol=0)
    torch.testing.assert_close(brightened(brightened(picture, 0.7), 0.5), brightened(picture, 1.2), atol=1e-5, rtol=0)


def test_brightness_keeps_the_ratios_of_linear_light():
    red, green, blue = 0.2, 0.5, 0.8
    out = brightened(torch.tensor([red, green, blue]).view(1, 3, 1, 1), 1.0).flatten().tolist()
    ratios = [linear(after) / linear(before) for after, before in zip(out, (red, green, blue), strict=True)]
    assert ratios == pytest.approx([ratios[0]] * 3, rel=1e-4) and ratios[0] > 1.2


@pytest.mark.parametrize("factor", [0, 0.5, 1.4, 8])
def test_saturation_keeps_luma_and_hue(picture, factor):
    out = saturated(picture, factor)
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    torch.testing.assert_close((out * weights).sum(1), (picture * weights).sum(1), atol=1e-5, rtol=0)
    assert float(out.min()) >= 0 and float(out.max()) <= 1
    if factor == 0:
        torch.testing.assert_close(out[:, 0], out[:, 2], atol=1e-6, rtol=0)
        return
    for before, after in zip(picture.flatten(2)[0].T.tolist(), out.flatten(2)[0].T.tolist(), strict=True):
        if max(before) - min(before) > 0.05:
            turned = abs(colorsys.rgb_to_hsv(*after)[0] - colorsys.rgb_to_hsv(*before)[0])
            assert min(turned, 1 - turned) < 1e-3
    share = spread(out) / spread(picture)
    assert (share <= factor + 1e-3).all() and (share >= min(factor, 1) - 1e-3).all()
    pale = 0.45 + picture / 10                                               # of these no colour comes near a bound
    if factor < 2:
        torch.testing.assert_close(spread(saturated(pale, factor)), factor * spread(pale), atol=1e-5, rtol=0)


def spread(picture):
    return picture.amax(1) - picture.amin(1)


def test_black_white_and_gray_stay_as_they_are():
    for value in (0.0, 0.4, 1.0):
        gray = torch.full((1, 3, 1, 1), value)
        torch.testing.assert_close(saturated(gray, 3.0), gray, atol=1e-6, rtol=0)
