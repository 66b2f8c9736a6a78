"""Whole trainings in this process: what lies in the run folder, how they resume, what stops them."""
from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image

from data.pairs.errors import DataError
from engine.training import checkpoints, runs
from engine.training.checkpoints import BEST, LATEST, CheckpointError, load
from engine.training.meter import NonFiniteError
from engine.training.session import run_training, warn_of_other_network
from engine.training.tracking import Tracker
from exp_config import Config, ConfigError, load_config
from exp_config.loading import parse_override
from losses.total import TotalLoss
from models import HVR, load_pretrained, save_weights


@dataclass
class OwnConfig(Config):
    """As a user derives one."""

    extra: int = 3


@pytest.fixture(autouse=True)
def fresh_accelerate(monkeypatch):
    """accelerate keeps its state for the whole process; each training here starts as in a new one."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def train(config, **kwargs) -> Path:
    """Run it; -> the latest run folder."""
    run_training(config, **kwargs)
    return sorted(Path(config.checkpoint_dir).glob("*/"))[-1]


def history(run: Path, kind: str) -> list[dict]:
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "images_per_second"} for line in lines if line["kind"] == kind]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load(folder)["model"]


def test_run_folder(tiny_config, caplog):
    """Everything that the README promises, and both checkpoint folders complete in themselves."""
    run = train(tiny_config(ema_decay=0.5, compile=True))
    assert "compile = true is for GPUs" in caplog.text
    assert run.name.startswith("tiny_test_")
    assert {path.name for path in run.iterdir() if not path.name.startswith(".")} == {
        "config.json", "wandb_id.txt", "history.jsonl", LATEST, BEST}
    for name in (LATEST, BEST):
        state = load(run / name)
        assert {"model", "optimizer", "scheduler", "scaler", "average", "ranks", "loss", "progress"} <= state.keys()
        shipped = dict(load_pretrained(run / name / "config.json", run / name / "HVR.safetensors").named_parameters())
        averaged = state["average"]["average"]
        assert all(torch.equal(shipped[key], averaged[key]) for key in averaged)
        assert any(not torch.equal(shipped[key], state["model"][key]) for key in averaged)
    assert load(run / LATEST)["progress"].best_loss == min(line["loss"] for line in history(run, "val"))
    rates = [line["learning_rate"] for line in history(run, "epoch")]
    assert rates == [2e-3, 1e-9]
    assert {line["identity"] for line in history(run, "val")} == {load(run / LATEST)["progress"].identity_loss}


def test_loss_falls_below_that_of_the_input(tiny_config):
    run = train(tiny_config(epochs=8, learning_rate=0.01, lr_cosine_warmup_rate=0.0))
    losses = [line["loss"] for line in history(run, "epoch")]
    validation = history(run, "val")
    assert losses[-1] < 0.75 * losses[0]
    assert validation[-1]["loss"] < validation[-1]["identity"]


@pytest.mark.parametrize("name", [LATEST, BEST])
def test_resume_from_either_folder(tiny_config, monkeypatch, tmp_path, name):
    """Relative, with a trailing slash, from another working directory, to the numbers of an unbroken run."""
    settings = {"epochs": 3, "learning_rate": 0.01, "learning_rate_static": True, "ema_decay": 0.9}
    config = tiny_config(**settings)
    unbroken = train(replace(config, checkpoint_dir=str(tmp_path / "unbroken")))
    run = train(replace(config, epochs=1))
    monkeypatch.chdir(tmp_path)
    run_training(config, resume_from=f"{os.path.relpath(run / name)}/")
    for folder in (LATEST, BEST):
        found = weights(run / folder)
        assert all(torch.equal(value, found[key]) for key, value in weights(unbroken / folder).items())
    for kind in ("train", "epoch", "val"):
        assert history(run, kind) == history(unbroken, kind)
    assert runs.run_id(run) != runs.run_id(unbroken)


def test_a_copied_checkpoint_goes_on_in_a_new_run(tiny_config, tmp_path):
    config = tiny_config()
    run = train(config)
    (run / LATEST).rename(tmp_path / "copy")
    other = train(replace(config, epochs=3, checkpoint_dir=str(tmp_path / "other")), resume_from=str(tmp_path / "copy"))
    assert load(other / LATEST)["progress"].step == 18
    assert not (run / LATEST).exists()


def test_resume_refuses_another_network(tiny_config):
    """num_groups changes the function and no tensor's shape."""
    config = tiny_config(epochs=1)
    run = train(config)
    with pytest.raises(CheckpointError, match="unet_num_groups = 4, in the checkpoint 2"):
        run_training(replace(config, unet_num_groups=4), resume_from=str(run / LATEST))


