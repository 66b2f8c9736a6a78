"""Checkpoint folders: whole at every moment, complete, refused with a reason."""
import errno
import os
import shutil
from dataclasses import asdict

import pytest
import torch
from safetensors import SafetensorError

from engine.training import checkpoints
from engine.training.checkpoints import BEST, LATEST, CheckpointError, Progress, load, repair, save
from exp_config import Config
from models import HVR, load_pretrained


class Crash(BaseException):
    """The process dies here."""


@pytest.fixture
def saved(tmp_path, tiny_config):
    """`saved(value, epoch)`: save a model whose weights are all `value` to tmp_path/checkpoint; -> the folder."""
    config = tiny_config()
    model = HVR.from_config(config)

    def write(value: float, epoch: int):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(value)
        state = {"model": {name: p.detach().clone() for name, p in model.named_parameters()},
                 "ranks": [{"random": checkpoints.random_states()}]}
        save(tmp_path / "checkpoint", config, model, Progress(epoch=epoch), state)
        return tmp_path / "checkpoint"

    return write


def content(folder) -> tuple[int, float, float]:
    """Epoch, value of the weights in the training state, in the weights file."""
    state = load(folder)
    pretrained = load_pretrained(folder / "config.json", folder / "HVR.safetensors")
    values = {float(v) for p in state["model"].values() for v in (p.min(), p.max())}
    exported = {float(v) for p in pretrained.parameters() for v in (p.min(), p.max())}
    assert len(values) == len(exported) == 1
    return state["progress"].epoch, values.pop(), exported.pop()


def dying(monkeypatch, calls: int):
    """From the `calls`-th on, every change to the disk that a save makes ends in a crash."""
    left = [calls]

    def guard(module, name):
        original = getattr(module, name)

        def wrapper(*args, **kwargs):
            left[0] -= 1
            if left[0] < 0:
                raise Crash
            return original(*args, **kwargs)

        monkeypatch.setattr(module, name, wrapper)

    for module, name in ((os, "rename"), (os, "fsync"), (os, "replace"), (shutil, "rmtree"), (torch, "save")):
        guard(module, name)


def test_crash_at_every_moment_of_a_save(saved, monkeypatch):
    """After a crash there is the old checkpoint or the new one, never a mixture, and the next save works."""
    found, finished, calls = set(), False, 0
    while not finished:
        folder = saved(1.0, 1)
        with monkeypatch.context() as patch:
            dying(patch, calls)
            try:
                saved(2.0, 2)
                finished = True
            except Crash:
                calls += 1
        repair(folder)
        assert not any(stage.exists() for stage in checkpoints.stages(folder))
        found.add(content(folder))
        assert content(saved(3.0, 3)) == (3, 3.0, 3.0)
    assert found == {(1, 1.0, 1.0), (2, 2.0, 2.0)}
    assert calls > 8


@pytest.mark.parametrize("where", ["os.fsync", "torch.save", "os.rename", "pathlib.Path.mkdir"])
def test_full_disk(saved, monkeypatch, where):
    folder = saved(1.0, 1)

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(where, full)
        with pytest.raises(CheckpointError, match="(?s)could not save .*No space left.*previous checkpoint there is whole"):
            saved(2.0, 2)
    assert content(folder) == (1, 1.0, 1.0)
    assert sorted(path.name for path in folder.parent.iterdir() if "checkpoint" in path.name) == ["checkpoint"]


def test_full_disk_as_safetensors_says_it(saved, disk_with_room):
    """With an error of its own class."""
    folder = saved(1.0, 1)
    with disk_with_room(1000), pytest.raises(CheckpointError, match="could not save .*previous checkpoint there is") as told:
        saved(2.0, 2)
    assert isinstance(told.value.__cause__.__cause__, SafetensorError)
    assert content(folder) == (1, 1.0, 1.0)


def test_first_save_into_a_place_that_is_no_folder(tmp_path, tiny_config):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="there is no checkpoint there yet"):
        save(tmp_path / "file" / LATEST, tiny_config(), HVR.from_config(tiny_config()), Progress(), {})


def test_random_states_round_trip(tmp_path):
    import random

    import numpy as np

    states = checkpoints.random_states()
    torch.save(states, tmp_path / "states.pt")
    first = (random.random(), np.random.rand(3).tolist(), torch.rand(3).tolist())
    checkpoints.set_random_states(torch.load(tmp_path / "states.pt", weights_only=True))
    assert (random.random(), np.random.rand(3).tolist(), torch.rand(3).tolist()) == first


def test_nothing_there(tmp_path, saved):
    folder = saved(1.0, 1)
    folder.rename(tmp_path / LATEST)
    with pytest.raises(CheckpointError, match=f"no checkpoint to resume from.*did you mean .*{LATEST}"):
        load(tmp_path)
    with pytest.raises(CheckpointError, match=f"did you mean .*{LATEST}"):
        load(tmp_path / BEST)


def test_damaged(tmp_path, saved):
    folder = saved(1.0, 1)
    data = (folder / "training_state.pt").read_bytes()
    (folder / "training_state.pt").write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match="is damaged"):
        load(folder)
    torch.save({"format": 99}, folder / "training_state.pt")
    with pytest.raises(CheckpointError, match="format 99; this program reads format 1"):
        load(folder)


def test_progress_of_another_edition():
    """Unknown fields are left out, missing ones have their defaults."""
    values = asdict(Progress(epoch=3))
    values.pop("evaluation_due")
    assert Progress.from_dict({**values, "of_the_future": 1}) == Progress(epoch=3)


def test_config_lies_beside(saved):
    assert Config.from_json(saved(1.0, 1) / "config.json").project_name == "tiny"
