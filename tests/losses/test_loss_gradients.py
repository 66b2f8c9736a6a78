"""Gradients of every loss against finite differences, in float64 and off the kinks."""
from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from losses.color import color_loss
from losses.detail import FLOOR, detail_loss, detail_strength
from losses.exposure import exposure_l2_loss, exposure_loss
from losses.pixel import mae_loss, mse_loss
from losses.saturation import sat_loss, saturation
from losses.seams import profile, seams_loss
from losses.smoothness import satv_loss, tv_loss
from losses.spatial import laplacian, spa_loss


def random_images(seed: int, height: int = 17, width: int = 16, batch: int = 2):
    """Two (batch, 3, H, W) float64 images whose values stay clear of 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    both = torch.rand(2, batch, 3, height, width, generator=generator, dtype=torch.float64) * 0.8 + 0.1
    return both[0].requires_grad_(), both[1]


@pytest.mark.parametrize("loss", [mae_loss, mse_loss, sat_loss, spa_loss])
def test_gradients_of_losses_of_two_images(loss):
    prediction, other = random_images(0, 5, 6)
    assert gradcheck(lambda image: loss(image, other), prediction)


@pytest.mark.parametrize(
    "loss",
    [
        lambda image: exposure_loss(image, 0.3),
        lambda image: exposure_l2_loss(image, 0.3),
        color_loss,
        tv_loss,
        satv_loss,
    ],
)
def test_gradients_of_losses_of_one_image(loss):
    prediction, _ = random_images(1)
    assert gradcheck(loss, prediction)


def test_gradient_of_detail():
    prediction, other = random_images(2, 15, 14, batch=1)
    assert gradcheck(lambda image: detail_loss(image, other), prediction)


def test_detail_of_a_checkerboard_is_its_height():
    board = 0.1 * (-1.0) ** (torch.arange(20)[:, None] + torch.arange(24)) + 0.5
    strength = detail_strength(board.expand(2, 3, 20, 24))
    assert strength.shape == (2, 1, 3, 4)
    torch.testing.assert_close(strength, torch.full_like(strength, (0.1**2 + FLOOR**2) ** 0.5))


def test_detail_asks_how_much_structure_there_is_and_not_where():
    texture = torch.rand(1, 3, 32, 40, generator=torch.Generator().manual_seed(0))
    elsewhere, half = texture.roll((1, 1), (2, 3)), 0.25 + texture / 2
    assert detail_loss(texture, texture) == 0
    assert detail_loss(elsewhere, texture) < 0.2 * detail_loss(half, texture)
    assert detail_loss(half, texture) == pytest.approx(detail_strength(texture).mean().item() / 2, rel=0.01)


def test_gradient_of_seams():
    prediction, other = random_images(2, 17, 18, batch=1)
    assert gradcheck(lambda image: seams_loss(image, other), prediction)


@pytest.mark.parametrize("offset", [0, 4])
def test_seams_sees_the_borders_of_the_windows_in_columns_and_rows(offset):
    texture = 0.2 + torch.rand(2, 3, 40, 64, generator=torch.Generator().manual_seed(0)) / 5
    stripes = 0.2 * ((torch.arange(64) + 8 - offset) // 8 % 2)
    seamed = texture + stripes
    assert seams_loss(texture, texture) == 0
    assert seams_loss(seamed, texture) > 50 * seams_loss(texture.roll(1, -1), texture)
    torch.testing.assert_close(seams_loss(seamed.mT, texture.mT), seams_loss(seamed, texture))
    assert profile(seamed, -1).mean(0).argmax() == offset
    torch.testing.assert_close(profile(seamed, -1).mean(1), torch.ones(2), atol=0.03, rtol=0)


def test_seams_asks_for_no_less_than_the_reference_has():
    steps = (torch.arange(64) // 8 % 2 * 0.2).expand(1, 3, 40, 64)
    assert seams_loss(steps, steps) == 0
    assert seams_loss(torch.full_like(steps, 0.5), steps) > 1


def test_saturation_of_known_colours():
    """HSV: pure red is fully saturated, a gray not at all, (1, .5, .5) half."""
    colours = torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0.5], [1, 0.5, 0.5], [0, 0, 0]]).view(4, 3, 1, 1)
    assert saturation(colours).flatten().tolist() == pytest.approx([1, 0, 0.5, 0], abs=1e-5)


def test_laplacian_of_a_point():
    point = torch.zeros(1, 5, 5)
    point[0, 2, 2] = point[0, 0, 0] = 1
    expected = torch.zeros(1, 5, 5)
    expected[0, 2, 2], expected[0, 0, 0] = 4, 4
    expected[0, [1, 3, 2, 2, 0, 1], [2, 2, 1, 3, 1, 0]] = -1
    assert torch.equal(laplacian(point), expected)


def test_exposure_leaves_out_the_rest_that_16_does_not_divide():
    image = torch.full((1, 3, 16, 16), 0.25)
    wider = torch.nn.functional.pad(image, (0, 15, 0, 15), value=1.0)
    assert exposure_loss(wider, 0.5) == exposure_loss(image, 0.5) == 0.25
    assert exposure_l2_loss(wider, 0.5) == 0.0625


def test_satv_leaves_edges_alone_and_tv_does_not():
    """A sharp edge costs less than a faint one in satv, more in tv."""
    faint, sharp = torch.zeros(2, 1, 3, 8, 8).unbind(0)
    faint[..., 4:], sharp[..., 4:] = 0.1, 0.9
    assert satv_loss(sharp) < satv_loss(faint) < 0.1
    assert tv_loss(sharp) > tv_loss(faint) > 0
