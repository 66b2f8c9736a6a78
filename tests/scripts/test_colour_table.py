"""benchmarks/colour.py: slopes of known pictures, and the table of a whole run."""
from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.colour import colour_slopes, main
from exp_config import Config
from models import HVR
from models.weights import save_weights

CONFIG = Config(z_dims=8, embed_dims=8, unet_init_features=8, swin_num_heads=[2, 2])


def test_slopes_are_the_factor_of_each_axis():
    rng = np.random.default_rng(0)
    lab = np.full((40, 40, 3), 128.0)
    lab[..., 1:] += rng.uniform(-24, 24, (40, 40, 2))
    weaker = lab.copy()
    weaker[..., 1:] = 128 + (lab[..., 1:] - 128) * [0.5, 0.25]
    reference, result = (cv2.cvtColor(np.rint(picture).astype(np.uint8), cv2.COLOR_LAB2RGB) for picture in (lab, weaker))
    assert colour_slopes(result, reference) == pytest.approx((0.5, 0.25), abs=0.03)
    assert colour_slopes(reference, reference) == pytest.approx((1, 1))
    gray = np.repeat(rng.integers(0, 256, (8, 8, 1), dtype=np.uint8), 3, 2)
    assert np.isnan(colour_slopes(reference[:8, :8], gray)).all()


def test_command(make_photo, tmp_path, capsys):
    for folder, scale in (("low", 4), ("high", 1)):
        (tmp_path / folder).mkdir()
        for number in range(3):
            Image.fromarray(make_photo(16, 24, number) // scale).save(tmp_path / folder / f"{number}.png")
    torch.manual_seed(0)
    save_weights(HVR.from_config(CONFIG), tmp_path / "HVR.safetensors", CONFIG)
    main(["--low", str(tmp_path / "low"), "--high", str(tmp_path / "high"), "--config_path", str(tmp_path / "config.json"),
          "--weights_path", str(tmp_path / "HVR.safetensors"), "--steps", "2", "--every", "2", "--device", "cpu"])
    printed = capsys.readouterr().out
    assert "2 pairs; N = 2" in printed
    assert [len(line.split("|")) for line in printed.splitlines() if line.startswith(("| 1 |", "| 2 |"))] == [8, 8]
