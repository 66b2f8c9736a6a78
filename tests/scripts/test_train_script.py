"""train.py as a user calls it, in processes of its own."""
from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image

from exp_config import ConfigError, load_config
from train import main, parse_arguments

PROJECT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_DISABLED": "true", "ACCELERATE_USE_CPU": "true"}


@pytest.fixture(scope="module")
def config(tmp_path_factory, make_photo):
    """A config.json of a tiny network, with photos beside it."""
    folder = tmp_path_factory.mktemp("train")
    for split in ("train", "val"):
        (folder / split).mkdir()
        for number in range(8):
            Image.fromarray(make_photo(24, 32, number)).save(folder / split / f"{number}.png")
    path = folder / "config.json"
    path.write_text(json.dumps({
        "project_name": "tiny", "exp_name": "script", "checkpoint_dir": str(folder / "runs"), "z_dims": 4, "embed_dims": 4,
        "unet_init_features": 4, "swin_depths": [1], "swin_num_heads": [2], "coco_train_images": None,
        "coco_val_images": None, "train_folders": [str(folder / "train")], "val_folders": [str(folder / "val")],
        "height": 16, "width": 16, "num_workers": 1, "epochs": 500, "batch_size": 2, "autocast_dtype": "no",
        "log_every": 1, "loss_weight": {"mae": 1.0}, "eval_dataset": {}, "lr_cosine_cycles": 1}))
    return path


