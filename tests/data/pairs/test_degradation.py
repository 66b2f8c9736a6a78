"""The degradation curve: published values, ranges, schedule, and the look-up that stands for it."""
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.pairs.degradation import CurveParameters, CurveRanges, darken, degradation_curve, draw_curve, final_ranges, ranges_at
from data.pairs.randomness import stream
from exp_config.config import Config

UNIT = st.floats(0.0, 1.0)
CURVES = st.builds(CurveParameters, alpha=st.floats(0.0, 0.3), k=st.floats(0.0, 0.4), l=st.floats(0.0, 0.95))
START = {"alpha": [0.0, 0.1], "k": [0.0, 0.0], "l": [0.1, 0.2]}
END = {"alpha": [0.1, 0.3], "k": [0.0, 0.4], "l": [0.0, 0.95]}


def scheduled(kind: str, epochs: int = 11) -> Config:
    return Config(epochs=epochs, lr_cosine_cycles=1, image_preprocessing_schedule={"type": kind, "start": START, "end": END})


def test_equals_the_published_curve(golden_json):
    cases = golden_json("degradation_curve.json")
    assert len(cases) == 7
    for case in cases:
        x = degradation_curve(np.array(case["x"]), case["alpha"], case["k"], case["l"])
        np.testing.assert_allclose(x, case["y"], atol=1e-6)


@given(curve=CURVES, a=UNIT, b=UNIT)
def test_is_monotone_and_stays_in_the_unit_range(curve, a, b):
    low, high = degradation_curve(np.array([min(a, b), max(a, b)]), *curve)
    assert 0.0 <= low <= high <= 1.0


@given(curve=CURVES)
def test_black_stays_black_and_white_loses_its_share_of_light(curve):
    black, white = degradation_curve(np.array([0.0, 1.0]), *curve)
    assert black == 0.0
    if (1 - curve.k) ** (1 / (1 - curve.alpha**0.2 + 1e-6)) > 1e-6:
        assert white == pytest.approx(1 - curve.l, abs=1e-9)


@given(curve=CURVES, seed=st.integers(0, 99))
def test_darken_is_the_floored_curve_of_every_pixel(curve, seed):
    planes = np.random.default_rng(seed).integers(0, 256, (3, 5, 7), dtype=np.uint8)
    expected = np.floor(255.0 * degradation_curve(planes / 255.0, *curve))
    result = darken(planes, curve)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, expected)


def test_the_curve_without_darkening_keeps_every_level():
    planes = np.arange(256, dtype=np.uint8).reshape(1, 16, 16).repeat(3, axis=0)
    np.testing.assert_array_equal(darken(planes, CurveParameters(0.0, 0.0, 0.0)), planes)


def test_published_ranges_are_drawn_as_described():
    ranges, rng = ranges_at(Config(), 0), stream("test")
    drawn = np.array([draw_curve(rng, ranges) for _ in range(8_000)])
    alpha, k, light = drawn.T
    np.testing.assert_allclose(drawn, np.round(drawn, 3), atol=1e-12)
    assert (alpha.min(), alpha.max()) == (0.0, 0.299)
    assert len(np.unique(alpha)) == 300 and alpha.mean() == pytest.approx(0.1495, abs=0.003)
    for values, limit in ((k, 0.4), (light, 0.95)):
        std = limit / 4
        assert values.min() >= 0.0 and values.max() <= limit
        assert values.mean() == pytest.approx(std * np.sqrt(2 / np.pi), rel=0.03)  # mean of a half-normal
        assert np.mean(values < std) == pytest.approx(0.683, abs=0.015)


def test_uniform_loss_of_light():
    ranges = CurveRanges((0.0, 0.3), (0.0, 0.4), (0.2, 0.9))
    drawn = [draw_curve(stream("test", n), ranges, "uniform") for n in range(2_000)]
    light = np.array([curve.l for curve in drawn])
    assert 0.2 <= light.min() < 0.21 and 0.89 < light.max() <= 0.9
    np.testing.assert_allclose(np.quantile(light, [0.25, 0.5, 0.75]), [0.375, 0.55, 0.725], atol=0.02)
    published = [draw_curve(stream("test", n), ranges) for n in range(100)]
    assert [curve[:2] for curve in drawn[:100]] == [curve[:2] for curve in published]  # the other numbers stay


