"""A training that takes seconds: a tiny network on a dozen synthetic photos."""
from __future__ import annotations

import contextlib
import json
import resource

import pytest
from PIL import Image


@pytest.fixture(scope="session")
def tiny_photos(tmp_path_factory, make_photo):
    """A folder with train/ (12 photos) and val/ (5 photos)."""
    folder = tmp_path_factory.mktemp("photos")
    for split, count, first in (("train", 12, 0), ("val", 5, 100)):
        (folder / split).mkdir()
        for number in range(count):
            Image.fromarray(make_photo(24, 32, first + number)).save(folder / split / f"{number:02}.png")
    return folder


@pytest.fixture
def tiny_settings(tiny_photos, tmp_path):
    """`tiny_settings(**changes)` -> settings of such a training as a dict of plain values."""

    def settings(**changes) -> dict:
        return {
            "project_name": "tiny", "checkpoint_dir": str(tmp_path / "runs"), "exp_name": "test", "z_dims": 4, "embed_dims": 4,
            "unet_init_features": 4, "swin_depths": [1], "swin_num_heads": [2], "hvr_t": 1, "hvr_c": 1,
            "coco_train_images": None, "coco_train_annotations": None, "coco_val_images": None,
            "coco_val_annotations": None, "train_folders": [str(tiny_photos / "train")],
            "val_folders": [str(tiny_photos / "val")], "height": 16, "width": 16, "num_workers": 0, "epochs": 2,
            "batch_size": 2, "learning_rate": 2e-3, "lr_cosine_cycles": 1, "autocast_dtype": "no", "log_every": 2,
            "loss_weight": {"mae": 1.0, "sat": 1.0}, "eval_dataset": {}, **changes,
        }

    return settings


@pytest.fixture
def tiny_config(tiny_settings):
    """The same as a Config."""
    from exp_config import Config

    return lambda **changes: Config.from_dict(tiny_settings(**changes))


@pytest.fixture
def config_file(tiny_settings, tmp_path):
    """The same as a config.json: `config_file(**changes)` -> its path."""

    def write(**changes):
        path = tmp_path / "config.json"
        path.write_text(json.dumps(tiny_settings(**changes)))
        return path

    return write


@pytest.fixture
def disk_with_room():
    """`with disk_with_room(number):` no file of this process can be written beyond so many bytes, as on a full disk."""

    @contextlib.contextmanager
    def limited(number):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (number, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited


@pytest.fixture(autouse=True)
def without_wandb(monkeypatch):
    """No test of the engine starts wandb unless it says so."""
    monkeypatch.setenv("WANDB_DISABLED", "true")
