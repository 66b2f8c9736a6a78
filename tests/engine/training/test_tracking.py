"""wandb is offline by default, never asks, and wholly off when told so; history.jsonl continues a resumed run."""
from __future__ import annotations

import builtins
import json
import sys
import types

import pytest
from PIL import Image

from engine.training.tracking import History, Tracker, wandb_mode


@pytest.mark.parametrize(("environ", "mode"), [
    ({}, "offline"),
    ({"WANDB_MODE": "offline"}, "offline"),
    ({"WANDB_DISABLED": "true"}, "off"),
    ({"WANDB_DISABLED": "True", "WANDB_MODE": "online", "WANDB_API_KEY": "x"}, "off"),
    ({"WANDB_DISABLED": "false"}, "offline"),
    ({"WANDB_MODE": "disabled"}, "off"),
    ({"WANDB_MODE": "online", "WANDB_API_KEY": "x"}, "online"),
    ({"WANDB_MODE": "online", "NETRC": "/nowhere"}, "offline"),
    ({"WANDB_MODE": "nonsense"}, "offline"),
])
def test_modes(environ, mode):
    assert wandb_mode(environ) == mode


def test_a_login_counts_as_a_key(tmp_path):
    (tmp_path / "netrc").write_text("machine wandb.example.org login user password abc\n")
    environ = {"WANDB_MODE": "online", "NETRC": str(tmp_path / "netrc"), "WANDB_BASE_URL": "https://wandb.example.org"}
    assert wandb_mode(environ) == "online"


def refuse_wandb(monkeypatch):
    original = builtins.__import__

    def guarded(name, *args, **kwargs):
        if name.partition(".")[0] == "wandb":
            raise ImportError("no wandb here")
        return original(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    monkeypatch.setattr(builtins, "__import__", guarded)


def test_without_wandb_installed(tmp_path, tiny_config, monkeypatch, caplog):
    """One warning, and the reports go on."""
    monkeypatch.delenv("WANDB_DISABLED")
    refuse_wandb(monkeypatch)
    tracker = Tracker(tmp_path, "id", tiny_config(), 0)
    tracker.report("train", 1, 1, {"loss": 0.5})
    tracker.close()
    assert len(caplog.records) == 1 and "wandb is not installed" in caplog.text
    assert json.loads((tmp_path / "history.jsonl").read_text()) == {"kind": "train", "step": 1, "epoch": 1, "loss": 0.5}


def test_switched_off_it_is_not_imported(tmp_path, tiny_config, monkeypatch, caplog):
    refuse_wandb(monkeypatch)
    Tracker(tmp_path, "id", tiny_config(), 0).close()
    assert not caplog.records


@pytest.fixture
def fake_wandb(monkeypatch):
    """A stand-in that keeps what it is told."""
    told: dict = {"logged": []}

    class Run:
        def define_metric(self, *args, **kwargs):
            told["metric"] = (args, kwargs)

        def log(self, values):
            if told.get("broken"):
                raise RuntimeError("gone")
            told["logged"].append(values)

        def finish(self):
            told["finished"] = True

    def init(**kwargs):
        told["init"] = kwargs
        if told.get("fails"):
            raise RuntimeError("no service")
        return Run()

    module = types.SimpleNamespace(init=init, Settings=lambda **kwargs: kwargs, Image=lambda path: ("image", path))
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.delenv("WANDB_DISABLED")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    return told


def test_what_wandb_is_told(tmp_path, tiny_config, fake_wandb):
    """Same id on resume, steps of our own, names by kind, pictures."""
    tracker = Tracker(tmp_path, "abcd", tiny_config(), 0)
    tracker.report("epoch", 6, 1, {"loss": 0.5, "learning_rate": 1e-3})
    tracker.pictures(6, {"LOLv1/1.png": tmp_path / "1.png"})
    tracker.close()
    init = fake_wandb["init"]
    assert (init["id"], init["resume"], init["mode"], init["project"]) == ("abcd", "allow", "offline", "tiny")
    assert fake_wandb["metric"] == (("*",), {"step_metric": "step"})
    assert fake_wandb["logged"] == [{"step": 6, "epoch": 1, "epoch/loss": 0.5, "epoch/learning_rate": 1e-3},
                                    {"step": 6, "pictures/LOLv1/1.png": ("image", str(tmp_path / "1.png"))}]
    assert fake_wandb["finished"]


def test_the_real_wandb_offline(tmp_path, tiny_config, monkeypatch, caplog):
    """Twice the same run, without a question, a key or a warning."""
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_DISABLED")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_SILENT", "true")
    Image.new("RGB", (4, 4)).save(tmp_path / "1.png")
    for lines in (0, 1):
        tracker = Tracker(tmp_path, "abcd1234", tiny_config(), lines)
        tracker.report("epoch", 6, 1, {"loss": 0.5})
        tracker.pictures(6, {"LOLv1/1.png": tmp_path / "1.png"})
        tracker.close()
    assert not [record for record in caplog.records if record.name == "engine.training.tracking"]
    assert len(list((tmp_path / "wandb").glob("offline-run-*-abcd1234"))) in (1, 2)  # one if both began in one second


@pytest.mark.parametrize("trouble", ["fails", "broken"])
def test_troubles_of_wandb_end_nothing(tmp_path, tiny_config, fake_wandb, caplog, trouble):
    fake_wandb[trouble] = True
    tracker = Tracker(tmp_path, "abcd", tiny_config(), 0)
    for step in (1, 2):
        tracker.report("train", step, 1, {"loss": 0.5})
    tracker.close()
    assert "the training goes on without it" in caplog.text and len(caplog.records) == 1
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 2


def test_a_picture_that_cannot_be_handed_over_is_left_out(tmp_path, tiny_config, fake_wandb, caplog):
    def fail(path):
        raise OSError(f"no room for {path}")

    sys.modules["wandb"].Image = fail
    tracker = Tracker(tmp_path, "id", tiny_config(), 0)
    tracker.pictures(6, {"1.png": tmp_path / "1.png"})
    tracker.report("epoch", 6, 1, {"loss": 0.5})
    assert "no pictures for wandb: no room for" in caplog.text and len(fake_wandb["logged"]) == 1


def test_history_of_a_resumed_run(tmp_path):
    """What lies behind the checkpoint is cut off."""
    history = History(tmp_path, 0)
    for step in range(5):
        history.add({"step": step})
    assert history.lines == 5
    history.close()
    resumed = History(tmp_path, 3)
    resumed.add({"step": 3})
    resumed.close()
    lines = [json.loads(line)["step"] for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert lines == [0, 1, 2, 3]


def test_history_on_a_full_disk(tmp_path, disk_with_room, caplog):
    """One warning; the lines are there once there is room again, or those that are whole."""
    (tmp_path / "other").mkdir()
    history, full = History(tmp_path, 0), History(tmp_path / "other", 0)
    with disk_with_room(30):  # two lines and a half
        for step in range(4):
            history.add({"step": step})
            full.add({"step": step})
        full.close()
    assert [record.getMessage().partition(" (")[0] for record in caplog.records] == [
        f"{folder / 'history.jsonl'} cannot be written" for folder in (tmp_path, tmp_path / "other")]
    history.add({"step": 4})
    history.close()
    assert (tmp_path / "history.jsonl").read_text() == "".join(f'{{"step": {step}}}\n' for step in range(5))
    resumed = History(tmp_path / "other", 4)
    assert resumed.lines == 2
    resumed.close()
    assert (tmp_path / "other" / "history.jsonl").read_text() == '{"step": 0}\n{"step": 1}\n'