def test_loss_of_light_uniform_in_stops():
    ranges = CurveRanges((0.0, 0.05), (0.0, 0.3), (0.2, 0.95))
    drawn = [draw_curve(stream("test", n), ranges, "stops") for n in range(2_000)]
    assert all(0.2 <= curve.l <= 0.95 and round(curve.l, 3) == curve.l for curve in drawn)
    stops = -np.log2([1.0 - curve.l for curve in drawn])
    least, most = -np.log2([0.8, 0.05])
    counts = np.histogram(stops, 4, (least, most))[0]
    assert counts.min() > 430 and counts.max() < 570                              # a quarter in each quarter of the stops
    assert 0.99 < max(draw_curve(stream("test", n), ranges._replace(l=(0.0, 1.0)), "stops").l for n in range(200)) < 1


def test_uniform_root_of_alpha():
    ranges = CurveRanges((0.0, 0.05), (0.0, 0.4), (0.0, 0.9))
    drawn = [draw_curve(stream("test", n), ranges, "uniform", "root") for n in range(2_000)]
    gamma = np.array([1 / (1 - curve.alpha**0.2) for curve in drawn])
    highest = 1 / (1 - 0.05**0.2)
    assert gamma.min() >= 1.0 and gamma.max() <= highest * (1 + 1e-9)
    shares = np.array([0.25, 0.5, 0.75])
    np.testing.assert_allclose(np.quantile(1 - 1 / gamma, shares), shares * 0.05**0.2, atol=0.02)
    published = [draw_curve(stream("test", n), ranges, "uniform") for n in range(100)]
    assert [curve[1:] for curve in drawn[:100]] == [curve[1:] for curve in published]  # the other numbers stay


@given(low=UNIT, width=st.floats(0.0, 0.5), seed=st.integers(0, 999), kind=st.sampled_from(["uniform", "root"]))
def test_any_range_is_kept(low, width, seed, kind):
    low = min(low, 0.99)
    high = min(low + width, 0.999)
    curve = draw_curve(stream("test", seed), CurveRanges((low, high), (low, high), (low, high)), "normal", kind)
    assert all(low <= value <= high for value in curve)


@pytest.mark.parametrize("value", [0.0, 0.05, 0.3])
def test_a_range_without_width_gives_its_value(value):
    assert draw_curve(stream("test"), CurveRanges(*[(value, value)] * 3)) == (value, value, value)


@pytest.mark.parametrize("kind", ["linear", "sigmoid"])
def test_the_schedule_runs_from_exactly_start_to_exactly_end(kind):
    config = scheduled(kind)
    start, end = (CurveRanges(*(tuple(r[name]) for name in ("alpha", "k", "l"))) for r in (START, END))
    assert ranges_at(config, 0) == start
    assert ranges_at(config, 10) == end == final_ranges(config)
    for bounds in zip(*(ranges_at(config, epoch).k for epoch in range(11)), strict=True):
        assert list(bounds) == sorted(bounds)
    assert ranges_at(config, 5).alpha == pytest.approx((0.05, 0.2))


def test_linear_and_sigmoid_differ_as_their_names_say():
    assert ranges_at(scheduled("linear"), 2).k[1] == pytest.approx(0.2 * 0.4)

    def sigmoid(t):
        return 1 / (1 + np.exp(-6 * (t - 0.5)))

    share = (sigmoid(0.2) - sigmoid(0)) / (sigmoid(1) - sigmoid(0))
    assert ranges_at(scheduled("sigmoid"), 2).k[1] == pytest.approx(share * 0.4)


def test_one_epoch_has_the_start_ranges_and_validation_the_end_ranges():
    config = scheduled("linear", epochs=1)
    assert ranges_at(config, 0).k == (0.0, 0.0)
    assert final_ranges(config).k == (0.0, 0.4)


def test_without_a_schedule_every_epoch_has_the_ranges_of_the_config():
    config = Config(k_range=[0.1, 0.2])
    assert ranges_at(config, 0) == ranges_at(config, 299) == final_ranges(config) == ((0.0, 0.3), (0.1, 0.2), (0.0, 0.95))
