"""Photo files that people have, each made after its kind (tests/data/files/cases): read, and written again without a change.

The means are those of an independent decoder, or of the array that a file was made of.
"""
from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.files.images import Photo, PhotoError, decode_photo, read_photo, write_photo
from data.files.kinds import FORMATS
from data.pairs.decoding import PhotoFile

CASES = Path(__file__).parent / "cases"
NIGHT, DEEP_NIGHT = (40.55, 19.18, 10.33), (10421.3, 4928.7, 2655.4)
RIGHT = {
    "bmp32_v5_alpha_mask_all_zero.bmp": NIGHT, "tif12_gray_packed.tif": (4922.3,) * 3,
    "tif16_rgbi_unspecified.tif": DEEP_NIGHT, "tif_thumbnail_ifd0_subifd_full.tif": NIGHT,
    "webp_lossless_icc_exif.webp": NIGHT, "jpg_exif_90KB_two_segments.jpg": (40.51, 19.17, 10.34), "png_zTXt_3MB.png": NIGHT,
    "jpg_no_eoi.jpg": (40.51, 19.17, 10.34), "png_text_bad_crc.png": NIGHT, "photo.jfif": (40.51, 19.17, 10.34),
    "jpg_xmp_iptc_rating_keywords.jpg": (40.54, 19.18, 10.47), "tif16_zstd.tif": DEEP_NIGHT, "tif16_planar.tif": DEEP_NIGHT,
    "tif_gdal_mask.tif": (40.7, 19.3, 10.4), "jpg_exif_no_next_ifd_orient6.jpg": (40.51, 19.17, 10.34),
    "png_cICP_P3.png": NIGHT, "png_gAMA_linear.png": NIGHT, "png_gray2bit_trns.png": (2.36,) * 3,
}
TRANSPARENT = {"png_gray2bit_trns.png": 247.9}


def own_means(photo: Photo) -> np.ndarray:
    values = photo.pixels if photo.own_pixels is None else photo.own_pixels
    return values.reshape(-1, values.shape[2]).mean(0) * np.ones(3)


@pytest.mark.parametrize("name", sorted(RIGHT))
def test_the_picture_is_right(name, tmp_path):
    """As it is read, as its file in its own format is read again, and as training reads it."""
    photo = read_photo(CASES / name)
    close = 60 if photo.pixels.dtype == np.uint16 else 0.3
    np.testing.assert_allclose(own_means(photo), RIGHT[name], atol=close)
    write_photo(tmp_path / name, photo)
    again = read_photo(tmp_path / name)
    lossless = FORMATS[Path(name).suffix] not in ("JPEG", "WEBP") or photo.lossless
    np.testing.assert_allclose(own_means(again), RIGHT[name], atol=close if lossless else 0.6)
    assert again.pixels.dtype == photo.pixels.dtype and again.lossless == photo.lossless and again.gray == photo.gray
    for read in (photo, again):
        assert (read.alpha is not None) == (name in TRANSPARENT)
        assert read.alpha is None or abs(read.alpha.mean() - TRANSPARENT[name]) < 0.3
    if name not in ("png_cICP_P3.png", "png_gAMA_linear.png"):
        eight_bit = 257 if photo.pixels.dtype == np.uint16 else 1
        means = PhotoFile(CASES / name).pixels().reshape(-1, 3).mean(0)
        np.testing.assert_allclose(means, np.divide(RIGHT[name], eight_bit), atol=0.6)


def test_an_infrared_channel_is_not_mixed_with_white(tmp_path):
    write_photo(tmp_path / "a.jpg", read_photo(CASES / "tif16_rgbi_unspecified.tif"))
    np.testing.assert_allclose(own_means(read_photo(tmp_path / "a.jpg")), np.divide(DEEP_NIGHT, 257), atol=0.6)


def test_upright_with_its_maker(tmp_path):
    photo = read_photo(CASES / "jpg_exif_no_next_ifd_orient6.jpg")
    assert photo.pixels.shape == (240, 160, 3)
    for suffix in (".jpg", ".png", ".tif", ".webp", ".heic", ".avif"):
        write_photo(tmp_path / f"a{suffix}", photo)
        assert b"Abc" in (tmp_path / f"a{suffix}").read_bytes()


def test_exif_of_two_segments(tmp_path, caplog):
    """Maker and position stay; the notes of 90 kB stay where they fit, and where not, that is told."""
    photo = read_photo(CASES / "jpg_exif_90KB_two_segments.jpg")
    for suffix, kept in ((".tif", True), (".png", False), (".webp", False), (".jpg", False)):
        with caplog.at_level(logging.WARNING):
            caplog.clear()
            write_photo(tmp_path / f"a{suffix}", photo)
        with Image.open(tmp_path / f"a{suffix}") as image:
            exif = image.getexif()
            assert exif[0x010F] == "Maker" and exif.get_ifd(0x8825)[1] == "N"
            assert (0x927C in exif.get_ifd(0x8769)) == kept
        told = [record.getMessage() for record in caplog.records]
        assert not told if kept else f"90 kB does not fit into a {FORMATS[suffix]} file: the maker's own notes" in told[0]


def test_rating_keywords_and_captions_are_kept(tmp_path):
    photo = read_photo(CASES / "jpg_xmp_iptc_rating_keywords.jpg")
    for suffix in (".jpg", ".tif", ".png", ".webp", ".avif", ".heic"):
        write_photo(tmp_path / f"a{suffix}", photo)
        written, again = (tmp_path / f"a{suffix}").read_bytes(), read_photo(tmp_path / f"a{suffix}")
        assert again.xmp is not None and b"night" in again.xmp and b"Rating" in again.xmp
        if suffix in (".jpg", ".tif"):
            assert again.iptc == photo.iptc and b"\x1c\x02\x78\x00\x03cap" in written


def test_what_is_no_whole_heic_is_said_to_be_that():
    with pytest.raises(PhotoError, match="a HEIC file; damaged: the file is incomplete"):
        read_photo(CASES / "heic_named.jpg")


def test_lines_that_a_jpeg_lacks_are_noticed():
    data = (CASES / "jpg_no_eoi.jpg").read_bytes()
    for cut in (6, 60, 600, len(data) // 2):
        with pytest.raises(PhotoError, match="incomplete"):
            decode_photo(data[:-cut])
