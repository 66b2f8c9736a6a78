"""White balance of what came out of the dark: casts, what is well lit, brightness, amounts."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.enhancing.enhancement import enhance
from engine.enhancing.finishing import finished
from engine.enhancing.pictures import luma_of
from engine.enhancing.white_balance import balance_gains
from exp_config import Config
from models import HVR

CAST = torch.tensor([1.2, 1.0, 0.7]).view(1, 3, 1, 1)


def room(light: float, seed: int = 0, colour: float = 0.3) -> Tensor:
    """A scene (1, 3, 64, 96) of grays and colours whose mean is gray, nowhere lighter than `light`."""
    forms = torch.rand(1, 3, 5, 7, generator=torch.Generator().manual_seed(seed))
    forms = forms - forms.mean((2, 3), keepdim=True) + 0.5
    forms = torch.lerp(forms.mean(1, keepdim=True), forms, colour)
    return light * torch.nn.functional.interpolate(forms, (64, 96), mode="bilinear").clamp(0.05, 1)


def cast(picture: Tensor) -> Tensor:
    """Of red and of blue: their mean over that of green, as a logarithm, (2,)."""
    red, green, blue = picture.mean((0, 2, 3))
    return torch.stack([red / green, blue / green]).log()


@pytest.mark.parametrize("amount", [0.3, 0.5, 1.0])
@pytest.mark.parametrize("strength", [0.25, 1.0])
def test_the_cast_of_a_dark_photo_becomes_less_by_as_much_as_is_asked(amount, strength):
    dark, bright = room(0.03) * CAST**strength, 0.8 * room(0.9) * CAST**strength
    before, after = cast(bright), cast(finished(dark, bright, white_balance=amount))
    taken = (1 - after / before) / amount
    assert (before.abs() > 0.15 * strength).all() and (taken > 0.6).all() and (taken < 1.05).all()


def test_a_strong_colour_is_no_cast():
    """A large orange thing in a gray room: the mean of all is orange, and nothing is to be done about it."""
    gray = room(0.8, colour=0.0)
    bright = gray.clone()
    bright[..., 60:] = torch.tensor([0.7, 0.35, 0.1]).view(1, 3, 1, 1)
    result = finished(0.05 * bright, bright, white_balance=1.0)
    assert abs(cast(bright)[1]) > 0.25 and (cast(result[..., :56]).abs() < 0.06).all()
    torch.testing.assert_close(result[..., 64:], bright[..., 64:], atol=0.02, rtol=0)


def test_what_the_photo_shows_well_lit_keeps_its_colours():
    sunset = 0.8 * room(0.9) * CAST
    assert torch.equal(balance_gains(sunset, sunset, 1.0), torch.ones_like(sunset))
    assert torch.equal(balance_gains(sunset, 0.9 * sunset, 1.0), torch.ones_like(sunset))   # the network made it darker
    dark = sunset.clone()
    dark[..., 48:] *= 0.1
    result = finished(dark, sunset, white_balance=1.0)
    torch.testing.assert_close(result[..., :44], sunset[..., :44], atol=0.02, rtol=0)
    assert (cast(result[..., 52:]).abs() < 0.6 * cast(sunset[..., 52:]).abs()).all()


def test_brightness_stays():
    dark, bright = room(0.08) * CAST, 0.7 * room(0.9) * CAST
    result = finished(dark, bright, white_balance=1.0)
    assert abs(float(luma_of(result).mean() / luma_of(bright).mean()) - 1) < 0.02
    assert result.min() >= 0 and result.max() <= 1


def test_gray_stays_gray_and_black_black():
    gray = room(0.8).mean(1, keepdim=True).expand(-1, 3, -1, -1).contiguous()
    torch.testing.assert_close(finished(gray * 0.1, gray, white_balance=1.0), gray, atol=1e-5, rtol=0)
    black = torch.zeros(1, 3, 9, 9)
    assert torch.equal(finished(black, black, white_balance=1.0), black)


def test_with_the_order_of_light_the_cast_is_that_of_the_picture_in_order():
    dark, bright = room(0.03) * CAST, 0.8 * room(0.9) * CAST * torch.linspace(0.8, 1.1, 64).view(1, 1, -1, 1)
    both = finished(dark, bright, light_order=1.0, white_balance=1.0)
    order = finished(dark, bright, light_order=1.0)
    assert (cast(both).abs() < 0.6 * cast(order).abs()).all()
    assert luma_of(both).mean((1, 3)).std() < 1.2 * luma_of(order).mean((1, 3)).std()


def test_each_photo_of_a_batch_has_its_own_cast():
    dark = torch.cat([room(0.08) * CAST, room(0.1, 1) / CAST])
    bright = (8 * dark).clamp(0, 1)
    apart = torch.cat([finished(dark[n : n + 1], bright[n : n + 1], white_balance=0.7) for n in range(2)])
    torch.testing.assert_close(finished(dark, bright, white_balance=0.7), apart, atol=1e-6, rtol=0)


def test_it_is_the_models_unless_given(make_photo, monkeypatch):
    torch.manual_seed(0)
    model, photo = HVR(swin_depths=[1], swin_num_heads=[4]).eval(), make_photo(40, 30) // 4
    bare, own = enhance(model, photo), enhance(model, photo, white_balance=1)
    assert (bare != own).any() and HVR.from_config(Config(inference_white_balance=0.5)).inference_white_balance == 0.5
    monkeypatch.setattr(model, "inference_white_balance", 1.0)
    np.testing.assert_array_equal(enhance(model, photo), own)
    np.testing.assert_array_equal(enhance(model, photo, white_balance=0), bare)
