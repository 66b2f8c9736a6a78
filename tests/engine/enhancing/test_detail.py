"""The photo's own detail in the network's picture: edges, flat parts, gradients, darkness, bands and batches."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.enhancing.detail import DetailMap, beyond_noise, fit_detail, share_of_photo
from engine.enhancing.pictures import luma_of
from engine.enhancing.sizes import resized
from engine.enhancing.windows import small_copy


def with_detail(dark: Tensor, curve, size=None, amount: float = 1.0) -> Tensor:
    """The photo through a network that is a tone curve of a copy of it, of `size`, and then given its detail."""
    whole = tuple(dark.shape[-2:])
    small = dark if size is None else resized(dark, size)
    own = map_of(small, curve(small))
    picture = curve(small) if size is None else torch.nn.functional.interpolate(curve(small), whole, mode="bilinear")
    return own.apply(picture, dark, whole, 0, amount)


def map_of(dark: Tensor, bright: Tensor, noise: float = 0.0) -> DetailMap:
    """Of a photo with so much noise, as bright as the photo says."""
    return fit_detail(small_copy(dark), bright, torch.full((len(dark),), noise))


def root(x: Tensor) -> Tensor:
    return x.clamp(min=0) ** 0.5


def step_edge(low: float, high: float, height: int = 96, width: int = 128, place: int = 61) -> Tensor:
    dark = torch.full((1, 3, height, width), low)
    dark[..., place:] = high
    return dark


@pytest.mark.parametrize("size", [None, (48, 64), (37, 50), (24, 32)])
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.01, 0.03), (0.05, 0.06), (0.2, 0.25), (0.3, 0.9), (0.5, 0.51)])
def test_a_step_edge_keeps_its_place_and_has_no_halo(low, high, size):
    out = with_detail(step_edge(low, high), root, size)[0, :, 48]                     # (3, 128)
    bottom, top = low**0.5, high**0.5
    height = top - bottom
    assert out.min() > bottom - 0.02 * height and out.max() < top + 0.02 * height      # neither dark nor bright fringes
    middle = (out > (bottom + top) / 2).int()
    edge = middle.diff(dim=-1).argmax(-1) + 1
    assert (edge - 61).abs().max() <= (0 if low >= 0.1 else 128 / (2 * (size or (96, 128))[1]))
    assert (out[:, :30] - bottom).abs().max() < 0.02 * height and (out[:, -30:] - top).abs().max() < 0.02 * height


def test_an_edge_of_a_lit_photo_is_as_sharp_as_the_photo_at_any_working_size():
    dark = step_edge(0.3, 0.6)
    for size in ((48, 64), (24, 32)):
        out = with_detail(dark, root, size)[0, 0, 48]
        assert float(out[61] - out[60]) > 0.95 * (0.6**0.5 - 0.3**0.5)


@pytest.mark.parametrize("value", [0.0, 0.03, 0.5, 1.0])
def test_a_constant_stays_constant(value):
    dark = torch.full((1, 3, 40, 50), value)
    for size in (None, (13, 17)):
        torch.testing.assert_close(with_detail(dark, root, size), root(dark), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("noise", "kept"), [(0.1 / 255, True), (4 / 255, False)])
def test_texture_that_the_network_lost_is_the_photos_again_unless_it_is_noise(noise, kept):
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    shape = 0.1 + 0.1 * torch.sin(y / 20) + x / 960
    texture = 0.01 * torch.sin(2.0 * x) * torch.sin(1.7 * y)
    dark, bright = (value.expand(1, 3, -1, -1) for value in (shape + texture, 2.5 * shape + 0.1))  # which paints no texture
    out = map_of(dark, bright, noise).apply(bright, dark, (96, 96), 0, 1.0)
    found = (out - bright)[..., 8:-8, 8:-8]
    if kept:
        torch.testing.assert_close(found, (2.5 * texture).expand(1, 3, -1, -1)[..., 8:-8, 8:-8], atol=0.003, rtol=0)
    else:
        assert torch.equal(out, bright)


def test_the_share_falls_where_noise_would_show():
    """Of the photo's colours sooner than of its light."""
    light = torch.full((1, 3, 4, 5), 0.1)
    levels = torch.tensor([1, 2, 3, 4.3, 6, 9]).view(-1, 1, 1, 1) / 255
    of_luma, of_colour = share_of_photo(light.expand(6, -1, -1, -1), levels.expand(-1, -1, 4, 5)).mean((2, 3)).unbind(1)
    assert of_luma[:3].tolist() == [1, 1, 1] and 0.96 < of_luma[3] < 1 and 0.4 < of_luma[4] < 0.6 and of_luma[5] == 0
    assert of_colour[:2].tolist() == [1, 1] and 0.4 < of_colour[2] < 0.6 and of_colour[3:].tolist() == [0, 0, 0]


@pytest.mark.parametrize("channels", [1, 3])
def test_of_a_change_stays_what_noise_does_not_explain(channels):
    noise = torch.full((1, 1, 1, 5), 2 / 255)
    change = noise * torch.tensor([0.1, 1.0, -2.0, 10.0, 0.0]) * torch.tensor([1.0, -1.0, 1.0])[:channels].view(1, -1, 1, 1)
    kept = beyond_noise(change.clone(), noise)
    torch.testing.assert_close(kept, change * torch.tensor([0, 0, 0.75, 0.99, 0]))
    torch.testing.assert_close(beyond_noise(change.clone(), torch.zeros(1, 1, 1, 5)), change)


