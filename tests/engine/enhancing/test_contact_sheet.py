"""The contact sheet: every picture of a job on one page."""
from __future__ import annotations

import numpy as np
import pytest

from data.files.images import Photo, write_photo
from engine.enhancing.contact_sheet import contact_sheet


@pytest.mark.parametrize("count", [1, 7, 20])
def test_contact_sheet_shows_every_picture(tmp_path, count):
    """Each picture has a colour of its own that is found on the sheet; an unreadable file leaves its cell empty."""
    pictures = []
    for i in range(count):
        colour = (255, 10 + 6 * i, 255 - 6 * i)
        write_photo(tmp_path / f"{i}.png", Photo(np.full((30, 40, 3), colour, np.uint8)))
        pictures.append((f"{i}.png", tmp_path / f"{i}.png"))
    (tmp_path / "bad.png").write_bytes(b"bad")
    sheet = contact_sheet([*pictures, ("写真/bad.png", tmp_path / "bad.png")], 1.0)
    colours = set(map(tuple, sheet.pixels[::3, ::3].reshape(-1, 3).tolist()))
    assert {(255, 10 + 6 * i, 255 - 6 * i) for i in range(count)} <= colours
    assert sheet.pixels.shape[0] * sheet.pixels.shape[1] < 61e6


def test_contact_sheet_of_many_photos_stays_small(tmp_path, monkeypatch):
    monkeypatch.setattr("engine.enhancing.contact_sheet.SHEET_PIXELS", 1e6)
    sheet = contact_sheet([(str(i), tmp_path / "none.png") for i in range(60)], 1.0, pairs=True)
    assert 0.5e6 < sheet.pixels.shape[0] * sheet.pixels.shape[1] < 2e6  # captions do not shrink
