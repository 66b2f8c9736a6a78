"""The original's own commands with the original's config.json: training, resuming, enhancing."""
from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from accelerate.state import AcceleratorState
from PIL import Image

import infer_image
from data.files.images import read_photo
from engine.training.checkpoints import LATEST, load
from engine.training.session import run_training
from exp_config import PROJECT_ROOT, Config, load_config

WEIGHTS = PROJECT_ROOT / "checkpoint/HVR.safetensors"
SAME = ["--z_distribution", "normal", "--hvr_t", "2", "--hvr_c", "2", "--hvr_n_supervision", "2", "--border", "0"]


def test_either_config_serves_the_weights(golden, tmp_path, make_photo, capsys):
    """Ours and theirs describe one network: with equal steps and latents the pictures are equal to the last bit."""
    Image.fromarray(make_photo(24, 33) // 4).save(tmp_path / "dark.png")
    pictures = []
    for name, config, options in (("theirs", golden / "published_config.json", []),
                                  ("ours", PROJECT_ROOT / "checkpoint/config.json", SAME)):
        status = infer_image.main(["--config_path", str(config), "--weights_path", str(WEIGHTS), "--input_path", str(tmp_path),
                                   "--output_dir", str(tmp_path.with_name(name)), "--device", "cpu", *options])
        assert status == 0 and capsys.readouterr().out.startswith("1 written")
        pictures.append(read_photo(tmp_path.with_name(name) / "dark.png").pixels)
    np.testing.assert_array_equal(*pictures)
    assert pictures[0].mean() > 1.5 * read_photo(tmp_path / "dark.png").pixels.mean()


@pytest.fixture
def published(golden, tmp_path, make_photo, monkeypatch):
    """The published file with its places on this machine: paths by the original's names, everything else as it is."""
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        for number in range(4):
            Image.fromarray(make_photo(24, 32, number)).save(tmp_path / split / f"{number}.png")
    path = tmp_path / "config.json"
    path.write_text(json.dumps({
        **json.loads((golden / "published_config.json").read_text()), "output_dir": str(tmp_path / "runs"), "eval_dataset": {},
        "coco_train_dir": str(tmp_path / "train"), "coco_train_annotation_file_path": None,
        "coco_val_dir": str(tmp_path / "val"), "coco_val_annotation_file_path": None}))
    for name, value in (("ACCELERATE_USE_CPU", "true"), ("WANDB_DISABLED", "true")):
        monkeypatch.setenv(name, value)
    AcceleratorState._reset_state(reset_partial_state=True)
    yield path
    AcceleratorState._reset_state(reset_partial_state=True)


def test_train_and_resume(published):
    small = ["batch_size=2", "width=16", "height=16", "num_workers=0", "autocast_dtype=no", "lr_cosine_cycles=1",
             'loss_weight={"mae": 1.0}']
    config = load_config(published, overrides=[*small, "num_epochs=1"])
    run_training(config)
    (run,) = Path(config.checkpoint_dir).iterdir()
    assert run.name.startswith("HVR-SSLE_exp_dim_")
    assert asdict(Config.from_json(run / "config.json")) == asdict(config)
    run_training(load_config(published, overrides=[*small, "num_epochs=2"]), resume_from=str(run / LATEST))
    progress = load(run / LATEST)["progress"]
    assert (progress.epoch, progress.step) == (2, 4)
