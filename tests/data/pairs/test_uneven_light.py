"""Light that varies over the picture: bounds, what bright and dark parts become, and the streams of random numbers."""
from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from data.pairs import uneven_light
from data.pairs.dataset import LowLightPairs
from data.pairs.degradation import final_ranges
from data.pairs.randomness import stream
from data.pairs.sensor_noise import LINEAR_LIGHT, to_srgb
from data.pairs.uneven_light import draw_scene, lamp_share, light_colour, luma_share, scattered, smooth_share, unevenly_lit
from exp_config.config import Config

CONFIG = Config.named("dark_photos", reference_mean=[0.0, 0.0], uneven_light_rate=1.0, height=24, width=32)
SHARES = (smooth_share, luma_share, lamp_share)


@pytest.fixture(scope="module")
def normal(make_photo):
    """uint8 (3, 40, 56)."""
    return np.ascontiguousarray(make_photo(40, 56, 1).transpose(2, 0, 1))


def drawn(normal, name, config=CONFIG):
    return draw_scene(normal, stream("scene", name), final_ranges(config), config)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("size", [(40, 56), (1, 1), (7, 3)])
def test_the_share_of_bright_light_is_between_none_and_all(share, size, normal):
    for number in range(30):
        field = share(normal[:, : size[0], : size[1]], stream("share", number))
        assert field.shape == size and field.dtype == np.float32 and field.min() >= 0.0 and field.max() <= 1.0


@pytest.mark.parametrize("share", SHARES)
def test_the_light_varies_over_the_picture_smoothly(share, normal):
    spans, steps = zip(*((field.max() - field.min(), np.abs(np.diff(field, axis=1)).max())
                         for field in (share(normal, stream("share", number)) for number in range(40))), strict=True)
    assert np.mean(spans) > 0.3
    if share is not luma_share:  # which follows edges of the photo
        assert np.mean(steps) < 0.35


def test_a_lamp_falls_off_as_a_point_light_over_a_plane(normal, monkeypatch):
    """Right below it all of its light, and 2^(-3/2) of it at a distance of its height (45 degrees)."""
    for name, value in (("LAMPS", (1, 1)), ("LAMP_PLACE", (0.5, 0.5)), ("LAMP_STRENGTH", (1.0, 1.0)),
                        ("LAMP_HEIGHT", (10 / 56, 10 / 56))):
        monkeypatch.setattr(uneven_light, name, value)
    field = lamp_share(normal, stream("lamp"))
    assert field[20, 28] == pytest.approx(1.0)
    assert field[20, 38] == pytest.approx(2**-1.5) == pytest.approx(field[30, 28])


def test_bright_parts_of_the_photo_keep_their_light_where_it_follows_them(normal):
    dark_half = normal.copy()
    dark_half[..., :28] //= 8
    dark_half[..., 28:] |= 0xE0
    for number in range(20):
        field = luma_share(dark_half, stream("luma", number))
        assert field[:, 40:].mean() > 0.75 and field[:, :12].mean() < 0.1


def test_a_scene_is_no_brighter_than_the_photo_but_for_glare(normal):
    config = dataclasses.replace(CONFIG, uneven_glare_range=[0.0, 0.0])
    for number in range(20):
        scene = drawn(normal, number, config)
        for light in scene:
            assert light.shape == normal.shape and light.dtype == np.float32
            assert light.min() >= 0.0 and (light <= LINEAR_LIGHT[normal] + 1e-6).all()
        glaring = drawn(normal, number, dataclasses.replace(config, uneven_glare_range=[0.02, 0.02]))
        np.testing.assert_allclose(glaring.light, np.minimum(scene.light + 0.02 * scattered(scene.light), 1), atol=1e-6)
        assert (glaring.dark == scene.dark).all()


def test_scattered_light_is_as_much_as_there_is(normal):
    light = LINEAR_LIGHT[normal]
    assert scattered(light).shape == light.shape
    np.testing.assert_allclose(scattered(light).mean((1, 2)), light.mean((1, 2)), rtol=0.1)
    assert scattered(light).std() < light.std()


