"""Raw files of cameras: a DNG with known colours, made here after the DNG 1.4 specification."""
from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from data.files.images import PhotoError, decode_photo, write_photo
from engine.enhancing.job_plan import plan_job

XYZ_TO_SRGB = ((3.2404542, -1.5371385, -0.4985314), (-0.9692660, 1.8760108, 0.0415560), (0.0556434, -0.2040259, 1.0572252))
NEUTRAL = np.array([0.5, 1.0, 0.625])      # what a grey surface gives on this sensor
PATCHES = np.array([[(0.5, 0.5, 0.5), (0.02, 0.02, 0.02), (0.3, 0.1, 0.05)],
                    [(0.05, 0.2, 0.4), (0.9, 0.9, 0.9), (0.1, 0.3, 0.1)]])
SIZE, BLACK, WHITE = 32, 512, 15360


def dng(orientation: int = 1, **changed) -> bytes:
    """PATCHES (linear sRGB) on a Bayer sensor whose colours are those of sRGB before white balance."""
    light = np.kron(PATCHES, np.ones((SIZE, SIZE, 1))) * NEUTRAL
    mosaic = np.empty(light.shape[:2])
    for row, column, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        mosaic[row::2, column::2] = light[row::2, column::2, channel]
    matrix = [part for row in XYZ_TO_SRGB for value in row for part in (round(value * 1e6), 1000000)]
    tags = {"orientation": (274, 3, 1, orientation), "make": (271, 2, 6, "Maker"), "model": (272, 2, 6, "Model"),
            "pattern size": (33421, 3, 2, (2, 2)), "pattern": (33422, 1, 4, bytes((0, 1, 1, 2))),
            "version": (50706, 1, 4, bytes((1, 4, 0, 0))), "name": (50708, 2, 12, "Maker Model"),
            "black": (50714, 3, 1, BLACK), "white": (50717, 3, 1, WHITE), "matrix": (50721, 10, 9, matrix),
            "neutral": (50728, 5, 3, [part for value in NEUTRAL for part in (round(value * 1000), 1000)]),
            "light": (50778, 3, 1, 21)} | changed
    file = io.BytesIO()
    tifffile.imwrite(file, np.round(mosaic * (WHITE - BLACK) + BLACK).astype(np.uint16), photometric=32803, metadata=None,
                     software=False, extratags=[(*tag, True) for tag in tags.values() if tag])
    return file.getvalue()


def with_preview(raw: bytes) -> bytes:
    """The sensor's picture of a DNG below a JPEG preview, as cameras write it."""
    with tifffile.TiffFile(io.BytesIO(raw)) as file:
        sensor = file.pages[0].asarray()
        entries = [(tag.code, tag.dtype, tag.count, tag.value, True) for tag in file.pages[0].tags
                   if tag.code in (271, 272) or tag.code > 33000]
    levels = [entry for entry in entries if entry[0] in (33421, 33422, 50714, 50717)]
    camera = [entry for entry in entries if entry not in levels]
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as written:
        written.write(np.full((48, 64, 3), 90, np.uint8), photometric="ycbcr", compression="jpeg", rowsperstrip=48,
                      subfiletype=1, subifds=1, metadata=None, software=False, datetime="2026:11:29 05:14:00", extratags=camera)
        written.write(sensor, photometric=32803, metadata=None, extratags=levels)
    return file.getvalue()


def middles(pixels: np.ndarray) -> np.ndarray:
    """(2, 3, 3): the mean of each patch, away from its edges."""
    blocks = pixels.reshape(2, SIZE, 3, SIZE, 3)[:, 8:-8, :, 8:-8]
    return blocks.mean(axis=(1, 3))


def test_known_colours():
    """White balance and matrix give back linear sRGB; no brightening; sRGB's curve."""
    photo = decode_photo(dng())
    assert photo.pixels.dtype == np.uint16 and photo.icc_profile is None and photo.own_pixels is None
    wanted = np.where(PATCHES <= 0.0031308, PATCHES * 12.92, 1.055 * PATCHES ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(middles(photo.pixels) / 65535, wanted, atol=0.006)
    assert b"Maker" in photo.exif


def test_exif_of_a_file_unlike_tiff_comes_from_its_preview(monkeypatch):
    """As of CR3 and RAF: maker, model and date; nothing that LibRaw does not know."""
    data = with_preview(dng())
    monkeypatch.setattr("data.files.raw.exif_of_tiff", lambda _: None)
    exif = Image.Exif()
    exif.load(decode_photo(data).exif)
    assert (exif[0x010F], exif[0x0110], exif[0x0132]) == ("Maker", "Model", "2026:11:29 05:14:00")
    assert 0x829A not in exif.get_ifd(0x8769) and 0x8827 not in exif.get_ifd(0x8769)
    assert decode_photo(dng()).exif is None  # without a preview


@pytest.mark.parametrize(("orientation", "turned"), [(3, lambda a: a[::-1, ::-1]), (6, lambda a: np.rot90(a, -1))])
def test_it_comes_upright(orientation, turned):
    plain, photo = decode_photo(dng()), decode_photo(dng(orientation))
    np.testing.assert_allclose(photo.pixels, turned(plain.pixels), atol=700)  # interpolation starts at another corner


def test_results_are_sixteen_bit_tiff_beside_a_tiff_of_the_same_name(tmp_path):
    for name in ("a.dng", "b.NEF", "b.tif", "c.cr2", "c.jpg", "d.heic", "e.jp2"):
        (tmp_path / name).write_bytes(b"x")
    plan = plan_job(tmp_path, tmp_path.parent / "out")
    assert {task.source.name: task.output.name for task in plan.tasks} == {
        "a.dng": "a.tif", "b.NEF": "b.NEF.tif", "b.tif": "b.tif", "c.cr2": "c.tif", "c.jpg": "c.jpg", "d.heic": "d.heic",
        "e.jp2": "e.png"}
    plan = plan_job(tmp_path / "a.dng", tmp_path.parent / "out", output_format="jpg")
    assert plan.tasks[0].output.name == "a.jpg"
    for name in ("b.tif", "d.heic"):
        (tmp_path / name).unlink()
    names = {task.output.name for task in plan_job(tmp_path, tmp_path.parent / "out", output_format="jpg").tasks}
    assert names == {"a.jpg", "b.jpg", "c.cr2.jpg", "c.jpg", "e.jpg"}  # of a camera that writes both
    write_photo(tmp_path / "result.tif", decode_photo(dng()))
    with tifffile.TiffFile(tmp_path / "result.tif") as file:
        assert file.pages[0].dtype == np.uint16


def test_raw_files_that_cannot_be_developed_are_named():
    whole = dng()
    with pytest.raises(PhotoError, match="96x64 is 0.006144 megapixels; the limit is 0.001"):
        decode_photo(whole, max_megapixels=0.001)
    for data in (b"FUJIFILMCCD-RAW 0201FF000000unknown" + bytes(5000), b"IIU\0\x08\0\0\0" + bytes(5000),
                 b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(5000)):
        with pytest.raises(PhotoError, match="a camera's raw file .*LibRaw"):
            decode_photo(data)
    for missing in (len(whole) // 2, 4000):
        with pytest.raises(PhotoError, match="damaged: the file is incomplete"):
            decode_photo(whole[:-missing])
