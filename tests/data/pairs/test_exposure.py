"""Normal photos of one brightness."""
from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from data.pairs.dataset import LowLightPairs
from data.pairs.exposure import exposed
from engine.training.validation import validation_of
from exp_config import Config, ConfigError

PLAIN = Config.named("dark_photos", normal_mean_range=[0.0, 0.0], height=24, width=32)
EXPOSED = dataclasses.replace(PLAIN, normal_mean_range=[0.42, 0.54])


@pytest.mark.parametrize("mean", [0.35, 0.45, 0.55])
def test_a_photo_gets_the_mean_that_is_asked(make_photo, mean):
    photo = make_photo(40, 56, 1)
    found = exposed(photo, mean)
    assert found.dtype == np.uint8 and found.shape == photo.shape
    assert found.mean() / 255 == pytest.approx(mean, abs=0.003)
    np.testing.assert_array_equal(exposed(photo, photo.mean() / 255), photo)  # one that has it stays as it is
    darker, lighter = photo < 100, photo > 150
    assert found[darker].max() <= found[~darker].min() and found[lighter].min() >= found[~lighter].max()


def test_the_exponent_has_bounds():
    """A nearly black picture does not become gray, nor a nearly white one; black and white stay black and white."""
    for level, mean, exponent in ((10, 0.5, 0.5), (245, 0.5, 2.0)):
        picture = np.full((3, 8, 8), level, np.uint8)
        expected = np.round(255 * (level / 255) ** exponent)
        np.testing.assert_array_equal(exposed(picture, mean), np.broadcast_to(expected, picture.shape))
    ends = np.array([0, 255, 255, 0], np.uint8)
    np.testing.assert_array_equal(exposed(ends, 0.3), ends)


def test_samples_have_it_before_they_are_darkened_and_are_reproducible(photos):
    plain, same_as, again = (LowLightPairs(order, config, True) for order, config in (
        (photos, PLAIN), (photos, EXPOSED), (photos[::-1], EXPOSED)))
    means, differences = [], []
    for index in range(len(photos)):
        before, after, twin = plain[0, index], same_as[0, index], again[0, len(photos) - 1 - index]
        assert torch.equal(after["normal"], twin["normal"]) and torch.equal(after["low"], twin["low"])
        assert before["state_seed"] == after["state_seed"]
        means.append(after["normal"].float().mean().item() / 255)
        differences.append(not torch.equal(before["low"], after["low"]))
    assert min(means) > 0.41 and max(means) < 0.55 and np.std(means) > 0.01
    assert sum(differences) > len(photos) // 2                            # the dark photo follows


def test_validation_has_it_too_and_is_another_one(photos):
    plain, exposures = (LowLightPairs(photos, config, False) for config in (PLAIN, EXPOSED))
    assert exposures[0, 0]["normal"].float().mean().item() / 255 == pytest.approx(0.48, abs=0.07)
    assert validation_of(EXPOSED, exposures) == validation_of(PLAIN, plain) | {"normal_mean_range": [0.42, 0.54]}
    assert all(Config.named(name).normal_mean_range == [0.0, 0.0] for name in ("default", "base_model"))


@pytest.mark.parametrize("values", [[0.5, 0.4], [0.4, 1.1], [0.4]])
def test_a_range_that_is_none_is_named(values):
    with pytest.raises(ConfigError, match=r"normal_mean_range = .*expected \[min, max\] with 0 <= min <= max <= 1"):
        Config(normal_mean_range=values)
