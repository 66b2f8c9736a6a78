"""Who gets which photo in which epoch; the loader with and without worker processes."""
from __future__ import annotations

import dataclasses
import signal
import time

import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from data.pairs.errors import DataError
from data.pairs.loading import EpochBatches, batches_of, build_loader
from engine.failures import is_loader_killed
from exp_config.config import Config

SPLITS = {"count": st.integers(1, 200), "batch_size": st.integers(1, 9), "world": st.integers(1, 5)}


def batches(epoch=0, start=0, **settings):
    sampler = EpochBatches(**settings)
    sampler.set_epoch(epoch, start)
    return list(sampler)


@given(**SPLITS, epoch=st.integers(0, 5))
def test_training_doubles_nothing_and_drops_less_than_a_global_batch(count, batch_size, world, epoch):
    if count < world * batch_size:
        with pytest.raises(DataError, match=f"{count} training photos do not fill one batch"):
            EpochBatches(count, batch_size, world=world)
        return
    ranks = [batches(epoch, count=count, batch_size=batch_size, rank=rank, world=world) for rank in range(world)]
    assert len({len(part) for part in ranks}) == 1
    assert all(len(batch) == batch_size for part in ranks for batch in part)
    drawn = [item for part in ranks for batch in part for item in batch]
    assert {item[0] for item in drawn} == {epoch}
    indices = [index for _, index in drawn]
    assert len(set(indices)) == len(indices) and set(indices) <= set(range(count))
    assert count - len(indices) < world * batch_size


@given(**SPLITS)
def test_validation_has_every_photo_exactly_once(count, batch_size, world):
    ranks = [batches(count=count, batch_size=batch_size, rank=rank, world=world, train=False) for rank in range(world)]
    samplers = [EpochBatches(count, batch_size, rank=rank, world=world, train=False) for rank in range(world)]
    assert [len(part) for part in ranks] == [len(sampler) for sampler in samplers]
    assert sorted(index for part in ranks for batch in part for _, index in batch) == list(range(count))
    assert all(len(batch) == batch_size for part in ranks for batch in part[:-1])


@given(**SPLITS, epoch=st.integers(0, 3))
def test_several_ranks_see_what_one_with_their_batches_together_sees(count, batch_size, world, epoch):
    if count < world * batch_size:
        return
    together = batches(epoch, count=count, batch_size=world * batch_size)
    ranks = [batches(epoch, count=count, batch_size=batch_size, rank=rank, world=world) for rank in range(world)]
    assert together == [sum(parts, []) for parts in zip(*ranks, strict=True)]


@given(**SPLITS, train=st.booleans(), data=st.data())
def test_an_epoch_goes_on_from_any_batch(count, batch_size, world, train, data):
    if train and count < world * batch_size:
        return
    settings = {"count": count, "batch_size": batch_size, "world": world, "rank": world - 1, "train": train}
    whole = batches(2, **settings)
    start = data.draw(st.integers(0, len(whole)))
    assert batches(2, start, **settings) == whole[start:]
    sampler = EpochBatches(**settings)
    sampler.set_epoch(2, start)
    assert len(sampler) == len(whole)
    sampler.set_epoch(2)
    assert list(sampler) == whole


