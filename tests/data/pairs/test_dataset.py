"""Pairs: what they are, what they depend on, and what happens to photos that cannot be read."""
from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from data.pairs import dataset
from data.pairs.dataset import LowLightPairs
from data.pairs.errors import DataError
from data.pairs.photos import PhotoRef, folder_photos
from data.pairs.randomness import stream_seed
from exp_config.config import Config

PLAIN = Config(height=24, width=32, geometry_rate=0.0, augment_rate=0.0)
NOISY = Config.named("realistic_noise", height=24, width=32, augment_rate=0.5)


def same(one, other):
    return (torch.equal(one["low"], other["low"]) and torch.equal(one["normal"], other["normal"])
            and one["image_id"] == other["image_id"] and one["state_seed"] == other["state_seed"])


@pytest.mark.parametrize("train", [True, False])
def test_a_pair_is_two_8_bit_pictures_of_the_configured_size(photos, train):
    pair = LowLightPairs(photos, NOISY, train)[0, 3]
    for name in ("low", "normal"):
        assert pair[name].shape == (3, 24, 32) and pair[name].dtype == torch.uint8 and pair[name].is_contiguous()
    assert pair["image_id"] == "3.png" and isinstance(pair["state_seed"], int) and 0 <= pair["state_seed"] < 2**31


def test_the_dark_photo_is_a_monotone_function_of_the_normal_one_and_not_brighter(photos):
    pairs = LowLightPairs(photos, PLAIN, True)
    for index in range(len(pairs)):
        low, normal = (pairs[0, index][name].numpy().ravel() for name in ("low", "normal"))
        assert (low <= normal).all()
        table = {}
        for x, y in zip(low, normal, strict=True):
            assert table.setdefault(y, x) == x
        assert [table[y] for y in sorted(table)] == sorted(table.values())


def test_every_sample_depends_on_seed_epoch_and_photo_alone(photos):
    pairs = LowLightPairs(photos, NOISY, True)
    order = [(epoch, index) for epoch in range(3) for index in range(12)]
    forward = {item: pairs[item] for item in order}
    again = LowLightPairs(photos, NOISY, True)
    assert all(same(again[item], forward[item]) for item in reversed(order))
    turned = LowLightPairs(photos[::-1], NOISY, True)
    assert all(same(turned[0, 11 - index], forward[0, index]) for index in range(12))
    other_seed = LowLightPairs(photos, dataclasses.replace(NOISY, seed=1), True)
    for index in range(12):
        assert not same(forward[0, index], forward[1, index])
        assert not same(forward[0, index], other_seed[0, index])
    assert len({pair["state_seed"] for pair in forward.values()}) == len(forward)


def test_samples_that_are_made_together_are_those_made_alone(photos):
    pairs = LowLightPairs(photos, NOISY, True)
    items = [(epoch, index) for epoch in (2, 0) for index in (11, 3, 5, 0, 7, 2, 9)]
    assert all(same(pair, pairs[item]) for pair, item in zip(pairs.__getitems__(items), items, strict=True))


def test_global_random_state_is_neither_read_nor_moved(photos):
    np.random.seed(0)
    torch.manual_seed(0)
    pairs = LowLightPairs(photos, NOISY, True)
    states = np.random.get_state()[1].copy(), torch.get_rng_state()
    first = [pairs[0, index] for index in range(12)]
    assert (np.random.get_state()[1] == states[0]).all() and torch.equal(torch.get_rng_state(), states[1])
    np.random.seed(1)
    torch.manual_seed(1)
    assert all(same(pairs[0, index], first[index]) for index in range(12))


