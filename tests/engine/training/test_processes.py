"""Two processes on the CPU (gloo) against one with twice the batch."""
from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState

from engine.training.checkpoints import LATEST, load
from engine.training.session import run_training
from exp_config import Config

PROJECT = Path(__file__).resolve().parents[3]
SCRIPT = Path(__file__).with_name("two_ranks.py")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT), "ACCELERATE_USE_CPU": "true",
               "WANDB_DISABLED": "true"}


def torchrun(*command, **environment: str) -> subprocess.CompletedProcess:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--rdzv_backend", "c10d",
                "--rdzv_endpoint", "localhost:0"]
    return subprocess.run([*launcher, *command], capture_output=True, text=True, timeout=900,
                          env={**ENVIRONMENT, **environment})


@pytest.fixture(scope="module")
def settings(tiny_photos):
    return Config.from_dict({
        "z_dims": 4, "embed_dims": 4, "unet_init_features": 4, "swin_depths": [1], "swin_num_heads": [2], "hvr_t": 1,
        "hvr_c": 1, "coco_train_images": None, "coco_train_annotations": None, "coco_val_images": None,
        "coco_val_annotations": None, "train_folders": [str(tiny_photos / "train")], "height": 16, "width": 16,
        "val_folders": [str(tiny_photos / "val")], "num_workers": 0, "epochs": 2, "batch_size": 2, "lr_cosine_cycles": 1,
        "autocast_dtype": "no", "log_every": 1, "loss_weight": {"mae": 1.0, "sat": 1.0}, "eval_dataset": {},
        "learning_rate": 1e-3})


@pytest.fixture(scope="module")
def folder(tmp_path_factory, settings):
    """Results of two_ranks.py under torchrun."""
    folder = tmp_path_factory.mktemp("two_ranks")
    replace(settings, checkpoint_dir=str(folder / "runs")).to_json(folder / "config.json")
    done = torchrun(SCRIPT, folder)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.fixture(scope="module")
def alone(folder):
    """The same with one process and twice the batch."""
    specification = importlib.util.spec_from_file_location("two_ranks", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    AcceleratorState._reset_state(reset_partial_state=True)
    config = Config.from_json(folder / "config.json")
    return module.gradients_and_losses(replace(config, batch_size=4))


@pytest.mark.parametrize("kind", ["plain", "accumulated"])
def test_gradients_equal_those_of_one_process(folder, alone, kind):
    """2 ranks with batches of 2 (or 2 micro-batches of 1) against 1 with 4: within 1e-5."""
    for rank in (0, 1):
        found = torch.load(folder / f"found_{rank}.pt")[kind]
        assert found["world"] == 2
        torch.testing.assert_close(found["values"][:-1], alone["values"][:-1], rtol=1e-5, atol=1e-6)
        for mine, theirs in zip(found["gradients"], alone["gradients"], strict=True):
            for a, b in zip(mine, theirs, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_validation_is_shared_exactly(folder, alone):
    """5 photos over 2 ranks: every one counted once."""
    for rank in (0, 1):
        found = torch.load(folder / f"found_{rank}.pt")["plain"]
        for name in ("validation", "identity"):
            assert found[name] == pytest.approx(alone[name], rel=1e-6)


@pytest.fixture(scope="module")
def two_machines(tmp_path_factory, settings):
    """Results of two_ranks.py as on two machines: short epochs, and a training that breaks on both."""
    folder = tmp_path_factory.mktemp("two_machines")
    replace(settings, checkpoint_dir=str(folder / "runs")).to_json(folder / "config.json")
    done = subprocess.run([sys.executable, SCRIPT, folder, "two_machines"], capture_output=True, text=True, timeout=900,
                          env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("steps", [1, 2, 9])
def test_epochs_shorter_than_log_every(two_machines, steps):
    """Two processes, one of them without a validation photo."""
    (run,) = (two_machines / "runs" / f"steps_{steps}").iterdir()
    progress = load(run / LATEST)["progress"]
    assert (progress.epoch, progress.step) == (2, 2 * steps)
    kinds = [json.loads(line)["kind"] for line in (run / "history.jsonl").read_text().splitlines()]
    assert kinds.count("epoch") == kinds.count("val") == 2 and kinds.count("train") == 2 * steps // 10


def test_non_finite_on_one_rank_stops_both(two_machines):
    """With train.py's exit status; both name the rank that is to blame, the step and its photos in their last line."""
    assert json.loads((two_machines / "statuses.json").read_text()) == [2, 2]
    first, second = ((two_machines / f"said_{rank}").read_text().splitlines()[-1] for rank in (0, 1))
    assert first == second and first.startswith("error: ")
    assert "process 1, step 1: loss nan" in first and "process 0" not in first and ".png" in first and LATEST in first


def test_no_two_ranks_draw_the_same(folder):
    first, second = torch.load(folder / "found_0.pt")["plain"]["draws"]
    assert first != second


def test_whole_training(folder):
    """One run folder; random states of both ranks in the checkpoint."""
    runs = [path for path in (folder / "runs").iterdir() if path.name.startswith("HVR")]
    assert len(runs) == 1
    state = load(runs[0] / LATEST)
    assert state["progress"].epoch == 2 and state["progress"].photos_per_step == 4
    states = [states["random"]["torch"] for states in state["ranks"]]
    assert len(states) == 2 and not torch.equal(*states)


def test_another_number_of_processes(folder, monkeypatch):
    """The run of two goes on with one process."""
    monkeypatch.setenv("WANDB_DISABLED", "true")
    AcceleratorState._reset_state(reset_partial_state=True)
    run = next(path for path in (folder / "runs").iterdir() if path.name.startswith("HVR"))
    config = replace(Config.from_json(folder / "config.json"), epochs=3)
    run_training(config, resume_from=str(run / LATEST))
    state = load(run / LATEST)
    assert state["progress"].epoch == 3 and state["progress"].step == 3 + 3 + 6 and len(state["ranks"]) == 1


def test_torchrun_without_the_cpu_variable(folder):
    """Two runs that do not know each other are refused."""
    done = torchrun(PROJECT / "train.py", "--config_path", folder / "config.json", ACCELERATE_USE_CPU="false")
    assert done.returncode != 0
    assert "error: 2 processes were asked for, but this one stands alone" in done.stderr
    assert "ACCELERATE_USE_CPU=true torchrun" in done.stderr