def test_order_depends_on_seed_and_epoch():
    orders = [[index for batch in batches(epoch, count=64, batch_size=8, seed=seed) for _, index in batch]
              for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
    assert orders[0] == [index for batch in batches(0, count=64, batch_size=8, seed=0) for _, index in batch]
    in_order = batches(count=5, batch_size=2, train=False)
    assert in_order == batches(count=5, batch_size=2, train=False, seed=3) == [[(0, 0), (0, 1)], [(0, 2), (0, 3)], [(0, 4)]]


def test_wrong_ranks_and_batches_are_refused():
    with pytest.raises(ValueError, match="rank 2 of 2"):
        EpochBatches(10, 2, rank=2, world=2)
    with pytest.raises(ValueError, match="start_batch 6; an epoch here has 5 batches"):
        EpochBatches(10, 2).set_epoch(0, 6)


@pytest.fixture(scope="module")
def config(tmp_path_factory, make_photo):
    folder = tmp_path_factory.mktemp("loading")
    for number in range(22):
        Image.fromarray(make_photo(30, 40, number)).save(folder / f"{number:02}.png")
    return Config.named("realistic_noise", coco_train_images=None, coco_val_images=None, train_folders=[str(folder)],
                        val_folders=[str(folder)], height=16, width=16, batch_size=4, num_workers=0)


def epochs(config, train=True, rank=0, world=1, starts=(0,)):
    """{(epoch, image id): (low, normal, state_seed)} of one loader that is used for several epochs."""
    loader, found = build_loader(config, train, rank, world), {}
    for epoch, start in enumerate(starts):
        loader.batch_sampler.set_epoch(epoch, start)
        for batch in loader:
            for row, image_id in enumerate(batch["image_id"]):
                assert (epoch, image_id) not in found
                found[epoch, image_id] = batch["low"][row], batch["normal"][row], batch["state_seed"][row]
    return found


def assert_same(one, other):
    assert one.keys() == other.keys()
    for key, values in one.items():
        assert all(torch.equal(a, b) for a, b in zip(values, other[key], strict=True)), key


def test_batches_have_the_shapes_and_types_of_the_interface(config):
    loader = build_loader(config, True)
    assert len(loader) == 5
    batch = next(iter(loader))
    for name in ("low", "normal"):
        assert batch[name].shape == (4, 3, 16, 16) and batch[name].dtype == torch.uint8 and batch[name].is_contiguous()
    assert batch["state_seed"].shape == (4,) and batch["state_seed"].dtype == torch.int64
    assert len(batch["image_id"]) == 4 and all(isinstance(name, str) for name in batch["image_id"])


def test_worker_processes_change_nothing_over_several_epochs(config):
    with_workers = dataclasses.replace(config, num_workers=2)
    assert_same(epochs(config, starts=(0, 0, 2)), epochs(with_workers, starts=(0, 0, 2)))
    assert_same(epochs(config, train=False, starts=(0, 0)), epochs(with_workers, train=False, starts=(0, 0)))


@pytest.mark.skipif(not hasattr(signal, "SIGCHLD"), reason="no SIGCHLD here")
def test_of_two_killed_workers_one_is_told(config, monkeypatch):
    """The second one's error would come while the first one's is told, and break the telling off."""
    monkeypatch.setattr("torch.utils.data._utils.signal_handling._SIGCHLD_handler_set", False)  # earlier tests used it up
    others = set(psutil.Process().children())  # of earlier tests
    loaders = [batches_of(build_loader(dataclasses.replace(config, num_workers=1), train)) for train in (True, False)]
    for batches in loaders:
        next(batches)
    before = signal.getsignal(signal.SIGCHLD)
    one, other = set(psutil.Process().children()) - others
    try:
        with pytest.raises(RuntimeError, match="killed"):
            one.kill()
            time.sleep(10)  # broken off by the signal
        other.kill()
        other.wait(10)
        time.sleep(0.05)
    finally:
        signal.signal(signal.SIGCHLD, before)


@pytest.mark.parametrize("error", [ConnectionResetError(104, "Connection reset by peer"), EOFError(), ConnectionRefusedError()])
def test_a_worker_that_is_killed_while_it_hands_a_batch_over_is_told(error):
    """The broken connection is seen before the worker's end."""
    def loader():
        yield "a batch"
        raise error

    before = signal.getsignal(signal.SIGCHLD)
    try:
        batches = batches_of(loader())
        assert next(batches) == "a batch"
        with pytest.raises(RuntimeError) as told:
            next(batches)
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert is_loader_killed(told.value)


def test_ranks_change_nothing_but_who_has_a_sample(config):
    alone = epochs(dataclasses.replace(config, batch_size=8), starts=(0, 0))
    ranks = [epochs(config, rank=rank, world=2, starts=(0, 0)) for rank in range(2)]
    assert not ranks[0].keys() & ranks[1].keys()
    assert_same(alone, {**ranks[0], **ranks[1]})


def test_a_resumed_epoch_has_the_batches_that_were_left(config):
    loader = build_loader(config, True)
    loader.batch_sampler.set_epoch(1)
    whole = list(loader)
    resumed = build_loader(config, True)
    resumed.batch_sampler.set_epoch(1, 3)
    rest = list(resumed)
    assert [batch["image_id"] for batch in rest] == [batch["image_id"] for batch in whole[3:]]
    assert all(torch.equal(a["low"], b["low"]) for a, b in zip(rest, whole[3:], strict=True))


def test_loading_leaves_the_global_random_state_alone(config):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    list(build_loader(config, True))
    assert torch.equal(torch.get_rng_state(), before)


def test_too_few_photos_for_a_batch_is_an_error(config):
    with pytest.raises(DataError, match=r"22 training photos do not fill one batch of 6 process\(es\) x batch_size 4"):
        build_loader(config, True, 0, 6)
    assert len(build_loader(config, False, 5, 6)) == 1