def test_changed_settings_are_named(tiny_config, caplog):
    config = tiny_config(epochs=1)
    run = train(config)
    run_training(replace(config, epochs=2, loss_weight={"mae": 1.0}), resume_from=str(run / LATEST))
    assert "setting changed since the checkpoint: epochs = 2, was 1" in caplog.text
    assert "the search for the lowest validation loss starts anew" in caplog.text


def test_a_config_class_with_fields_of_its_own(tiny_config, tiny_settings, tmp_path, caplog):
    """It is resumed as what it is; its weights are used, and started from, by those who do not know its fields."""
    config = OwnConfig.from_dict(tiny_settings(epochs=1))
    run = train(config)
    run_training(replace(config, epochs=2, extra=4), resume_from=str(run / LATEST))
    assert "setting changed since the checkpoint: extra = 4, was 3" in caplog.text and "unknown field" not in caplog.text
    assert json.loads((run / LATEST / "config.json").read_text())["extra"] == 4
    caplog.clear()
    load_pretrained(run / BEST / "config.json", run / BEST / "HVR.safetensors")
    (record,) = caplog.records
    assert record.getMessage().endswith("config.json: unknown fields, left out: 'extra'")
    caplog.clear()
    warn_of_other_network(tiny_config(hvr_t=3), run / BEST / "config.json")
    assert "--set hvr_t=1" in caplog.text
    with pytest.raises(ConfigError, match="unknown field 'extra'"):
        load_config(run / "config.json")


def test_other_validation_starts_the_search_for_the_best_anew(tiny_config, caplog):
    config = tiny_config(epochs=1, loss_weight={"mae": 1.0, "exposure": 1.0})
    run = train(config)
    settings = {"max_val_photos": 2, "height": 24, "exposure_mean": 0.3}
    run_training(replace(config, epochs=2, **settings), resume_from=str(run / LATEST))
    assert "the validation has changed (photos, size, exposure_mean): the search for the lowest" in caplog.text
    first, second = history(run, "val")
    assert first["identity"] != second["identity"]
    assert load(run / LATEST)["progress"].best_loss == second["loss"]


def test_the_same_validation_told_otherwise_keeps_the_best(tiny_config, tmp_path, caplog):
    """Photos at another place, and tuples of a class where the checkpoint has lists."""
    config = tiny_config(epochs=1, image_preprocessing_schedule={
        "type": "linear", **{end: {"alpha": (0.0, 0.2), "k": (0.0, 0.3), "l": (0.0, 0.9)} for end in ("start", "end")}})
    run = train(config)
    best = load(run / LATEST)["progress"].best_loss
    (folder,) = config.val_folders
    shutil.copytree(folder, tmp_path / "moved")
    run_training(replace(config, epochs=2, learning_rate=0.5, val_folders=[str(tmp_path / "moved")]),
                 resume_from=str(run / LATEST))
    assert "starts anew" not in caplog.text and "image_preprocessing_schedule" not in caplog.text
    assert load(run / LATEST)["progress"].best_loss <= best


def test_a_finished_run_is_left_as_it_is(tiny_config, tmp_path, caplog):
    config = tiny_config()
    run = train(config)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for epochs in (2, 1):
        run_training(replace(config, epochs=epochs), resume_from=str(run / LATEST))
        assert f"{LATEST} stands after epoch 2, and epochs = {epochs}. To go on: --set epochs=3, or more" in caplog.text
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    (run / LATEST).rename(tmp_path / "copy")
    run_training(replace(config, checkpoint_dir=str(tmp_path / "other")), resume_from=str(tmp_path / "copy"))
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("split", ["train", "val"])
def test_broken_photos_in_a_loader_process_end_with_one_line(tiny_config, tmp_path, split):
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(b"no photo")
    with pytest.raises(DataError, match=r"\A10 photos in a row cannot be read: [^\n]*\.jpg[^\n]*\Z"):
        run_training(tiny_config(**{f"{split}_folders": [str(tmp_path)]}, num_workers=1))


