"""Photo files of every kind become upright 8-bit RGB; broken ones are named."""
from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from data.pairs.decoding import BrokenPhotoError, PhotoFile


@pytest.fixture
def photo(make_photo):
    return cv2.resize(make_photo(20, 30, 2), (120, 80), interpolation=cv2.INTER_CUBIC)  # (80, 120, 3), smooth


def decode(path):
    file = PhotoFile(path)
    pixels = file.pixels()
    assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.flags.c_contiguous
    assert file.size == pixels.shape[:2]
    return pixels


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp"])
def test_lossless_files_come_back_exactly(photo, tmp_path, suffix):
    Image.fromarray(photo).save(tmp_path / f"a.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(decode(tmp_path / f"a.{suffix}"), photo)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_jpeg_files_are_close(photo, tmp_path, options):
    Image.fromarray(photo).save(tmp_path / "a.jpg", quality=95, **options)
    np.testing.assert_array_equal(decode(tmp_path / "a.jpg"), np.asarray(Image.open(tmp_path / "a.jpg")))


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_grey_files_become_rgb(photo, tmp_path, suffix):
    Image.fromarray(photo).convert("L").save(tmp_path / f"a.{suffix}")
    pixels = decode(tmp_path / f"a.{suffix}")
    assert (pixels == pixels[:, :, :1]).all() and pixels.std() > 10


def test_cmyk_jpeg_files_become_rgb(photo, tmp_path):
    Image.fromarray(photo).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert np.abs(decode(tmp_path / "a.jpg").astype(int) - photo).mean() < 4


def test_16_bit_and_transparent_files_become_8_bit_rgb(photo, tmp_path):
    cv2.imwrite(str(tmp_path / "deep.png"), photo[:, :, ::-1].astype(np.uint16) * 257)
    np.testing.assert_array_equal(decode(tmp_path / "deep.png"), photo)
    Image.fromarray(np.dstack([photo, np.full(photo.shape[:2], 200, np.uint8)])).save(tmp_path / "alpha.png")
    np.testing.assert_array_equal(decode(tmp_path / "alpha.png"), photo)


@pytest.mark.parametrize("orientation, upright", [(3, lambda a: a[::-1, ::-1]), (6, lambda a: np.rot90(a, -1)),
                                                  (8, lambda a: np.rot90(a, 1))])
def test_photos_are_turned_upright(photo, tmp_path, orientation, upright):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(photo).save(tmp_path / "a.jpg", quality=95, subsampling=0, exif=exif)
    assert np.abs(decode(tmp_path / "a.jpg").astype(int) - upright(photo)).mean() < 2


@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_a_large_file_is_decoded_smaller_upright(make_photo, tmp_path, reduction):
    smooth = cv2.resize(make_photo(60, 80, 6), (703, 501), interpolation=cv2.INTER_CUBIC)
    grain = np.random.default_rng(0).normal(0, 12, smooth.shape)
    pixels = np.clip(smooth + grain, 0, 255).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95, exif=exif)
    file = PhotoFile(tmp_path / "a.jpg")
    assert file.is_reducible and file.size == (703, 501)
    assert file.pixels(reduction).shape == (-(-703 // reduction), -(-501 // reduction), 3)
    assert file.pixels().shape == (703, 501, 3)
    small = cv2.resize(file.pixels(), file.pixels(reduction).shape[1::-1], interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(file.pixels(reduction) - small).mean() < 6


def broken_files():
    noise = np.random.default_rng(0).integers(0, 256, (400, 500, 3), dtype=np.uint8)
    small = cv2.imencode(".jpg", noise[:80, :80])[1].tobytes()
    large = cv2.imencode(".jpg", noise)[1].tobytes()
    png = cv2.imencode(".png", noise[:80, :80])[1].tobytes()
    assert len(large) > 200_000 > len(small)
    with_thumbnail = small[:2] + b"\xff\xe1" + (len(small) + 2).to_bytes(2, "big") + small + small[2:]
    return {"cut.jpg": small[: len(small) // 2], "cut_large.jpg": large[: len(large) * 3 // 4],
            "cut_after_thumbnail.jpg": with_thumbnail[:-100], "start.jpg": small[:20],
            "start_large.jpg": small[:20] + bytes(300_000), "cut.png": png[: len(png) // 2], "empty.jpg": b"",
            "text.jpg": b"no picture"}


@pytest.mark.parametrize("name", list(broken_files()))
def test_broken_files_are_named(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(broken_files()[name])
    with pytest.raises(BrokenPhotoError, match=name) as error:
        file = PhotoFile(path)
        file.pixels(2 if file.is_reducible else 1)
    assert ".cpp" not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BrokenPhotoError, match="gone.jpg cannot be read: No such file"):
        PhotoFile(tmp_path / "gone.jpg")
