"""The README's pictures: drawn from the settings as they are, and from what the network gives."""
from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from engine.enhancement import enhance
from exp_config import Config
from img import make_architecture, make_figures, make_samples
from models import HVR


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_drawing_in_the_project_is_up_to_date(theme):
    drawn = make_architecture.draw(make_architecture.PALETTES[theme], Config())
    assert (make_architecture.FOLDER / make_architecture.NAMES[theme]).read_text(encoding="utf-8") == drawn


def texts(**settings) -> list[str]:
    drawn = make_architecture.draw(make_architecture.PALETTES["light"], Config(**settings))
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


def test_darkening_takes_stops_of_light(make_photo):
    photo = np.full((64, 64, 3), 200, np.uint8)
    dark = make_samples.darken(photo, 4.0, np.random.default_rng(0))
    light, before = (make_samples.to_linear(p / 255.0).mean() for p in (dark, photo))
    assert light == pytest.approx(before / 16, rel=0.05)
    assert dark.std() > 1, "noise of photons and read-out"