def train(*arguments: str, cwd: Path = PROJECT, launcher: tuple[str, ...] = ("python",)) -> subprocess.CompletedProcess:
    command = [str(Path(sys.executable).with_name(launcher[0])), *launcher[1:], str(PROJECT / "train.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, env=ENVIRONMENT, cwd=cwd)


def test_help_comes_before_torch():
    code = "import sys, train\ntry: train.main(['--help'])\nexcept SystemExit: pass\nassert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    for option in ("--config_path", "--config_name", "--exp_name", "--resume_from_checkpoint", "--init_weights", "--set"):
        assert option in done.stdout


@pytest.mark.parametrize(("arguments", "message"), [
    (["--exp_name", "nonsense"], "unknown experiment 'nonsense'; Config has: base_model, dark_photos, default"),
    (["--set", "batchsize=2"], "unknown field 'batchsize' (did you mean 'batch_size'?)"),
    (["--set", "batch_size=two"], "batch_size = 'two' is a str; expected int"),
    (["--set", "train_folders=../x"], """list[str], on the command line as JSON: --set 'train_folders=["../x"]'"""),
    (["--set", "k_range=0.1"], "is a float; expected list[float]\n"),
    (["--set", "coco_val_ids=seven"], "--set 'coco_val_ids=[1, 2]'"),
    (["--set", "loss_weight=mae"], """--set 'loss_weight={"mae": 1.0}'"""),
    (["--config_path", "absent.py"], "no config file absent.py"),
])
def test_wrong_settings(arguments, message):
    done = train(*arguments)
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr


RANGES = {"alpha": [0, 0.3], "k": [0, 0.4], "l": [0, 0.9]}
SCHEDULES = [{"type": "linear", "start": RANGES, "end": {**RANGES, name: values}}
             for name, values in (("alpha", [0, 1]), ("k", [0, 1]), ("l", [0, 1.5]), ("l", [0, float("nan")]))]


@pytest.mark.parametrize(("override", "message"), [
    ("exp_name=mine", "--set exp_name=mine: an experiment of the class is chosen by --exp_name"),
    ("colour_gains=[1, Infinity]", "colour_gains = [1.0, inf]; expected finite numbers"),
    ("seed=99999999999999999999999", "expected a whole number from 0 to 2^64 - 1"),
    *((f"project_name={text}", "a part of a folder's name") for text in ("../x", "a/b", " ", "..", '"a\\u0000b"', r"a\b")),
    ("seed=-1", "seed = -1; expected a whole number from 0"),
    *((f'eval_dataset={{"{name}": {{"low": "x"}}}}', "names of folders that lie below the results")
      for name in ("../../esc", "a/../..", "..", ".", "", "/tmp/esc", r"..\\esc")),
    *((f"image_preprocessing_schedule={json.dumps(schedule)}", "with 0 <= min <= max, at most {'alpha': 0.999")
      for schedule in SCHEDULES),
])
def test_settings_out_of_range(override, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_config(PROJECT / "exp_config/config.py", overrides=[override])


def test_settings_at_the_end_of_their_range():
    largest = {"type": "linear", "start": RANGES, "end": {"alpha": [0, 0.999], "k": [0, 0.999], "l": [0, 1]}}
    config = load_config(PROJECT / "exp_config/config.py", overrides=[
        f"seed={2**64 - 1}", f"image_preprocessing_schedule={json.dumps(largest)}", 'eval_dataset={"..a b/c": {"low": "x"}}'])
    torch.manual_seed(config.seed)
    assert config.seed == 2**64 - 1 and config.image_preprocessing_schedule == largest and "..a b/c" in config.eval_dataset


def test_a_config_json_with_a_byte_order_mark(config, tmp_path):
    (tmp_path / "config.json").write_text(config.read_text(), encoding="utf-8-sig")
    assert load_config(tmp_path / "config.json") == load_config(config)


@pytest.mark.parametrize("option", ["--resume_from_checkpoint", "--init_weights"])
def test_an_empty_path_is_refused(option, capsys):
    """Of a shell variable that is not set: a new run would begin, or something else be looked for."""
    with pytest.raises(SystemExit):
        parse_arguments([option, ""])
    assert f"{option}: an empty text" in capsys.readouterr().err


def test_options_are_not_abbreviated(capsys):
    """resume_command knows their full names."""
    with pytest.raises(SystemExit):
        parse_arguments(["--init", "weights.safetensors"])
    assert "unrecognized arguments: --init" in capsys.readouterr().err


def test_names_beside_a_config_json_are_said_to_change_nothing(config, caplog):
    path = str(config)
    for arguments, named in (([], None), (["--exp_name", "short_test"], "--exp_name changes"),
                             (["--exp_name", "default", "--config_name", "Config"], "--config_name and --exp_name change")):
        parsed = parse_arguments(["--config_path", path, *arguments])
        caplog.clear()
        assert load_config(parsed.config_path, parsed.config_name, parsed.exp_name).exp_name == "script"
        assert [named in record.getMessage() for record in caplog.records] == [True] * (named is not None)
    caplog.clear()
    parsed = parse_arguments(["--config_name", "Config"])
    assert load_config(PROJECT / parsed.config_path, parsed.config_name, parsed.exp_name).exp_name == "default"
    assert not caplog.records


def test_missing_photos(config, monkeypatch, capsys):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    AcceleratorState._reset_state(reset_partial_state=True)
    assert main(["--config_path", str(config), "--set", 'train_folders=["/nowhere"]']) == 2
    AcceleratorState._reset_state(reset_partial_state=True)
    assert "error: no folder of photos at /nowhere" in capsys.readouterr().err


def test_accelerate_starts_one_process_only(config):
    """`accelerate launch --cpu --num_processes 2` silently gives one on a CPU; the training does not."""
    done = train("--config_path", str(config), launcher=("accelerate", "launch", "--cpu", "--num_processes", "2"))
    assert done.returncode != 0
    assert "error: 2 processes were asked for, but this one stands alone" in done.stderr


def wait_for_steps(process: subprocess.Popen, runs: Path) -> None:
    """Until the training has reported."""
    end = time.monotonic() + 300
    while not any(path.stat().st_size for path in runs.glob("*/history.jsonl")):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.05)


def test_a_loader_process_is_killed(config):
    """As the system does where memory runs out: how to resume, one line, no traceback."""
    runs = config.parent / "runs_killed"
    command = [sys.executable, str(PROJECT / "train.py"), "--config_path", str(config), "--set", f"checkpoint_dir={runs}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=config.parent) as process:
        wait_for_steps(process, runs)
        for loader in psutil.Process(process.pid).children():
            loader.kill()
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 2 and "Traceback" not in errors, errors
    lines = errors.splitlines()
    at = next((at for at, line in enumerate(lines) if line.startswith("error: a loader process")), None)
    assert at is not None, errors
    assert lines[at - 2] == "resume with:" and lines[at - 1].startswith("  python "), errors
    assert "memory" in lines[at] and "num_workers" in lines[at]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stop_and_resume(config, number):
    """The signal ends the batch, saves, and prints a command; that command goes on to the end."""
    runs = config.parent / f"runs_{number.name}"
    command = [sys.executable, str(PROJECT / "train.py"), "--config_path", str(config), "--set", f"checkpoint_dir={runs}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=config.parent) as process:
        wait_for_steps(process, runs)
        process.send_signal(number)
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    assert f"stopped by {number.name}" in errors and "Traceback" not in errors
    line = errors.split("resume with:\n  ")[1].splitlines()[0]
    run = next(runs.iterdir())
    assert line.endswith(f"--resume_from_checkpoint {run / 'checkpoint_epoch_latest'}")
    logged = (run / "history.jsonl").read_text()
    if number != signal.SIGINT:
        return
    python, *arguments = shlex.split(line)
    assert python == "python"
    done = subprocess.run([sys.executable, *arguments, "--set", "epochs=6"], capture_output=True, text=True, timeout=300,
                          env=ENVIRONMENT, cwd=config.parent)
    assert done.returncode == 0, done.stderr
    assert "images/s" in done.stderr and "input unchanged" in done.stderr
    assert (run / "best_model" / "HVR.safetensors").is_file() and (run / "wandb_id.txt").is_file()
    first = logged.splitlines()[0]
    assert (run / "history.jsonl").read_text().splitlines()[0] == first
