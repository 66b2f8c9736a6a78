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
