"""Gains for every pixel from those wished for in places: constants, edges, rounds, white and bounds."""
from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.enhancing import gains
from engine.enhancing.gains import fit_gains, gain_to


def picture(seed: int = 0) -> Tensor:
    """(1, 3, 40, 60) in [0.1, 0.6]."""
    forms = torch.rand(1, 3, 11, 16, generator=torch.Generator().manual_seed(seed))
    return 0.1 + 0.5 * torch.nn.functional.interpolate(forms, (40, 60), mode="bilinear")


def brought(bright: Tensor, gain: Tensor) -> Tensor:
    return fit_gains(bright, gain).apply(bright, bright.shape[-2:], 0)


@pytest.mark.parametrize("gain", [0.5, 1.0, 1.4])
def test_one_gain_for_all_is_that_of_each_pixel(gain):
    bright = picture()
    torch.testing.assert_close(brought(bright, torch.full_like(bright, gain)), gain * bright, atol=1e-4, rtol=0)


def test_each_channel_has_its_own():
    bright, gain = picture(), torch.tensor([0.8, 1.0, 1.3]).view(1, 3, 1, 1).expand(1, 3, 40, 60)
    torch.testing.assert_close(brought(bright, gain), gain * bright, atol=1e-3, rtol=0)


def test_gains_of_both_sides_of_an_edge_stay_apart():
    bright = torch.full((1, 3, 40, 60), 0.2)
    bright[..., 30:] = 0.5
    gain = torch.where(bright > 0.3, 0.8, 1.5)
    torch.testing.assert_close(brought(bright, gain), gain * bright, atol=0.005, rtol=0)


def test_a_second_round_brings_more_of_what_is_wished_for(monkeypatch):
    """Of a picture with edges, whose gains follow places that are unlike by their colours, not by their lightness."""
    coarse = torch.rand(1, 3, 10, 15, generator=torch.Generator().manual_seed(3))
    blocks = coarse.repeat_interleave(4, 2).repeat_interleave(4, 3)
    bright = 0.1 + 0.5 * blocks
    wanted = bright * (0.8 + 0.4 * blocks[:, :1])
    left = []
    for rounds in (1, 2):
        monkeypatch.setattr(gains, "ROUNDS", rounds)
        left.append(float((brought(bright, wanted / bright) - wanted).square().mean()))
    assert left[1] < 0.98 * left[0] and left[0] < 0.5 * float((bright - wanted).square().mean())


def test_nothing_is_raised_beyond_white_and_what_is_white_stays():
    bright = torch.linspace(0, 1, 64).view(1, 1, 1, 64).repeat(1, 3, 32, 1)
    result = brought(bright, torch.full_like(bright, 3.0))
    assert result[bright <= 0.95].max() <= 0.95 + 1e-6
    assert torch.equal(result[bright > 0.95], bright[bright > 0.95])


def test_gains_have_bounds():
    bright = picture()
    assert (brought(bright, torch.full_like(bright, 50.0)) <= 5.0 * bright + 1e-6).all()
    assert (brought(bright, torch.zeros_like(bright)) >= 0.2 * bright - 1e-6).all()
    black = torch.zeros(1, 3, 8, 8)
    assert torch.equal(gain_to(black, black), torch.ones_like(black))


def test_the_picture_itself_is_left_alone():
    bright = picture()
    before = bright.clone()
    brought(bright, torch.full_like(bright, 1.2))
    assert torch.equal(bright, before)
