"""Smaller and larger copies: means and places that are kept, in bands that nobody sees."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from engine.enhancing import sizes
from engine.enhancing.sizes import bands, enlarged_rows, shrunk, working_size

CPU = torch.device("cpu")


def test_working_sizes():
    assert working_size(3000, 4000, 0) == working_size(3000, 4000, 12) == working_size(3000, 4000, 50) == (3000, 4000)
    assert working_size(3000, 4000, 3) == (1500, 2000)
    height, width = working_size(4000, 6001, 1)
    assert 0.997e6 < height * width <= 1e6 and width / height == pytest.approx(6001 / 4000, rel=2e-3)
    assert working_size(1, 5_000_000, 1) == (1, 2236067) and working_size(2, 2, 1e-6) == (1, 1)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 5), (600, 1000), (3, 300_000)])
def test_bands_cover_each_row_once(height, width):
    rows = [row for top, bottom in bands(height, width) for row in range(top, bottom)]
    assert rows == list(range(height))


@pytest.mark.parametrize("size", [(20, 30), (13, 30), (20, 11), (9, 7), (1, 1)])
@pytest.mark.parametrize("pixels", [1, 90, 10_000])
def test_copies_are_the_same_whatever_the_band(make_photo, monkeypatch, size, pixels):
    photo = make_photo(20, 30)
    whole = shrunk(photo, size, CPU)
    large = enlarged_rows(whole, (41, 63), 0, 41)
    monkeypatch.setattr(sizes, "BAND_PIXELS", pixels)
    assert torch.equal(shrunk(photo, size, CPU), whole)
    parts = [enlarged_rows(whole, (41, 63), top, bottom) for top, bottom in bands(41, 63)]
    assert torch.equal(torch.cat(parts, -2), large)


def test_kinds_of_pictures_give_the_same_copy(make_photo):
    photo = make_photo(20, 30)
    wanted = shrunk(photo, (9, 14), CPU)
    tensor = torch.from_numpy(photo / 255).permute(2, 0, 1)[None]
    for image in (photo.astype(np.uint16) * 257, photo / 255, tensor):
        torch.testing.assert_close(shrunk(image, (9, 14), CPU), wanted, atol=1e-6, rtol=0)
    torch.testing.assert_close(shrunk(tensor.repeat(2, 1, 1, 1), (9, 14), CPU)[1:], wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize("factor", [2, 3.3, 5])
def test_a_ramp_keeps_its_place_and_detail_finer_than_a_pixel_its_mean(factor):
    ramp = np.tile(np.linspace(0.1, 0.9, 200)[:, None, None], (1, 60, 3))
    size = (int(200 / factor), int(60 / factor))
    small = shrunk(ramp, size, CPU)
    back = enlarged_rows(small, (200, 60), 0, 200)[0].permute(1, 2, 0).numpy()
    inside = slice(10, -10)
    np.testing.assert_allclose(back[inside], ramp[inside], atol=2e-4)      # not half a pixel off, which were 0.002 and more
    checks = np.broadcast_to(np.indices((200, 60)).sum(0)[..., None] % 2, (200, 60, 3)).astype(np.float32)
    np.testing.assert_allclose(shrunk(checks, size, CPU).numpy()[..., 2:-2, 2:-2], 0.5, atol=0.06)


def test_enlarging_is_torchs_bilinear_and_stays_between_its_neighbours():
    x = torch.rand(2, 4, 11, 9, generator=torch.Generator().manual_seed(0))
    wanted = F.interpolate(x, (37, 50), mode="bilinear", align_corners=False)
    torch.testing.assert_close(enlarged_rows(x, (37, 50), 0, 37), wanted, atol=1e-6, rtol=0)
    torch.testing.assert_close(enlarged_rows(x, (37, 50), 12, 20), wanted[..., 12:20, :], atol=1e-6, rtol=0)
    assert torch.equal(enlarged_rows(x, (11, 9), 3, 5), x[..., 3:5, :])
    constant = torch.full((1, 1, 3, 4), 0.3)
    torch.testing.assert_close(enlarged_rows(constant, (50, 60), 0, 50), torch.full((1, 1, 50, 60), 0.3), atol=1e-7, rtol=0)