def test_grain_of_the_photo_is_fainter_in_the_result_than_its_structure():
    """A scene with a texture four times as strong as its noise, which a network has painted without both."""
    generator = torch.Generator().manual_seed(5)
    ramp = torch.linspace(0.2, 0.4, 128).expand(1, 3, 128, 128)
    texture = 4 / 255 * torch.where(torch.rand(1, 1, 128, 128, generator=generator) > 0.9, 1.0, 0.0)
    grain = torch.randn(1, 1, 128, 128, generator=generator) / 255
    photo = ramp + texture + grain
    found = (map_of(photo, 2 * ramp, 1 / 255).apply(2 * ramp, photo, (128, 128), 0, 1.0) - 2 * ramp).mean(1)
    flat = texture[:, 0] == 0
    assert found[~flat].mean() - found[flat].mean() > 0.75 * 2 * 4 / 255
    assert found[flat].std() < 0.9 * 2 * grain[:, 0][flat].std()


def test_what_is_clipped_has_no_detail_to_give():
    shares = []
    for level in (200, 251, 252.5, 254, 255):
        light = torch.full((1, 3, 4, 5), level / 255)
        shares.append(float(share_of_photo(light, torch.full((1, 1, 4, 5), 0.3 / 255)).mean()))
    assert shares[:2] == [1, 1] and 0.4 < shares[2] < 0.6 and shares[3:] == [0, 0]
    photo = torch.ones(1, 3, 64, 64)                                              # white, where the network saw something
    picture = 0.85 + 0.02 * torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    detail = fit_detail(small_copy(photo), picture, torch.tensor([0.3 / 255]))
    assert torch.equal(detail.apply(picture, photo, (64, 64), 0, 1.0), picture)


@pytest.mark.parametrize(("share", "luma_kept", "colour_kept"), [((1.0, 0.0), True, False), ((0.0, 1.0), False, True),
                                                                ((1.0, 1.0), True, True)])
def test_light_and_colours_come_from_the_photo_by_shares_of_their_own(share, luma_kept, colour_kept):
    generator = torch.Generator().manual_seed(3)
    picture, photo = (0.3 + 0.4 * torch.rand(1, 3, 16, 16, generator=generator) for _ in range(2))
    maps = torch.zeros(1, 9, 4, 4)
    maps[:, :3] = 1  # gains of one, no offset, no noise: the mapped photo is the photo
    maps[:, 6:8] = torch.as_tensor(share).view(1, 2, 1, 1)
    out = DetailMap(maps).apply(picture, photo, (16, 16), 0, 1.0)
    torch.testing.assert_close(luma_of(out), luma_of(photo if luma_kept else picture))
    for kept, source in ((colour_kept, photo), (not colour_kept, picture)):
        if kept:
            torch.testing.assert_close(out - luma_of(out), source - luma_of(source))


def test_amounts_lie_between():
    generator = torch.Generator().manual_seed(1)
    dark = torch.rand(1, 3, 40, 50, generator=generator)
    bright = root(dark) * 0.9 + 0.05 * torch.rand(1, 3, 40, 50, generator=generator)
    own = map_of(dark, bright)
    none, half, all_of_it = (own.apply(bright, dark, (40, 50), 0, amount) for amount in (0.0, 0.5, 1.0))
    assert torch.equal(none, bright) and not torch.equal(all_of_it, bright)
    torch.testing.assert_close(half, (none + all_of_it) / 2)


def test_bands_and_batches_change_nothing(make_photo):
    photos = torch.stack([torch.from_numpy(make_photo(50, 70, seed)).permute(2, 0, 1) / 255 for seed in (0, 1)])
    small = resized(photos, (25, 35))
    own = map_of(small, root(small))
    picture = torch.rand(2, 3, 50, 70, generator=torch.Generator().manual_seed(2))
    whole = own.apply(picture, photos, (50, 70), 0, 1.0)
    bands = [own.apply(picture[..., top:top + 7, :], photos[..., top:top + 7, :], (50, 70), top, 1.0)
             for top in range(0, 50, 7)]
    assert torch.equal(torch.cat(bands, -2), whole)
    alone = map_of(small[1:], root(small[1:])).apply(picture[1:], photos[1:], (50, 70), 0, 1.0)
    torch.testing.assert_close(alone, whole[1:], atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [None, (32, 250)])
def test_gradients_of_16_bits_stay_smooth(size):
    ramp = (np.linspace(0.25, 0.3, 2000) * 65535).round().astype(np.float32) / 65535   # 13 levels of 8 bits, 3277 of 16
    dark = torch.from_numpy(ramp).expand(1, 3, 64, -1).contiguous()
    out = with_detail(dark, root, size)[0, 0, 32, 200:-200].double()
    steps = out.diff()
    assert steps.max() < 5e-5 and steps.min() > 0             # 8-bit steps were 0.004; never flat, never back
    wanted = root(dark)[0, 0, 32, 200:-200].double()
    assert (out - wanted).abs().max() < 1e-3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_devices_agree(make_photo):
    dark = torch.from_numpy(make_photo(101, 87)).permute(2, 0, 1)[None] / 255
    there, here = with_detail(dark.cuda(), root, (50, 43)).cpu(), with_detail(dark, root, (50, 43))
    torch.testing.assert_close(there, here, atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (2, 3), (9, 1)])
def test_any_size(size):
    dark = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    out = with_detail(dark, root)
    assert out.shape == dark.shape and torch.isfinite(out).all() and out.min() >= 0 and out.max() <= 1
