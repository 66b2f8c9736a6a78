"""The colour cast of darkness: what it changes, and what it leaves alone."""
from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from data.pairs.colour_cast import has_cast, with_cast
from data.pairs.dataset import LowLightPairs
from data.pairs.sensor_noise import LINEAR_LIGHT
from engine.training.validation import validation_of
from exp_config import Config, ConfigError

PLAIN = Config.named("dark_photos", reference_mean=[0.0, 0.0], uneven_light_rate=0.5, height=24, width=32)
CAST = dataclasses.replace(PLAIN, cast_gain_spread=0.1, cast_black_spread=1e-3)


@pytest.fixture
def normal(make_photo):
    """uint8 (3, 40, 56)."""
    return np.ascontiguousarray(make_photo(40, 56, 1).transpose(2, 0, 1))


def casts(light, normal, count=400, **spreads):
    """(count, 3): channel means with a cast, over those without."""
    config = dataclasses.replace(PLAIN, **spreads)
    rng = np.random.default_rng(0)
    return np.array([with_cast(light, normal, rng, config).mean((1, 2)) for _ in range(count)]) / light.mean((1, 2))


def test_gains_have_the_spread_of_the_config_in_the_dark_and_none_in_full_light(normal):
    dark = LINEAR_LIGHT[normal] * np.float32(1e-3)
    found = np.log(casts(dark, normal, cast_gain_spread=0.1, cast_black_spread=0.0))
    assert np.abs(found[:, 1]).max() < 1e-6                             # green is the measure
    assert found[:, [0, 2]].std(0) == pytest.approx([0.1, 0.1], rel=0.15)
    assert abs(np.corrcoef(found[:, 0], found[:, 2])[0, 1]) < 0.2       # red and blue each for itself
    full = casts(LINEAR_LIGHT[normal], normal, 5, cast_gain_spread=0.1, cast_black_spread=0.0)
    np.testing.assert_allclose(full, 1, atol=1e-5)


def test_a_black_level_counts_where_there_is_little_light_and_stays_in_bounds(normal):
    full = LINEAR_LIGHT[normal]
    for share, expected in ((1.0, 1e-3 / full.mean((1, 2))), (0.02, 1e-3 / (0.02 * full.mean((1, 2))))):
        found = casts(np.float32(share) * full, normal, cast_gain_spread=0.0, cast_black_spread=1e-3)
        np.testing.assert_allclose(found.std(0), expected, rtol=0.3)    # of pixels that were black already nothing is taken
    rng = np.random.default_rng(1)
    for light in (np.zeros_like(full), np.ones_like(full)):
        made = with_cast(light, normal, rng, dataclasses.replace(CAST, cast_black_spread=0.5))
        assert made.dtype == np.float32 and made.min() >= 0.0 and made.max() <= 1.0


def test_samples_are_reproducible_and_without_a_cast_those_of_before(photos):
    """The normal photo, seeds, and which photos are unevenly lit stay what they are with a cast, too."""
    before, after, again = (LowLightPairs(order, config, True) for order, config in (
        (photos, PLAIN), (photos, CAST), (photos[::-1], CAST)))
    changed = 0
    for index in range(len(photos)):
        plain, cast, same = before[0, index], after[0, index], again[0, len(photos) - 1 - index]
        assert torch.equal(plain["normal"], cast["normal"]) and plain["state_seed"] == cast["state_seed"]
        assert torch.equal(cast["low"], same["low"])
        changed += not torch.equal(plain["low"], cast["low"])
    assert changed > 10
    assert not any(has_cast(Config.named(name)) for name in ("default", "base_model"))


def test_validation_with_a_cast_is_another_one(photos):
    plain, cast = (validation_of(config, LowLightPairs(photos, config, False)) for config in (PLAIN, CAST))
    assert cast == plain | {"cast_gain_spread": 0.1, "cast_black_spread": 1e-3} and "cast_gain_spread" not in plain


@pytest.mark.parametrize("name", ["cast_gain_spread", "cast_black_spread"])
def test_spreads_out_of_range_are_named(name):
    with pytest.raises(ConfigError, match=rf"{name} = -0\.1; expected a number in \[0, 1\]"):
        Config(**{name: -0.1})
