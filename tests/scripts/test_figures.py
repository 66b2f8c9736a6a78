"""The README's pictures: drawn from the settings as they are, and from what the network gives."""
from __future__ import annotations

import json
from xml.etree import ElementTree

import numpy as np
import pytest

from engine.enhancing.enhancement import enhance
from exp_config import Config
from img import make_architecture, make_figures, make_look, make_samples, make_training_curve
from img.drawing import PALETTES
from models import HVR


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_drawing_in_the_project_is_up_to_date(theme):
    drawn = make_architecture.draw(PALETTES[theme], Config())
    assert (make_architecture.FOLDER / make_architecture.NAMES[theme]).read_text(encoding="utf-8") == drawn


def texts(**settings) -> list[str]:
    drawn = make_architecture.draw(PALETTES["light"], Config(**settings))
    return [element.text for element in ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]


def test_the_drawing_shows_the_settings():
    published = texts()
    assert (published.count("L"), published.count("H")) == (8, 4)
    assert "HVR, 353,763 parameters: 2 supervision steps, each 2 × (2 × L, then H)" in published
    changed = texts(hvr_t=3, hvr_n_supervision=1, swin_depths=[4, 2, 2], swin_num_heads=[2, 2, 2], unet_init_features=12)
    assert (changed.count("L"), changed.count("H")) == (6, 2)
    assert {"layer 3", "4 blocks", "12", "8×8 window, 2 heads"} <= set(changed)


def test_the_recursion_ends_with_the_enhanced_photo(make_photo):
    model, dark = HVR.from_config(Config()).eval(), make_photo(30, 44) // 5
    outputs = make_figures.h_step_outputs(model, dark)
    assert len(outputs) == model.C * model.N and {o.shape for o in outputs} == {dark.shape}
    assert np.abs(outputs[-1].astype(int) - enhance(model, dark)).max() <= 1
    assert not np.array_equal(outputs[0], outputs[-1])


def test_strips_keep_proportions(make_photo):
    row = make_figures.strip([make_photo(30, 60), make_photo(60, 30)], height=20)
    assert row.size == (40 + make_figures.GAP + 10, 20)


def test_the_look_picture_shows_what_the_options_change(make_photo, monkeypatch):
    model, dark = HVR.from_config(Config(z_distribution="zeros")).eval(), make_photo(40, 60) // 3
    monkeypatch.setattr(make_look, "PART", (slice(5, 35), slice(10, 50)))
    shown = []
    monkeypatch.setattr(make_look, "row", lambda pictures, labels: shown.append((list(pictures), labels)) or make_figures.strip(
        pictures, 20))
    sheet = make_look.look(model, [dark, dark, dark])
    (bright, _), (colours, _), (parts, labels) = shown
    assert sheet.height == 3 * 20 + 2 * make_figures.GAP and labels == ["a part of the photo", "--detail 0", "--detail 1"]
    assert [p.mean() for p in bright] == sorted(p.mean() for p in bright) and bright[0].mean() < bright[2].mean()
    spread = [float(np.ptp(p.astype(float), 2).mean()) for p in colours]
    assert spread == sorted(spread) and spread[0] < 0.7 * spread[2]
    assert np.array_equal(parts[0], dark[5:35, 10:50]) and not np.array_equal(parts[1], parts[2])
    np.testing.assert_array_equal(bright[1], enhance(model, dark, detail=1))


def test_darkening_takes_stops_of_light(make_photo):
    photo = np.full((64, 64, 3), 200, np.uint8)
    dark = make_samples.darken(photo, 4.0, np.random.default_rng(0))
    light, before = (make_samples.to_linear(p / 255.0).mean() for p in (dark, photo))
    assert light == pytest.approx(before / 16, rel=0.05)
    assert dark.std() > 1, "noise of photons and read-out"


def test_the_training_curve_shows_what_the_history_holds(tmp_path):
    records = [{"kind": "train", "step": 10, "loss": 1.0}, {"kind": "epoch", "step": 10, "loss": 9.0},
               {"kind": "train", "step": 20, "loss": 0.5}, {"kind": "val", "step": 20, "loss": 0.25, "identity": 0.75}]
    history = tmp_path / "history.jsonl"
    history.write_text("".join(json.dumps(record) + "\n" for record in records))
    train, val, identity = make_training_curve.read_losses(history)
    assert (train, val, identity) == ([(10, 1.0), (20, pytest.approx(0.85))], [(20, 0.25)], 0.75)
    root = ElementTree.fromstring(make_training_curve.draw(PALETTES["dark"], train, val, identity))
    assert {"validation loss", "0.5", "20"} <= {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}


def test_a_history_without_losses_is_refused(tmp_path):
    (tmp_path / "history.jsonl").write_text('{"kind": "eval", "step": 1}\n')
    with pytest.raises(ValueError, match="holds no losses"):
        make_training_curve.read_losses(tmp_path / "history.jsonl")


@pytest.mark.parametrize("highest, ticks", [(1.05, [0, 0.5, 1.0]), (0.79, [0, 0.2, 0.4, 0.6]), (3105, [0, 1000, 2000, 3000])])
def test_ticks_are_round(highest, ticks):
    assert make_training_curve.nice_ticks(highest) == pytest.approx(ticks)
