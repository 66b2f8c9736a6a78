"""The photo's order of red, green and blue: colours that were swapped or paled, grays, amounts, next to equal, black."""
from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.enhancing.channel_order import APART, channel_gains, scene_curve
from engine.enhancing.finishing import finished

RIBBON = ..., slice(40, 60), slice(50, 90)
GREEN = torch.tensor([0.03, 0.30, 0.25]).view(1, 3, 1, 1)       # of a dark photo
CYAN = torch.tensor([0.06, 0.48, 0.52]).view(1, 3, 1, 1)        # what a network made of it


def scene(seed: int = 0) -> Tensor:
    """A dark photo (1, 3, 96, 128) of smooth gray forms."""
    forms = torch.rand(1, 1, 7, 9, generator=torch.Generator().manual_seed(seed))
    return (0.02 + 0.5 * torch.nn.functional.interpolate(forms, (96, 128), mode="bilinear")).expand(-1, 3, -1, -1).contiguous()


def with_ribbon(picture: Tensor, colour: Tensor) -> Tensor:
    picture = picture.clone()
    picture[RIBBON] = colour
    return picture


def green_over_blue(picture: Tensor) -> float:
    """In the middle of the ribbon."""
    _, green, blue = picture[0, :, 45:55, 55:85].mean((1, 2))
    return float(green / blue)


def test_a_green_ribbon_that_became_cyan_is_green_again_and_nothing_else_changes():
    dark, bright = with_ribbon(scene(), GREEN), with_ribbon(scene() ** 0.5, CYAN)
    result = bright * channel_gains(dark, bright, 1.0)
    assert green_over_blue(bright) < 0.95 and green_over_blue(result) > 1.03
    assert green_over_blue(result) <= (0.30 / 0.25) ** (0.5 * APART) + 1e-3                # the curve is a square root
    torch.testing.assert_close(result.amax(1), bright.amax(1), rtol=0, atol=0.005)         # as light as before
    outside = torch.ones_like(bright, dtype=torch.bool)
    outside[RIBBON] = False
    assert torch.equal(result[outside], bright[outside])


def test_it_is_part_of_the_order_of_light():
    dark, bright = with_ribbon(scene(), GREEN), with_ribbon(scene() ** 0.5, CYAN)
    assert green_over_blue(finished(dark, bright, light_order=1.0)) > 1.01
    assert torch.equal(finished(dark, bright, light_order=0.0), bright)


def test_half_is_half_of_the_way():
    dark, bright = with_ribbon(scene(), GREEN), with_ribbon(scene() ** 0.5, CYAN)
    none, half, whole = (green_over_blue(bright * channel_gains(dark, bright, amount)) for amount in (0.0, 0.5, 1.0))
    assert none == green_over_blue(bright) and 0.4 < (half - none) / (whole - none) < 0.6


def test_what_is_as_strong_as_the_curve_has_it_stays_bit_for_bit():
    colours = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(1))
    light = colours.amax(1, keepdim=True)
    stronger = light * (colours / light) ** 1.5
    assert torch.equal(channel_gains(0.3 * colours, stronger, 1.0), torch.ones_like(colours))


def test_what_is_paler_becomes_stronger_in_its_own_hue():
    red = torch.tensor([0.40, 0.05, 0.05]).view(1, 3, 1, 1)
    dark, pale = with_ribbon(scene(), red), with_ribbon(scene() ** 0.5, red**0.25)
    result = (pale * channel_gains(dark, pale, 1.0))[RIBBON].mean((0, 2, 3))
    assert abs(float(result[1] - result[2])) < 1e-3
    assert 1.2 * (0.40 / 0.05) ** 0.25 < float(result[0] / result[1]) < (0.40 / 0.05) ** (0.5 * APART)


def test_noise_of_grays_and_the_colour_of_the_light_are_no_order():
    generator = torch.Generator().manual_seed(2)
    dark = (scene() + 0.004 * torch.randn(1, 3, 96, 128, generator=generator)).clamp(0, 1)
    warm = dark * torch.tensor([1.1, 1.0, 0.9]).view(1, 3, 1, 1)
    balanced = scene() ** 0.5 * torch.tensor([0.99, 1.0, 1.01]).view(1, 3, 1, 1)      # blue is a little the larger
    assert (channel_gains(warm, balanced, 1.0) - 1).abs().max() < 0.01


def test_nothing_jumps_where_two_channels_cross():
    """In the picture, and in the photo."""
    dark = with_ribbon(scene(), GREEN)
    pictures = [with_ribbon(scene() ** 0.5, torch.tensor([0.06, 0.5, 0.5 + more]).view(1, 3, 1, 1)) for more in (-0.001, 0.001)]
    below, above = (green_over_blue(bright * channel_gains(dark, bright, 1.0)) for bright in pictures)
    assert abs(below - above) < 0.01
    bright = with_ribbon(scene() ** 0.5, CYAN)
    for blue in (0.2999, 0.3001):
        dark = with_ribbon(scene(), torch.tensor([0.03, 0.3, blue]).view(1, 3, 1, 1))
        assert abs(green_over_blue(bright * channel_gains(dark, bright, 1.0)) - green_over_blue(bright)) < 0.01


@pytest.mark.parametrize("value", [0.0, 0.01, 1.0])
def test_constants_and_black_stay(value):
    for size in ((96, 128), (1, 1)):
        flat = torch.full((1, 3, *size), value)
        assert torch.equal(channel_gains(flat, flat, 1.0), torch.ones_like(flat))
    black = torch.zeros(1, 3, 9, 9)
    gain = channel_gains(black, torch.rand(1, 3, 9, 9, generator=torch.Generator().manual_seed(3)), 1.0)
    assert torch.equal(gain, torch.ones_like(gain))                                        # black has no order


def test_each_photo_of_a_batch_has_its_own_curve():
    dark = torch.cat([with_ribbon(scene(0), GREEN), with_ribbon(scene(1) * 0.2, GREEN * 0.2)])
    bright = torch.cat([with_ribbon(scene(0) ** 0.5, CYAN), with_ribbon(scene(1) ** 0.3, CYAN)])
    apart = torch.cat([channel_gains(dark[n : n + 1], bright[n : n + 1], 1.0) for n in range(2)])
    torch.testing.assert_close(channel_gains(dark, bright, 1.0), apart)
    for n in range(2):
        torch.testing.assert_close(scene_curve(dark, bright)[n, :, 5, 5], bright[n, :, 5, 5], atol=0.02, rtol=0)
