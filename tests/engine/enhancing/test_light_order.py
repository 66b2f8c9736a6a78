"""The photo's order of light in the network's picture: curves, edges, noise, white, batches and bands."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.enhancing import sizes
from engine.enhancing.enhancement import enhance
from engine.enhancing.finishing import finished
from engine.enhancing.light_order import order_gains, rising_curve
from engine.enhancing.sizes import resized
from exp_config import Config
from metrics.loe import loe
from models import HVR

HEIGHT, WIDTH = 96, 128


def scene(seed: int = 0, least: float = 0.02, most: float = 0.5) -> Tensor:
    """A dark photo (1, 3, HEIGHT, WIDTH) of smooth forms in several colours."""
    generator = torch.Generator().manual_seed(seed)
    forms = torch.rand(1, 3, 7, 9, generator=generator)
    return least + (most - least) * torch.nn.functional.interpolate(forms, (HEIGHT, WIDTH), mode="bilinear")


def slope_over_rows(least: float, most: float) -> Tensor:
    return torch.linspace(least, most, HEIGHT).view(1, 1, -1, 1)


def in_order(dark: Tensor, bright: Tensor, amount: float = 1.0) -> Tensor:
    return finished(dark, bright, light_order=amount)


def eight_bit(picture: Tensor) -> np.ndarray:
    return (picture[0].permute(1, 2, 0) * 255).round().byte().numpy()


@pytest.mark.parametrize("power", [0.4, 0.7])
def test_a_picture_that_is_one_curve_of_the_photo_stays(power):
    """As light as it was everywhere, and gray where it is gray; see test_channel_order.py for colours."""
    dark = scene()
    result, bright = in_order(dark, dark**power), dark**power
    torch.testing.assert_close(result.amax(1), bright.amax(1), atol=0.006, rtol=0)
    gray = dark.mean(1, keepdim=True).expand(-1, 3, -1, -1).contiguous()
    torch.testing.assert_close(in_order(gray, gray**power), gray**power, atol=0.008, rtol=0)


def test_equal_light_of_the_photo_becomes_equal_light_of_the_result():
    """The lower a place, the brighter a network has made it."""
    dark = scene()
    wanted = dark**0.5
    bright = (wanted * slope_over_rows(0.8, 1.2)).clamp(0, 1)
    before, after = ((picture - wanted).abs().mean() for picture in (bright, in_order(dark, bright)))
    assert after < before / 4
    orders = [loe(eight_bit(in_order(dark, bright, amount)), eight_bit(dark)) for amount in (0.0, 0.5, 1.0)]
    assert orders[1] < 0.8 * orders[0] and orders[2] < 0.3 * orders[0]


def test_half_of_the_order_is_half_of_the_way():
    """With nothing between the two times that order is found."""
    dark = scene().mean(1, keepdim=True).expand(-1, 3, -1, -1).contiguous()
    bright = (dark**0.5 * slope_over_rows(0.9, 1.1)).clamp(0, 1)
    none, half, all_of_it = (in_order(dark, bright, amount) for amount in (0.0, 0.5, 1.0))
    assert 0.45 < (half - none).norm() / (all_of_it - none).norm() < 0.55


def test_the_dark_and_the_bright_parts_keep_their_mean():
    dark = scene()
    bright = (dark**0.5 * slope_over_rows(0.8, 1.2)).clamp(0, 1)
    result, light = in_order(dark, bright).amax(1), dark.amax(1)
    for part in (light < light.quantile(0.3), light > light.quantile(0.7)):
        assert abs(float((result - bright.amax(1))[part].mean())) < 0.01


def test_casts_that_vary_over_the_picture_become_less():
    dark = scene().mean(1, keepdim=True).expand(-1, 3, -1, -1).contiguous()         # gray, as it should stay
    bright = dark**0.5 * torch.cat([slope_over_rows(0.9, 1.0), slope_over_rows(1.0, 1.0), slope_over_rows(1.0, 0.9)], 1)
    def cast(picture: Tensor) -> float:
        return float((picture[:, 0] - picture[:, 2]).abs().mean())
    assert cast(in_order(dark, bright)) < 0.8 * cast(bright)


def test_strong_colours_are_no_casts():
    """The blue of two places is below the curve of blue: a red place keeps it so, one that is next to gray does not."""
    dark = scene().mean(1, keepdim=True).expand(-1, 3, -1, -1).contiguous()
    gray = dark**0.5
    bright = gray.clone()
    bright[..., 0, 0] = torch.tensor([0.55, 0.12, 0.05])
    bright[..., -1, -1] *= torch.tensor([1, 1, 0.8])
    gain = order_gains(dark, bright, 1.0)
    mended = ((gain[:, 2] / gain[:, 0]).log() / (gray / bright)[:, 2].log())[0]      # share of the blue that is missing
    assert 0 < mended[0, 0] < 0.15 and 0.2 < mended[-1, -1] < 0.4


def test_what_has_been_balanced_is_brought_to_order_once_more():
    dark = scene()
    bright = (dark**0.5 * slope_over_rows(0.8, 1.2) * torch.tensor([1.15, 1.0, 0.6]).view(1, 3, 1, 1)).clamp(0, 1)
    orders = [loe(eight_bit(finished(dark, bright, light_order=order, white_balance=1.0)), eight_bit(dark)) for order in (0, 1)]
    assert orders[1] < 0.35 * orders[0]                  # once, before the balance: 0.38


def test_no_order_is_the_networks_picture_bit_for_bit():
    dark = scene()
    bright = (dark**0.5 * slope_over_rows(0.8, 1.2)).clamp(0, 1)
    assert torch.equal(in_order(dark, bright, 0.0), bright) and not torch.equal(in_order(dark, bright, 0.1), bright)


@pytest.mark.parametrize("value", [0.0, 0.03, 0.5, 1.0])
@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (3, 5), (1, 1)])
def test_a_constant_stays_constant(value, size):
    dark = torch.full((1, 3, *size), value)
    torch.testing.assert_close(in_order(dark, dark**0.5), dark**0.5, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.01, 0.03), (0.05, 0.06), (0.2, 0.25), (0.3, 0.9), (0.5, 0.51)])
def test_a_step_edge_keeps_its_place_and_has_no_halo(low, high):
    dark = torch.full((1, 3, HEIGHT, WIDTH), low)
    dark[..., 61:] = high
    bright = dark**0.5 * slope_over_rows(0.8, 1.0)
    result = in_order(dark, bright)[0, :, 8:-8]                                      # (3, rows, WIDTH)
    left, right = result[..., :30].mean(-1, keepdim=True), result[..., -30:].mean(-1, keepdim=True)
    halo = 0.02 * (right - left)
    assert (halo > 0).all() and (result > left - halo).all() and (result < right + halo).all()
    assert ((result > (left + right) / 2).int().diff(dim=-1).argmax(-1) == 60).all()


def test_the_photos_noise_does_not_come_along():
    generator = torch.Generator().manual_seed(3)
    clean = scene(least=0.05, most=0.1)
    dark = (clean + 0.02 * torch.randn(clean.shape, generator=generator)).clamp(0, 1)
    bright = (clean**0.5 * slope_over_rows(0.8, 1.2)).clamp(0, 1)                    # without the noise
    change = in_order(dark, bright) / bright
    grain = change - torch.nn.functional.avg_pool2d(change, 9, 1, 4, count_include_pad=False)
    brought = (dark / clean - torch.nn.functional.avg_pool2d(dark / clean, 9, 1, 4, count_include_pad=False)).std()
    assert grain.std() < 0.1 * brought


def test_nothing_becomes_white_that_was_not():
    dark = scene(least=0.3, most=1.0)
    bright = (dark**0.5 * slope_over_rows(0.7, 1.0)).clamp(0, 1)
    result = in_order(dark, bright)
    assert (result > bright + 0.01).any() and result.max() <= max(0.95, bright.max()) + 1e-6
    assert not ((result > 0.951) & (bright < 0.949)).any() and result.min() >= 0


def test_batches_bands_and_working_sizes_agree(monkeypatch):
    dark = torch.cat([scene(0), scene(1)])
    bright = (dark**0.5 * slope_over_rows(0.8, 1.2)).clamp(0, 1)
    wanted = torch.cat([in_order(dark[:1], bright[:1]), in_order(dark[1:], bright[1:])])
    for pixels in (1, 1000, 10**6):
        monkeypatch.setattr(sizes, "BAND_PIXELS", pixels)
        torch.testing.assert_close(in_order(dark, bright), wanted, atol=1e-5, rtol=0)
    small = in_order(dark, resized(bright, (HEIGHT // 2, WIDTH // 2)))
    assert (small - wanted).abs().mean() < 0.01


def test_detail_is_fitted_to_the_picture_in_order():
    """A network that paints a curve, its slope and no texture: the result has order and texture both."""
    dark = scene() + 0.02 * (torch.arange(WIDTH) % 4 < 2)
    bright = resized(resized(scene()**0.5 * slope_over_rows(0.8, 1.2), (24, 32)).clamp(0, 1), (24, 32))
    result = finished(dark, bright, light_order=1.0, detail=1.0)
    wanted = dark**0.5
    without = finished(dark, bright, light_order=0.0, detail=1.0)
    assert (result - wanted).abs().mean() < 0.65 * (without - wanted).abs().mean()
    assert (result.diff(dim=-1).abs().mean() / wanted.diff(dim=-1).abs().mean()) > 0.7


def test_the_curve_rises_and_is_the_nearest():
    rng = np.random.default_rng(0)
    x = rng.random(5000)
    y = np.sqrt(x) + 0.1 * rng.standard_normal(5000)
    fitted = np.interp(x, *rising_curve(x, y))
    assert (np.diff(fitted[np.argsort(x)]) >= 0).all()
    assert np.abs(fitted - np.sqrt(x)).mean() < 0.02 and abs(fitted.mean() - y.mean()) < 0.002
    np.testing.assert_allclose(rising_curve(x, -x)[1], -x.mean(), atol=1e-3)               # what falls is best a constant
    levels = np.repeat([1.0, 2.0, 4.0], 100)                                               # photos have few levels in the dark
    np.testing.assert_allclose(np.interp(levels, *rising_curve(levels, levels**2)), levels**2)


def test_the_order_is_the_models_unless_given(make_photo, monkeypatch):
    torch.manual_seed(0)
    model, photo = HVR(swin_depths=[1], swin_num_heads=[4]).eval(), make_photo(40, 30)
    bare, own = enhance(model, photo), enhance(model, photo, light_order=1)
    assert (bare != own).any() and HVR.from_config(Config(inference_light_order=0.5)).inference_light_order == 0.5
    monkeypatch.setattr(model, "inference_light_order", 1.0)
    np.testing.assert_array_equal(enhance(model, photo), own)
    np.testing.assert_array_equal(enhance(model, photo, light_order=0), bare)