def test_one_training_at_a_time(tiny_config):
    config = tiny_config(epochs=1)
    run = train(config)
    claim = runs.lock(run)
    with pytest.raises(CheckpointError, match=f"another training .process {os.getpid()}. writes in"):
        run_training(config, resume_from=str(run / LATEST))
    claim.close()
    run_training(config, resume_from=str(run / LATEST))


def test_full_disk_while_training(tiny_config, monkeypatch, caplog):
    """The training goes on, says so, and ends with an error when the last save fails too; the first checkpoint is whole."""
    original, saves = checkpoints.save, []

    def full(folder, *args):
        saves.append(folder.name)
        if len(saves) > 1:
            raise CheckpointError(f"could not save {folder} (full)") from OSError(errno.ENOSPC, "full")
        original(folder, *args)

    monkeypatch.setattr(checkpoints, "save", full)
    config = tiny_config()
    with pytest.raises(CheckpointError, match="could not save"):
        run_training(config)
    assert "tries again at the next save" in caplog.text and len(saves) > 5
    run = next(Path(config.checkpoint_dir).glob("*/"))
    assert load(run / LATEST)["progress"].step == 0
    monkeypatch.undo()
    monkeypatch.setenv("WANDB_DISABLED", "true")
    run_training(config, resume_from=str(run / LATEST))
    assert load(run / LATEST)["progress"].epoch == 2


def test_a_disk_that_fails_leaves_the_way_to_resume(tiny_config, monkeypatch, capsys):
    def fail(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Tracker, "report", fail)
    config = tiny_config()
    with pytest.raises(OSError, match="Input/output error"):
        run_training(config, arguments=["train.py"])
    run = next(Path(config.checkpoint_dir).glob("*/"))
    assert f"resume with:\n  python train.py --resume_from_checkpoint {run / LATEST}\n" in capsys.readouterr().err


def test_a_run_folder_that_cannot_be_written(tmp_path):
    (tmp_path / runs.LOCK_FILE).mkdir()
    with pytest.raises(CheckpointError, match=r"cannot be written: .*Copy the checkpoint folder elsewhere"):
        runs.lock(tmp_path)


def test_a_clock_that_stands_still(tiny_config, monkeypatch):
    """A coarse clock gives equal times for two short steps."""
    monkeypatch.setattr("engine.training.loop.time.perf_counter", lambda: 7.0)
    run = train(tiny_config(epochs=1, log_every=1))
    assert all(line["images_per_second"] > 0 for line in map(json.loads, (run / "history.jsonl").read_text().splitlines())
               if line["kind"] == "train")


def test_unwritable_place(tiny_config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="set checkpoint_dir|Set checkpoint_dir"):
        run_training(tiny_config(checkpoint_dir=str(tmp_path / "file" / "runs")))


def test_not_finite(tiny_config, monkeypatch):
    """Step, photos and last good checkpoint are named; that checkpoint is the one before."""
    original, calls = TotalLoss.__call__, [0]

    def broken(self, prediction, target, input):
        total, parts = original(self, prediction, target, input)
        calls[0] += torch.is_grad_enabled()
        return (total / 0.0 if calls[0] == 9 else total), parts  # step 5, first supervision step

    monkeypatch.setattr(TotalLoss, "__call__", broken)
    config = tiny_config(save_every_steps=2)
    with pytest.raises(NonFiniteError, match=r"step 5: loss inf.*image ids: \d\d.png, \d\d.png.*last good checkpoint is"):
        run_training(config)
    state = load(next(Path(config.checkpoint_dir).glob("*/")) / LATEST)
    assert state["progress"].step == 4
    assert all(value.isfinite().all() for value in state["model"].values())


