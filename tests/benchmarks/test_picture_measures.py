"""What the benchmarks measure of pictures: bright and dark parts, hue; and their tables, end to end."""
from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from benchmarks import colour, uneven_light
from benchmarks.colour import SECTORS, hue_errors, hue_table
from benchmarks.spaces import SPACES, of_one_scene
from benchmarks.uneven_light import light_measures, mean, shrunk


def gray(*levels):
    return np.array(levels, np.uint8)[None, :, None].repeat(3, axis=2)


def test_bright_and_dark_parts_are_those_of_the_input():
    measured = light_measures(gray(255, 102, 51, 204), gray(204, 153, 0, 25))
    assert measured["bright"] == pytest.approx((0.2 - 0.2) / 2, abs=1e-9)
    assert measured["dark"] == pytest.approx((0.2 + 0.8) / 2, abs=1e-9)
    assert measured["blown"] == 25.0
    assert measured["bright_share"] == 0.5
    nothing = light_measures(gray(255), gray(100))
    assert math.isnan(nothing["bright"]) and math.isnan(nothing["dark"]) and nothing["blown"] == 100.0


def test_bright_pixels_count_alike_and_photos_without_any_do_not():
    photos = [{"bright": 0.1, "bright_share": 0.5, "dark": 0.2, "pixels": 100},
              {"bright": 0.4, "bright_share": 0.1, "dark": 0.4, "pixels": 100},
              {"bright": math.nan, "bright_share": 0.0, "dark": math.nan, "pixels": 300}]
    assert mean(photos, "bright") == pytest.approx((50 * 0.1 + 10 * 0.4) / 60)
    assert mean(photos, "dark") == pytest.approx(0.3) and math.isnan(mean(photos[2:], "dark"))


def test_shrunk_keeps_small_photos_and_proportions(make_photo):
    photo = make_photo(80, 120)
    assert shrunk(photo, None) is photo and shrunk(photo, 0.01) is photo
    assert shrunk(photo, 0.0024).shape == (40, 60, 3)
    assert shrunk(photo, 0.0024).mean() == pytest.approx(photo.mean(), abs=0.5)


def test_hue_errors_by_sector():
    """CIELAB hues of sRGB (CIE 15): red 40.0 degrees, yellow 102.9, green 136.0, blue 306.3; gray does not count."""
    red, yellow, green, blue, grey = (255, 0, 0), (255, 255, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128)
    reference = np.array([[red, yellow, green, blue, grey]], np.uint8)
    assert (hue_errors(reference, reference)[:, 1:] == 0).all()
    sums = hue_errors(np.array([[yellow, red, green, red, red]], np.uint8), reference)
    assert sums[:, 0].tolist() == [1, 1, 1, 0, 0, 1] and len(SECTORS) == 6
    np.testing.assert_allclose(sums[:, 1], [62.85, -62.85, 0, 0, 0, 93.7], atol=0.2)
    np.testing.assert_allclose(sums[:, 2], [62.85, 62.85, 0, 0, 0, 93.7], atol=0.2)
    rows = hue_table([sums, 2 * sums]).splitlines()
    assert len(rows) == 2 + len(SECTORS) and rows[2] == f"| {SECTORS[0]} | 25.0 % | 62.8 (+62.8) | 62.8 (+62.8) |"
    assert rows[5] == f"| {SECTORS[3]} | 0.0 % |  |  |"


@pytest.mark.parametrize(("benchmark", "options", "wanted"), [
    (uneven_light, ["--input", "low", "--megapixels", "0.001"], "bright | dark | blown | loe |"),
    (colour, ["--low", "low", "--high", "high", "--steps", "1"], "| hue of the reference |")])
def test_the_tables_are_printed_for_a_folder(benchmark, options, wanted, tmp_path, make_photo, monkeypatch, capsys):
    for folder in ("low", "high"):
        (tmp_path / folder).mkdir()
        Image.fromarray(make_photo(40, 48) // (8 if folder == "low" else 1)).save(tmp_path / folder / "1.png")
    monkeypatch.chdir(tmp_path)
    benchmark.main([*options, "--device", "cpu"])
    printed = capsys.readouterr().out
    assert wanted in printed and "nan" not in printed


def test_a_scene_in_four_spaces_that_nothing_is_done_to(make_photo):
    """What is left is the rounding of the files: none of 16 bits, most of 8 bits where the space is widest."""
    scene = make_photo(24, 32).astype(np.uint16) * 200 + 77
    found = of_one_scene(scene, lambda pixels: pixels)
    assert {space for space, _ in found} == set(SPACES)
    for space in SPACES:
        assert found[space, "16 bits"][1] < 0.1 < found[space, "8 bits"][1] < 3
        assert found[space, "8 bits"] == pytest.approx(found[space, "8 bits, file alone"], abs=0.02)
    assert max(found, key=lambda key: found[key][0])[0] == "ProPhoto RGB"