def test_validation_pairs_depend_on_the_photo_alone(photos):
    pairs = [LowLightPairs(photos, config, False) for config in (
        NOISY, dataclasses.replace(NOISY, seed=7, epochs=9, augment_rate=1.0, sensor_noise_rate=1.0))]
    subset = LowLightPairs(photos[5:6], NOISY, False)
    for index in range(12):
        assert same(pairs[0][0, index], pairs[1][4, index])
    assert same(subset[3, 0], pairs[0][0, 5])
    whole = np.asarray(Image.open(photos[5].path).resize((32, 24), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    assert np.abs(pairs[0][0, 5]["normal"].numpy().astype(int) - whole).max() <= 2
    curves = {tuple(np.unique(pairs[0][0, index]["low"])) for index in range(12)}
    assert len(curves) == 12


def test_sensor_noise_changes_nothing_but_the_dark_photos_that_get_it(photos):
    plain, half, every = (LowLightPairs(photos, dataclasses.replace(NOISY, sensor_noise_rate=rate), True)
                          for rate in (0.0, 0.5, 1.0))
    noisy = 0
    for epoch in range(4):
        for index in range(12):
            without, some, always = plain[epoch, index], half[epoch, index], every[epoch, index]
            assert torch.equal(without["normal"], some["normal"]) and torch.equal(without["normal"], always["normal"])
            assert without["state_seed"] == some["state_seed"]
            assert torch.equal(some["low"], without["low"]) or torch.equal(some["low"], always["low"])
            noisy += not torch.equal(some["low"], without["low"])
    assert 14 < noisy < 34


def test_noise_in_the_dark_comes_more_often_the_more_light_is_lost(photos):
    config = dataclasses.replace(NOISY, sensor_noise_rate=1.0, sensor_noise_where="dark", alpha_range=[0.0, 0.0],
                                 k_range=[0.0, 0.0], augment_rate=0.0)

    def noisy(loss):
        with_noise, without = (LowLightPairs(photos, dataclasses.replace(config, l_range=[loss, loss], sensor_noise_rate=rate),
                                             True) for rate in (1.0, 0.0))
        return sum(not torch.equal(with_noise[epoch, index]["low"], without[epoch, index]["low"])
                   for epoch in range(10) for index in range(12))

    assert noisy(0.0) == 0 and 36 < noisy(0.5) < 84 and noisy(0.95) > 108


def test_the_schedule_reaches_the_pairs(photos):
    none, full = ({"alpha": [a, a], "k": [0.0, 0.0], "l": [b, b]} for a, b in ((0.0, 0.0), (0.2, 0.9)))
    config = dataclasses.replace(PLAIN, epochs=5, image_preprocessing_schedule={"type": "linear", "start": none, "end": full})
    pairs = LowLightPairs(photos, config, True)
    assert torch.equal(pairs[0, 0]["low"], pairs[0, 0]["normal"])
    shares = [pairs[epoch, 0]["low"].float().sum() / pairs[epoch, 0]["normal"].float().sum() for epoch in range(5)]
    assert shares == sorted(shares, reverse=True) and shares[-1] < 0.1


def test_the_distributions_of_curves_reach_the_pairs(photos):
    config = dataclasses.replace(PLAIN, alpha_range=[0.0, 0.0], k_range=[0.0, 0.0])

    def light_kept(**changes):
        pairs = LowLightPairs(photos, dataclasses.replace(config, **changes), True)
        drawn = [pairs[epoch, index] for epoch in range(8) for index in range(len(pairs))]
        return sum(pair["low"].sum() for pair in drawn) / sum(pair["normal"].sum() for pair in drawn)

    assert light_kept() == pytest.approx(0.81, abs=0.05)
    assert light_kept(l_distribution="uniform") == pytest.approx(0.525, abs=0.08)
    assert light_kept(l_distribution="stops") == pytest.approx(0.32, abs=0.08)     # (1 - 1/20) / ln 20
    curved = {"alpha_range": [0.0, 0.05], "l_range": [0.0, 0.0]}
    assert light_kept(**curved, alpha_distribution="root") > light_kept(**curved) + 0.1


@pytest.mark.parametrize("shape", [(1, 1), (1, 90), (90, 1), (3, 2)])
@pytest.mark.parametrize("train", [True, False])
def test_tiny_photos_work(tmp_path, make_photo, shape, train):
    Image.fromarray(make_photo(90, 90, 1)[: shape[0], : shape[1]]).save(tmp_path / "a.png")
    pairs = LowLightPairs([PhotoRef("a", tmp_path / "a.png")], dataclasses.replace(NOISY, geometry_rate=1.0), train)
    for epoch in range(8):
        assert pairs[epoch, 0]["low"].shape == (3, 24, 32)


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 2)])
def test_crops_of_a_pixel_work(photos, size):
    config = dataclasses.replace(NOISY, height=size[0], width=size[1], geometry_rate=1.0, augment_rate=1.0)
    for train in (True, False):
        pairs = LowLightPairs(photos, config, train)
        assert all(pairs[epoch, index]["normal"].shape == (3, *size) for epoch in range(2) for index in range(12))


