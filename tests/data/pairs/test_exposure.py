"""Normal photos of one brightness, and references whose brightness the dark photo tells."""
from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from data.pairs.dataset import LowLightPairs
from data.pairs.exposure import exposed, reference
from engine.training.validation import validation_of
from exp_config import Config, ConfigError

PLAIN = Config.named("dark_photos", reference_mean=[0.0, 0.0], height=24, width=32)
EXPOSED = dataclasses.replace(PLAIN, normal_mean_range=[0.42, 0.54])
TOLD = dataclasses.replace(PLAIN, reference_mean=[0.6, 0.3])


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


def test_the_less_light_an_input_has_the_brighter_is_its_reference(make_photo):
    photo = exposed(make_photo(40, 56, 1), 0.45)
    white = 0.6 - 0.3 * np.log(255) / np.log(256)                           # so that a stop, of eight, is 0.3 / 8
    for level, mean in ((0, 0.6), (1, 0.6), (4, 0.525), (16, 0.45)):
        found = reference(np.full_like(photo, level), photo, (0.6, white)).mean() / 255
        assert found == pytest.approx(mean, abs=0.004)
    found = reference((photo * 0.75).astype(np.uint8), photo, (0.6, white)).mean() / 255   # half of the way, of its own 0.45
    assert found == pytest.approx((0.45 + 0.6 - 0.3 * np.log(0.75 * 0.45 * 255) / np.log(256)) / 2, abs=0.006)


@pytest.mark.parametrize("mean", [0.2, 0.5, 0.85])
def test_a_photo_that_lost_no_light_is_its_own_reference(make_photo, mean):
    photo = exposed(make_photo(40, 56, 1), mean)
    np.testing.assert_array_equal(reference(photo, photo, (0.6, 0.3)), photo)
    brighter = np.minimum(photo.astype(np.int64) + 3, 255).astype(np.uint8)  # by noise
    np.testing.assert_array_equal(reference(brighter, photo, (0.6, 0.3)), photo)


def test_what_is_lit_in_an_unevenly_lit_photo_stays_as_it_is(make_photo):
    photo = exposed(make_photo(40, 56, 1), 0.45)
    lit = photo > np.percentile(photo, 80)
    np.testing.assert_array_equal(reference(np.where(lit, photo, photo // 8), photo, (0.6, 0.6)), photo)
    assert reference(np.where(lit, photo // 2, photo // 8), photo, (0.6, 0.6)).mean() / 255 == pytest.approx(0.6, abs=0.004)


@pytest.mark.parametrize("train", [True, False])
def test_inputs_stay_what_they_are_where_references_follow_them(photos, train):
    plain, told = (LowLightPairs(photos, config, train) for config in (PLAIN, TOLD))
    for index in range(len(photos)):
        before, after = plain[0, index], told[0, index]
        assert torch.equal(before["low"], after["low"])
        expected = reference(before["low"].numpy(), before["normal"].numpy(), (0.6, 0.3))
        np.testing.assert_array_equal(after["normal"].numpy(), expected)
    assert validation_of(TOLD, told) == validation_of(PLAIN, plain) | {"reference_mean": [0.6, 0.3]}


@pytest.mark.parametrize("values", [[0.5, 1.0], [0.4], [-0.1, 0.4]])
def test_means_that_are_none_are_named(values):
    with pytest.raises(ConfigError, match=r"reference_mean = .*expected two numbers in \[0, 1\): for nearly black inputs"):
        Config(reference_mean=values)
