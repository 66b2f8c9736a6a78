"""A folder of many kinds of files: what each comes out as, and bad ones among them."""
from __future__ import annotations

import logging
import re

import numpy as np
import pytest

from data.files.encoding import encode
from data.files.images import Photo, read_photo, write_photo
from engine.enhancing.folder_job import run_job
from engine.enhancing.job_plan import plan_job


def brighten(pixels: np.ndarray) -> np.ndarray:
    return np.maximum(pixels, np.iinfo(pixels.dtype).max // 4)


def test_bad_files_are_named_with_their_reason_and_the_rest_goes_on(tmp_path, make_photo, caplog):
    folder, photo = tmp_path / "in", Photo(make_photo(20, 30))
    folder.mkdir()
    bad = {"cut.heic": (encode(photo, ".heic")[:-90], "a HEIC file; damaged: the file is incomplete"),
           "cut.avif": (encode(photo, ".avif")[:-90], "the file is incomplete"),
           "cut.jxl": (b"\xff\x0a\x41\0\0", "damaged"),
           "unknown.raf": (b"FUJIFILMCCD-RAW 0201FF000000X-Unknown" + bytes(4000), "a camera's raw file .*LibRaw"),
           "text.nef": (b"not a raw file at all", "it is a text file; read are PNG"),
           "large.heic": (encode(Photo(np.zeros((400, 500, 3), np.uint8)), ".heic"), "500x400 is 0.2 megapixels; the limit")}
    for name, (data, _) in bad.items():
        (folder / name).write_bytes(data)
    for name in ("a.heic", "b.avif", "c.jfif", "d.tiff"):
        write_photo(folder / name, photo)
    (folder / "e.tif").write_bytes(encode(Photo(photo.pixels, icc_profile=b"\0" * 16 + b"RGB XYZ " + bytes(400)), ".tif"))
    (folder / "f.HEIC").write_bytes(encode(photo, ".jpg"))  # phones and chat programs rename so
    with caplog.at_level(logging.WARNING):
        summary = run_job(plan_job(folder, tmp_path / "out"), brighten, max_megapixels=0.1)
    reasons = {path.name: reason for path, reason in summary.failed}
    assert set(reasons) == set(bad) and summary.written == 6
    for name, (_, said) in bad.items():
        assert re.search(said, reasons[name]), reasons[name]
    assert "e.tif: its colour profile is damaged or of an unknown kind; its colours are taken for sRGB" in caplog.text
    for name in ("a.heic", "b.avif", "c.jfif", "d.tiff", "e.tif", "f.HEIC"):
        assert read_photo(tmp_path / "out" / name).pixels.min() > 50


@pytest.mark.parametrize("output_format", ["heic", "avif", "webp", "jpg"])
def test_format_and_quality_of_all_results(tmp_path, make_photo, output_format):
    folder = tmp_path / "in"
    for name in ("a.png", "b.tif"):
        write_photo(folder / name, Photo(np.kron(make_photo(12, 16), np.ones((8, 8, 1), np.uint8))))
    sizes = []
    for quality in (20, None):
        out = tmp_path / f"out{quality}"
        assert run_job(plan_job(folder, out, output_format=output_format, quality=quality, compare=True), brighten).written == 2
        assert sorted(path.name for path in out.iterdir()) == [f"a.{output_format}", f"b.{output_format}", "compare"]
        assert read_photo(out / f"compare/a.{output_format}").pixels.shape == (96, 256, 3)
        sizes.append((out / f"a.{output_format}").stat().st_size)
    assert sizes[0] < sizes[1] * 0.8
