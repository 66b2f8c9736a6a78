"""Shot and read noise in linear light, and JPEG."""
from __future__ import annotations

import numpy as np
import pytest

from data.pairs.randomness import stream
from data.pairs.sensor_noise import add_sensor_noise, log_uniform, noisy_light, through_jpeg, to_linear, to_srgb
from exp_config.config import Config


def test_the_tone_curve_is_that_of_srgb_and_comes_back():
    values = np.linspace(0, 1, 1001)
    assert to_linear(np.array(0.5)) == pytest.approx(0.2140411, abs=1e-6)  # IEC 61966-2-1
    assert to_srgb(np.array(0.18)) == pytest.approx(0.4613561, abs=1e-6)
    np.testing.assert_allclose(to_srgb(to_linear(values)), values, atol=1e-7)


@pytest.mark.parametrize("light", [0.0, 0.01, 0.3])
@pytest.mark.parametrize("shot, read", [(0.01, 0.0), (0.0, 1e-4), (3e-3, 2e-4)])
def test_the_variance_grows_with_the_light(light, shot, read):
    flat = np.full((3, 200, 200), light, np.float32)
    noise = noisy_light(flat, stream("test"), shot, read) - flat
    assert noise.var() == pytest.approx(shot * light + read, rel=0.03, abs=1e-9)
    assert noise.mean() == pytest.approx(0.0, abs=4 * np.sqrt((shot * light + read) / noise.size) + 1e-6)


def test_ranges_are_log_uniform():
    drawn = np.log10([log_uniform(stream("log", i), 1e-4, 1e-2) for i in range(3000)])
    assert -4 <= drawn.min() < -3.9 and -2.1 < drawn.max() <= -2
    assert drawn.mean() == pytest.approx(-3, abs=0.05) and drawn.std() == pytest.approx(2 / np.sqrt(12), abs=0.03)
    assert log_uniform(stream("log"), 0.0, 0.0) == 0.0 and 0.0 < log_uniform(stream("log"), 0.0, 1e-3) <= 1e-3


def test_jpeg_quality_decides_about_the_loss(make_photo):
    planes = np.ascontiguousarray(make_photo(64, 64, 1).transpose(2, 0, 1))
    losses = [np.abs(through_jpeg(planes, quality).astype(int) - planes).mean() for quality in (100, 80, 20)]
    assert losses[0] < losses[1] < losses[2] and losses[0] < 3
    assert through_jpeg(planes, 90).shape == planes.shape and through_jpeg(planes, 90).flags.c_contiguous


def test_without_noise_and_at_best_quality_the_photo_stays(make_photo):
    planes = np.ascontiguousarray(make_photo(64, 64, 1).transpose(2, 0, 1))
    config = Config(sensor_shot_range=[0, 0], sensor_read_range=[0, 0], sensor_jpeg_range=[100, 100])
    np.testing.assert_array_equal(add_sensor_noise(planes, stream("test"), config), through_jpeg(planes, 100))


@pytest.mark.parametrize("shape", [(3, 1, 1), (3, 5, 2), (3, 33, 40)])
def test_any_size(shape):
    planes = stream("test").integers(0, 60, shape, dtype=np.uint8)
    result = add_sensor_noise(planes, stream("test"), Config())
    assert result.shape == shape and result.dtype == np.uint8
    np.testing.assert_array_equal(result, add_sensor_noise(planes, stream("test"), Config()))


def test_a_share_of_the_noisy_photos_becomes_jpeg_and_the_noise_is_the_same(make_photo):
    planes = np.ascontiguousarray(make_photo(24, 32, 1).transpose(2, 0, 1)) // 4
    always, some, never = ([add_sensor_noise(planes, stream("share", number), Config(sensor_jpeg_rate=rate))
                            for number in range(60)] for rate in (1.0, 0.3, 0.0))
    jpeg = [np.array_equal(a, b) for a, b in zip(some, always, strict=True)]
    plain = [np.array_equal(a, b) for a, b in zip(some, never, strict=True)]
    assert all(a != b for a, b in zip(jpeg, plain, strict=True)) and 8 < sum(jpeg) < 30
    assert Config().sensor_jpeg_rate == 1.0


def test_noise_without_jpeg_is_white_in_colour_too_and_jpeg_takes_that_away():
    """Its colours have half the resolution: the difference of two channels loses its finest structure."""
    gray = np.full((3, 128, 128), 20, np.uint8)
    settings = {"sensor_shot_range": [1e-4, 1e-4], "sensor_read_range": [1e-9, 1e-9], "sensor_jpeg_range": [90, 90]}
    plain, jpeg = (add_sensor_noise(gray, stream("white"), Config(sensor_jpeg_rate=rate, **settings)).astype(float)
                   for rate in (0.0, 1.0))

    def colour(picture, scale):
        difference = picture[0] - picture[1]
        return difference.reshape(128 // scale, scale, 128 // scale, scale).mean((1, 3)).std()

    assert colour(plain, 2) == pytest.approx(colour(plain, 1) / 2, rel=0.1)
    assert colour(jpeg, 1) < 0.6 * colour(plain, 1)
