"""Blur, spots and mixing noise."""
from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.pairs import augment
from data.pairs.augment import defocus, degrade, down_and_up, mix_noise, spots
from data.pairs.randomness import stream


class Fixed:
    """A generator whose whole and real numbers are given; what is not given comes from a real one."""

    def __init__(self, **answers):
        self.answers, self.rng = answers, stream("fixed")

    def __getattr__(self, name):
        return (lambda *_, **__: self.answers[name]) if name in self.answers else getattr(self.rng, name)


@pytest.fixture
def picture(make_photo):
    return make_photo(96, 112, 3).astype(np.float32) / 255


def test_without_degradations_the_picture_itself_comes_back(make_photo):
    planes = make_photo(20, 30, 1).transpose(2, 0, 1)
    assert degrade(planes, stream("test"), 0.0) is planes


@settings(deadline=None, max_examples=30)
@given(height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 999))
def test_any_size_and_any_combination_gives_a_picture(height, width, seed):
    planes = np.random.default_rng(seed).integers(0, 256, (3, height, width), dtype=np.uint8)
    for rate in (0.5, 1.0):
        result = degrade(planes, stream("test", seed), rate)
        assert result.shape == planes.shape and result.dtype == np.uint8 and result.flags.c_contiguous
        np.testing.assert_array_equal(result, degrade(planes, stream("test", seed), rate))


def test_each_degradation_meets_its_share_of_the_photos(monkeypatch):
    met = dict.fromkeys(("blur", "spots", "mix"), 0)

    def count(name):
        def note(image, *_):
            met[name] += 1
            return image
        return note

    for function, name in (("defocus", "blur"), ("down_and_up", "blur"), ("spots", "spots"), ("mix_noise", "mix")):
        monkeypatch.setattr(augment, function, count(name))
    planes, rng = np.zeros((3, 2, 2), np.uint8), stream("test")
    for _ in range(4000):
        degrade(planes, rng, 0.1)
    assert all(320 < times < 480 for times in met.values()), met


def test_quantisation_floors_and_loses_no_whole_level():
    planes = np.arange(256, dtype=np.uint8).reshape(1, 16, 16).repeat(3, axis=0)
    for added in (0.0, 0.9):
        with pytest.MonkeyPatch.context() as patch:
            for name in ("defocus", "spots", "mix_noise"):
                patch.setattr(augment, name, lambda image, rng: image)
            patch.setattr(augment, "down_and_up", lambda image, added=added: image + added / 255)
            patch.setattr(augment, "defocus", lambda image, rng, added=added: image + added / 255)
            np.testing.assert_array_equal(degrade(planes, stream("test"), 1.0), planes)


@pytest.mark.parametrize("radius", [1, 2, 3])
def test_defocus_is_the_disc_softened_by_a_gaussian(picture, radius):
    reach = np.arange(-8, 9)
    disc = (reach[:, None] ** 2 + reach[None] ** 2 <= radius**2).astype(np.float32)
    kernel = cv2.GaussianBlur(disc / disc.sum(), (3, 3), sigmaX=0.3)
    blurred = defocus(picture, Fixed(integers=radius, uniform=0.3))
    np.testing.assert_allclose(blurred, cv2.filter2D(picture, -1, kernel), atol=1e-5)
    assert np.abs(np.diff(blurred, axis=1)).mean() < np.abs(np.diff(picture, axis=1)).mean()


def test_blur_of_either_kind_keeps_a_plain_area_plain():
    plain = np.full((40, 30, 3), 0.37, np.float32)
    for blurred in (defocus(plain, stream("test")), down_and_up(plain)):
        np.testing.assert_allclose(blurred, plain, atol=1e-5)


def test_down_and_up_loses_what_half_the_resolution_cannot_show():
    stripes = np.tile(np.array([0.0, 1.0], np.float32), 32)[None, :, None].repeat(64, 0).repeat(3, 2)
    assert down_and_up(stripes).std() < 0.15 < stripes.std()


def test_spots_cover_a_tenth_a_third_of_them_black():
    grey = np.full((224, 224, 3), 0.5, np.float32)
    cover, black = [], []
    for seed in range(20):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(augment, "SPOT_NOISE_RATE", 0.0)
            changed = (spots(grey, stream("spots", seed)) != grey).any(axis=-1)
            patch.setattr(augment, "SPOT_BLACK_RATE", 1.0)
            all_black = spots(grey, stream("spots", seed))
            patch.undo()
            patch.setattr(augment, "SPOT_NOISE_RATE", 0.0)
            assert set(np.unique(all_black)) == {0.0, 0.5}
            cover.append(changed.mean())
            black.append((spots(grey, stream("spots", seed)) == 0).all(axis=-1).mean())
    assert np.mean(cover) == pytest.approx(0.1, abs=0.003)
    assert np.mean(black) == pytest.approx(0.03, abs=0.01)


def test_half_of_the_spotted_photos_are_noisy_before():
    grey = np.full((64, 64, 3), 0.5, np.float32)
    noisy = [(spots(grey, stream("noise", seed)) != grey).mean() > 0.5 for seed in range(200)]
    assert 75 < sum(noisy) < 125


def test_mixing_noise_is_a_tenth_of_uniform_noise(picture):
    mixed = mix_noise(picture, stream("test"))
    noise = (mixed - 0.9 * picture) / 0.1
    assert noise.min() >= -1e-5 and noise.max() <= 1 + 1e-5
    assert noise.mean() == pytest.approx(0.5, abs=0.01) and noise.std() == pytest.approx(12**-0.5, abs=0.01)
