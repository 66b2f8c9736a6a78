"""benchmarks/darkening.py: pictures whose curve and colours are known, and a whole run."""
from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from benchmarks.darkening import cast_of, curve_of, main, noise_of
from data.pairs.degradation import CurveParameters, darken
from data.pairs.kept_colour import darkened_light
from data.pairs.sensor_noise import LINEAR_LIGHT, to_levels


@pytest.fixture(scope="module")
def high():
    """uint8 (96, 128, 3) in blocks of 16x16, of moderate colours and light."""
    return np.random.default_rng(3).integers(110, 220, (6, 8, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)


def planes(picture):
    return np.ascontiguousarray(picture.transpose(2, 0, 1))


def under_less_light(high, share):
    """What a camera saves of a scene under so much of its light, without any curve of its own."""
    return to_levels(np.float32(share) * LINEAR_LIGHT[high])


def test_less_light_keeps_the_colours(high):
    exponent, red, blue = curve_of(under_less_light(high, 0.2), high)
    assert 1.0 < exponent < 1.15  # sRGB is not quite a power
    assert red == pytest.approx(1.0, abs=0.04) and blue == pytest.approx(1.0, abs=0.04)


def test_a_curve_by_channels_has_stronger_colours_and_one_of_the_luminance_has_not(high):
    curve = CurveParameters(0.01, 0.0, 0.5)
    gamma = 1 / (1 - 0.01**0.2)
    exponent, red, blue = curve_of(darken(planes(high), curve).transpose(1, 2, 0), high)
    assert exponent == pytest.approx(gamma, rel=0.03) and red > 1.2 and blue > 1.2
    kept = to_levels(darkened_light(planes(high), curve, 1.0)).transpose(1, 2, 0)
    exponent, red, blue = curve_of(kept, high)
    assert exponent == pytest.approx(gamma, rel=0.1)
    assert red == pytest.approx(1.0, abs=0.04) and blue == pytest.approx(1.0, abs=0.04)


def test_the_cast_of_a_picture_is_that_of_its_gains(high):
    low = to_levels(LINEAR_LIGHT[high] * np.float32([0.3 * 1.2, 0.3, 0.3 / 1.3]))
    assert cast_of(low, high) == pytest.approx([np.log(1.2), -np.log(1.3)], abs=0.02)
    assert cast_of(high, high) == (0.0, 0.0)


def test_nothing_but_black_says_nothing(high):
    black = np.zeros_like(high)
    assert np.isnan(curve_of(black, high)).all() and np.isnan(noise_of(black, high)).all()


def test_white_noise_is_measured_and_halves_with_the_scale():
    """In every channel alike and independent: in luma a third of its variance, in the difference of two channels twice."""
    rng = np.random.default_rng(5)
    high = np.broadcast_to(np.linspace(60, 200, 320)[None, :, None], (256, 320, 3)).astype(np.uint8)
    low = np.clip(high / 8 + rng.normal(0, 3, high.shape), 0, 255).round().astype(np.uint8)
    luma, colour = np.split(np.array(noise_of(low, high)), 2)
    np.testing.assert_allclose(luma, 3 / 3**0.5 / np.array([1, 2, 4]), rtol=0.12)
    np.testing.assert_allclose(colour, 3 * 2**0.5 / np.array([1, 2, 4]), rtol=0.12)
    assert max(noise_of((high // 8).astype(np.uint8), high)) < 0.3


def test_a_run_prints_the_pairs_and_the_training(high, tmp_path, capsys):
    for name, picture in (("low", under_less_light(high, 0.2)), ("high", high)):
        (tmp_path / name).mkdir()
        Image.fromarray(picture).save(tmp_path / name / "one.png")
    folders = ["--low", str(tmp_path / "low"), "--high", str(tmp_path / "high")]
    main([*folders, "--draws", "2", "--set", "l_range=[0.5,0.5]", "alpha_range=[0.01,0.01]", "k_range=[0,0]",
          "colour_kept_range=[1,1]", "reference_mean=[0,0]", "sensor_noise_rate=0"])
    _, _, pairs, training = capsys.readouterr().out.splitlines()
    assert pairs.startswith("| 1 pairs | ") and training.startswith("| dark_photos | ")
    real, made = ([float(number) for number in line.split(" | ")[1:4]] for line in (pairs, training))
    assert all(abs(number - 1) < 0.15 for number in (*real, *made[1:])) and made[0] > 1.4
