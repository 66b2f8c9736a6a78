"""Small photo files that independent tools made (make_files.py), against what independent decoders see in them."""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from data.files.images import PHOTO_SUFFIXES, read_photo, write_photo
from data.files.kinds import result_suffix
from data.pairs.decoding import PhotoFile

MADE = Path(__file__).parent / "made"
SEEN: dict[str, list] = json.loads((MADE / "made.json").read_text())
BLOCK = 16
LOSSY = ("jpg", "heic", "avif", "webp_lossy", "jxl_lossy", "tif_jpeg")
CMYK = ("jpg_cmyk.jpg", "tif_cmyk.tif")  # two plain formulas may differ a little


def blocks(values: np.ndarray) -> np.ndarray:
    """(h, w, channels): means of blocks of 16x16 pixels."""
    height, width, count = values.shape
    return values.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK, count).mean(axis=(1, 3))


@pytest.mark.parametrize("name", sorted(SEEN))
def test_an_independent_decoder_sees_the_same(name, tmp_path):
    photo = read_photo(MADE / name)
    top = 65535 if photo.pixels.dtype == np.uint16 else 255
    deep = any(part in name for part in ("16", "10bit", "12bit"))
    assert (top == 65535) == deep and (photo.alpha is not None) == any(part in name for part in ("alpha", "rgba"))
    seen = np.array(SEEN[name]) / 65535
    close = 0.02 if name in CMYK else 0.004 if name.startswith(LOSSY) or not deep else 0.0002
    colours = photo.pixels if photo.own_pixels is None else np.broadcast_to(photo.own_pixels, photo.pixels.shape)
    np.testing.assert_allclose(blocks(colours) / top, seen[..., :3], atol=close)
    if photo.alpha is not None:
        np.testing.assert_allclose(blocks(photo.alpha[..., None])[..., 0] / top, seen[..., 3], atol=close)
    write_photo(tmp_path / f"a{result_suffix(Path(name).suffix)}", photo)
    again = read_photo(tmp_path / f"a{result_suffix(Path(name).suffix)}")
    assert again.pixels.shape == photo.pixels.shape and again.pixels.dtype == photo.pixels.dtype
    np.testing.assert_allclose(blocks(again.pixels) / top, blocks(photo.pixels) / top, atol=0.004)
    pixels = PhotoFile(MADE / name).pixels()
    assert pixels.dtype == np.uint8
    np.testing.assert_allclose(blocks(pixels) / 255, blocks(photo.pixels) / top, atol=0.02 if name in CMYK else 0.006)


def test_there_are_forty_of_them_half_deep_or_with_alpha():
    special = [name for name in SEEN if any(part in name for part in ("16", "10bit", "12bit", "alpha", "rgba"))]
    assert len(SEEN) >= 40 and len(special) >= len(SEEN) / 2
    assert {Path(name).suffix for name in SEEN} <= set(PHOTO_SUFFIXES)