def test_names_that_are_no_text_work(tmp_path, make_photo):
    """A file from a disk of another encoding; names that are text keep their random numbers."""
    folder = tmp_path / os.fsdecode(b"old \xe4")
    folder.mkdir()
    for name in (b"bad\xff.png", b"good.png"):
        Image.fromarray(make_photo(40, 60, 1)).save(folder / os.fsdecode(name))
    photos = folder_photos(folder)
    pairs = [LowLightPairs(photos, NOISY, True)[0, index] for index in range(2)]
    assert [os.fsencode(pair["image_id"]) for pair in pairs] == [b"bad\xff.png", b"good.png"]
    assert pairs[0]["state_seed"] != pairs[1]["state_seed"]
    assert stream_seed("ä") == int.from_bytes(hashlib.blake2b("str:ä".encode(), digest_size=16).digest(), "little")


def test_a_broken_photo_is_named_once_and_replaced_by_the_same_photo_every_time(photos, tmp_path, caplog):
    broken = tmp_path / "cut.jpg"
    broken.write_bytes(b"\xff\xd8\xff")
    mixed = [*photos[:5], PhotoRef("cut", broken), *photos[5:]]
    pairs = LowLightPairs(mixed, PLAIN, True)
    with caplog.at_level(logging.WARNING):
        replaced = [pairs[epoch, 5] for epoch in range(6)]
    [record] = caplog.records
    assert "cut.jpg" in record.getMessage() and "another photo takes its place" in record.getMessage()
    assert all(pair["image_id"] != "cut" for pair in replaced) and len({pair["image_id"] for pair in replaced}) > 1
    assert all(same(LowLightPairs(mixed, PLAIN, True)[epoch, 5], replaced[epoch]) for epoch in range(6))
    own = next(index for index, photo in enumerate(mixed) if photo.id == replaced[0]["image_id"])
    assert pairs[0, own]["state_seed"] != replaced[0]["state_seed"]


def test_a_set_of_broken_photos_is_refused_with_their_names(photos, tmp_path, monkeypatch):
    gone = [PhotoRef(f"gone{number}", tmp_path / f"gone{number}.jpg") for number in range(40)]
    with pytest.raises(DataError, match=r"photos in a row cannot be read: .*gone\d+\.jpg"):
        LowLightPairs(gone[:3], PLAIN, True)[0, 0]
    pairs = LowLightPairs([*photos, *gone], PLAIN, True)
    with pytest.raises(DataError, match=r"11 of 52 photos cannot be read: .*gone\d+\.jpg"):
        for index in range(52):
            pairs[0, index]


def test_an_empty_list_is_an_error():
    with pytest.raises(DataError, match="list_photos"):
        LowLightPairs([], PLAIN, True)


def test_a_worker_process_can_be_given_the_pairs(photos):
    pairs = LowLightPairs(photos, NOISY, True)
    copied = pickle.loads(pickle.dumps(pairs))
    assert same(copied[2, 1], pairs[2, 1])
    assert dataset.Pair.__required_keys__ == {"low", "normal", "image_id", "state_seed"}