def test_the_colour_of_light_stays_within_its_spread():
    gains = np.array([light_colour(stream("colour", number), 0.3).ravel() for number in range(300)])
    assert (gains.max(1) == 1).all() and gains.min() >= np.exp(-0.6) - 1e-6
    ratio = np.log(gains[:, 0] / gains[:, 2])
    assert -0.6 <= ratio.min() < -0.5 and 0.5 < ratio.max() <= 0.6
    assert (light_colour(stream("colour"), 0.0) == 1).all()


def test_without_noise_the_file_is_the_light_rounded_down_once(normal):
    scene = drawn(normal, 3)
    low = unevenly_lit(normal, stream("scene", 3), stream("noise"), final_ranges(CONFIG), CONFIG, noise=False)
    assert low.dtype == np.uint8 and low.shape == normal.shape
    exact = 255 * to_srgb(scene.light.astype(np.float64))
    assert (low <= exact + 2e-3).all() and (low > exact - 1).all()


def test_noise_comes_with_the_darkness_of_the_surroundings(normal):
    def noisy(loss):
        config = dataclasses.replace(CONFIG, uneven_l_range=[loss, loss], alpha_range=[0.0, 0.0], k_range=[0.0, 0.0])
        return sum(not np.array_equal(*(
            unevenly_lit(normal, stream("scene", number), stream("noise", number), final_ranges(config), config, noise)
            for noise in (True, False))) for number in range(30))

    assert noisy(0.0) <= 6 and 7 < noisy(0.5) < 23 and noisy(0.95) > 25


def test_what_gets_no_uneven_light_is_the_published_sample_at_any_rate(photos):
    even, half, every = (LowLightPairs(photos, dataclasses.replace(CONFIG, uneven_light_rate=rate), True)
                         for rate in (0.0, 0.5, 1.0))
    uneven = 0
    for epoch in range(4):
        for index in range(12):
            without, some, always = even[epoch, index], half[epoch, index], every[epoch, index]
            for other in (some, always):
                assert torch.equal(without["normal"], other["normal"]) and without["state_seed"] == other["state_seed"]
            assert torch.equal(some["low"], without["low"]) or torch.equal(some["low"], always["low"])
            assert not torch.equal(always["low"], without["low"])
            uneven += not torch.equal(some["low"], without["low"])
    assert 14 < uneven < 34


def test_the_fields_do_nothing_at_a_rate_of_zero_and_the_default_is_zero(photos):
    plain = dataclasses.replace(CONFIG, uneven_light_rate=0.0)
    changed = dataclasses.replace(plain, uneven_l_range=[0.1, 0.2], uneven_gain_range=[0.5, 0.6], uneven_colour_spread=0.3,
                                  uneven_glare_range=[0.1, 0.2])
    for train in (True, False):
        one, other = (LowLightPairs(photos, config, train) for config in (plain, changed))
        assert all(torch.equal(one[0, index]["low"], other[0, index]["low"]) for index in range(12))
    assert Config().uneven_light_rate == 0.0 == Config.named("base_model").uneven_light_rate


def test_samples_depend_on_seed_epoch_and_photo_alone(photos):
    pairs, turned = LowLightPairs(photos, CONFIG, True), LowLightPairs(photos[::-1], CONFIG, True)
    together = pairs.__getitems__([(1, index) for index in range(12)])
    for index in range(12):
        assert torch.equal(together[index]["low"], turned[1, 11 - index]["low"])
        assert not torch.equal(together[index]["low"], pairs[0, index]["low"])


def test_validation_has_uneven_light_too_without_noise_by_the_photo_alone(photos):
    one, other = (LowLightPairs(photos, dataclasses.replace(CONFIG, **changes), False)
                  for changes in ({}, {"seed": 7, "epochs": 3, "sensor_noise_rate": 0.0}))
    even = LowLightPairs(photos, dataclasses.replace(CONFIG, uneven_light_rate=0.0), False)
    for index in range(12):
        assert torch.equal(one[0, index]["low"], other[2, index]["low"])
        assert not torch.equal(one[0, index]["low"], even[0, index]["low"])
