"""benchmarks/recursion.py: seams are found, the steps' pictures are the program's own, the tables hold what was measured."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.recursion import agreement_line, main, per_supervision_step, progress, refinement_table, seam
from engine.enhancing.enhancement import enhance
from exp_config import Config
from models import HVR
from models.weights import save_weights

CONFIG = Config(z_dims=8, embed_dims=8, unet_init_features=8, swin_num_heads=[2, 2])


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return HVR.from_config(CONFIG).eval().requires_grad_(False)


def test_seams():
    rng = np.random.default_rng(0)
    noise = rng.integers(90, 110, (128, 96, 3))
    assert seam(noise) == pytest.approx(1, abs=0.05) == seam(noise, offset=4)
    blocks = np.kron(rng.integers(0, 30, (16, 12, 1)), np.ones((8, 8, 3), int))
    assert seam(noise + blocks) > 1.5 and seam(noise + blocks, offset=4) < 1


@pytest.mark.parametrize(("size", "border"), [((24, 32), 0), ((21, 35), 0), ((21, 35), 8)])
def test_steps_end_at_the_picture_that_the_program_writes(model, make_photo, size, border, monkeypatch):
    monkeypatch.setattr(model, "inference_border", border)
    dark = make_photo(*size) // 4
    steps = progress(model, dark, 2)
    assert "".join(kind for kind, _ in steps) == "LLHLLH" * 2
    for number in (1, 2):
        np.testing.assert_array_equal(steps[6 * number - 1][1], enhance(model, dark, N=number))
    np.testing.assert_array_equal(per_supervision_step(model, dark, 1, seed=0)[0], steps[5][1])
    np.testing.assert_array_equal(steps[1][1], steps[2][1])  # the H step that was shown ahead is the one then taken


def test_table():
    table = refinement_table("LHLH", [[10, 11, 12, 13], [20, 21, 22, 23]], [[0.5, 0.6], [0.7, 0.8]]).splitlines()
    assert table[2:] == ["| 1 | 15.00 | 16.00 | 0.6000 |", "| 2 | 17.00 | 18.00 | 0.7000 |"]
    assert agreement_line([[30, 40], [32, 44]]) == "31.00 dB (lowest 30.00) after 1, 42.00 dB (lowest 40.00) after 2"


def test_command(model, make_photo, tmp_path, capsys):
    for folder, scale in (("low", 4), ("high", 1)):
        (tmp_path / folder).mkdir()
        for number in range(2):
            Image.fromarray(make_photo(16, 24, number) // scale).save(tmp_path / folder / f"{number}.png")
    save_weights(model, tmp_path / "w.safetensors", CONFIG)
    CONFIG.to_json(tmp_path / "config.json")
    command = ["--low", str(tmp_path / "low"), "--high", str(tmp_path / "high"), "--config_path", str(tmp_path / "config.json"),
               "--weights_path", str(tmp_path / "w.safetensors"), "--steps", "2", "--device", "cpu"]
    main(command)
    printed = capsys.readouterr().out
    assert "| 2 | " in printed and "dB (lowest" in printed and "reference, offset 4" in printed
    main([*command, "--z_distribution", "zeros"])
    assert "the seed changes nothing" in capsys.readouterr().out