def test_benchmarks_on_the_way(tiny_config, tmp_path, make_photo, caplog):
    """After epoch 1, every save_every epochs and the last; one warning for the absent one."""
    for folder in ("low", "high"):
        (tmp_path / folder).mkdir()
        Image.fromarray(make_photo(24, 32, 1) // (4 if folder == "low" else 1)).save(tmp_path / folder / "a.png")
    sets = {"here": {"low": str(tmp_path / "low"), "high": str(tmp_path / "high")}, "absent": {"low": str(tmp_path / "none")}}
    run = train(tiny_config(epochs=5, save_every=3, eval_dataset=sets))
    rounds = history(run, "eval")
    assert [line["epoch"] for line in rounds] == [1, 3, 5]
    assert all(0 < line["here/psnr"] < 60 for line in rounds)
    assert (run / "evaluation" / "here" / "pictures" / "a.png").is_file()
    assert sum("absent" in record.getMessage() for record in caplog.records if record.levelname == "WARNING") == 1


def test_too_few_photos(tiny_config):
    config = tiny_config(batch_size=8, gradient_accumulation_steps=2)
    with pytest.raises(ValueError, match="do not fill one step of 16 photos"):
        run_training(config)
    assert not Path(config.checkpoint_dir).exists()


def test_start_from_weights(tiny_config, tmp_path):
    """--init_weights: the first step starts there, the average too."""
    first = train(tiny_config(epochs=1))
    config = tiny_config(epochs=1, learning_rate=1e-12, learning_rate_static=True, ema_decay=0.5,
                         checkpoint_dir=str(tmp_path / "second"))
    second = train(config, init_weights=str(first / BEST / "HVR.safetensors"))
    start = load_pretrained(first / BEST / "config.json", first / BEST / "HVR.safetensors").state_dict()
    end = load_pretrained(second / BEST / "config.json", second / BEST / "HVR.safetensors").state_dict()
    assert all(torch.allclose(end[key], value, atol=1e-6) for key, value in start.items())


def test_colour_gains_act_once_at_the_start(tiny_config, tmp_path):
    """On weights to start from, and not again when the run is resumed."""
    first = train(tiny_config(epochs=1))
    config = tiny_config(epochs=1, learning_rate=1e-12, learning_rate_static=True, ema_decay=0.5, colour_gains=[2.0, 3.0],
                         checkpoint_dir=str(tmp_path / "second"))
    second = train(config, init_weights=str(first / BEST / "HVR.safetensors"))
    run_training(replace(config, epochs=2), resume_from=str(second / LATEST))
    start, end = (load_pretrained(folder / "config.json", folder / "HVR.safetensors")
                  for folder in (first / BEST, second / LATEST))
    start.scale_colours(2.0, 3.0)
    assert all(torch.allclose(end.state_dict()[key], value, atol=1e-6) for key, value in start.state_dict().items())


def test_weights_of_another_network_are_told(tiny_config, tmp_path, caplog):
    config = tiny_config(z_distribution="normal", swin_num_heads=[2])
    beside = tmp_path / "config.json"
    warn_of_other_network(config, beside)  # none there
    beside.write_text('{"of": "another program"}')
    warn_of_other_network(config, beside)
    tiny_config(epochs=7, learning_rate=1).to_json(beside)
    warn_of_other_network(config, beside)
    assert not caplog.records
    tiny_config(z_distribution="zeros", hvr_t=3, swin_num_heads=[4], normalize_one_to_one=False).to_json(beside)
    warn_of_other_network(config, beside)
    (record,) = caplog.records
    assert "z_distribution = 'zeros' (in this run 'normal')" in record.getMessage()
    overrides = shlex.split(record.getMessage().partition("--set ")[2])
    assert dict(map(parse_override, overrides)) == {
        "z_distribution": "zeros", "hvr_t": 3, "swin_num_heads": [4], "normalize_one_to_one": False}


def test_weights_to_start_from_are_compared(tiny_config, tmp_path, caplog):
    config = tiny_config(epochs=1)
    save_weights(HVR.from_config(config), tmp_path / "HVR.safetensors", tiny_config(hvr_t=3))
    train(config, init_weights=str(tmp_path / "HVR.safetensors"))
    assert sum("--set hvr_t=3" in record.getMessage() for record in caplog.records) == 1
