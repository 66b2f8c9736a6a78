"""The noise of a photo from the photo alone: what was added is found, and texture, edges and light are not taken for it."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.enhancing.noise import ROUNDING, noise_of

CPU = torch.device("cpu")
LUMA_OF_NOISE = (0.299**2 + 0.587**2 + 0.114**2) ** 0.5  # of channels with noise of their own


def photo(height: int = 240, width: int = 320) -> np.ndarray:
    """Half of it sky, half of it texture and edges; float (H, W, 3)."""
    y, x = np.mgrid[0:height, 0:width]
    scene = 0.2 + 0.2 * y / height + 0.1 * x / width
    texture = 0.08 * np.sin(1.9 * x) * np.sin(2.2 * y) + 0.2 * ((x // 24 + y // 24) % 2)
    return np.repeat((scene + texture * (y > height / 2))[..., None], 3, 2)


@pytest.mark.parametrize("levels", [1.0, 2.0, 6.0])
def test_noise_that_was_added_is_found(levels):
    noisy = photo() + np.random.default_rng(0).normal(0, levels / 255, (240, 320, 3))
    found = float(noise_of(noisy.clip(0, 1), CPU))
    assert found == pytest.approx(LUMA_OF_NOISE * levels / 255, rel=0.15)


def test_a_photo_without_noise_has_that_of_rounding():
    assert float(noise_of(photo(), CPU)) == pytest.approx(ROUNDING)
    assert float(noise_of(np.zeros((40, 40, 3), np.uint8), CPU)) == pytest.approx(ROUNDING)


def test_parts_that_are_cut_off_say_nothing():
    noisy = photo() + np.random.default_rng(0).normal(0, 3 / 255, (240, 320, 3))
    wanted = float(noise_of(noisy.clip(0, 1), CPU))
    noisy[:, :120] = 0
    noisy[:, 120:160] = 1
    assert float(noise_of(noisy.clip(0, 1), CPU)) == pytest.approx(wanted, rel=0.2)


def test_kinds_batches_and_large_photos_agree():
    rng = np.random.default_rng(1)
    noisy = (photo() + rng.normal(0, 3 / 255, (240, 320, 3))).clip(0, 1)
    wanted = noise_of(noisy, CPU)
    eight = (noisy * 255).round()
    torch.testing.assert_close(noise_of(eight.astype(np.uint8), CPU), wanted, rtol=0.02, atol=0)
    torch.testing.assert_close(noise_of((noisy * 65535).round().astype(np.uint16), CPU), wanted, rtol=1e-3, atol=0)
    batch = torch.from_numpy(np.stack([noisy, photo()])).permute(0, 3, 1, 2)
    torch.testing.assert_close(noise_of(batch, CPU), torch.tensor([float(wanted), ROUNDING]), rtol=1e-4, atol=0)
    tall = np.tile(noisy, (8, 1, 1))
    torch.testing.assert_close(noise_of(tall, CPU), wanted, rtol=0.1, atol=0)


@pytest.mark.parametrize("shape", [(1, 1), (2, 50), (3, 3), (5, 40)])
def test_any_size(shape):
    assert float(noise_of(np.random.default_rng(0).random((*shape, 3)), CPU)) >= ROUNDING
