"""Kinds of files: palettes, inks, Lab, alpha of either kind, pictures behind the first one."""
from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from data.files.images import PhotoError, decode_photo, read_photo
from tests.data.files.written import png_chunk, saved, tiff


def test_palette_keeps_its_colours_and_transparency(pixels):
    image = Image.fromarray(pixels).quantize(16)
    wanted = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(decode_photo(saved(image, "PNG")).pixels, wanted)
    photo = decode_photo(saved(image, "PNG", transparency=3))
    np.testing.assert_array_equal(photo.alpha == 0, np.asarray(image) == 3)
    np.testing.assert_array_equal(photo.pixels, wanted)


def test_one_bit_picture_is_gray(pixels):
    photo = decode_photo(saved(Image.fromarray(pixels).convert("1"), "PNG"))
    assert photo.gray and set(np.unique(photo.pixels)) == {0, 255}


def test_cmyk_jpeg_becomes_rgb_close_to_its_source(pixels):
    image = Image.fromarray(pixels).resize((64, 64))
    for options in ({}, {"icc_profile": b"not a profile"}):
        photo = decode_photo(saved(image.convert("CMYK"), "JPEG", quality=95, subsampling=0, **options))
        assert np.abs(photo.pixels.astype(int) - np.asarray(image)).mean() < 3
        assert photo.icc_profile is None and not photo.gray


def test_lab_tiff_becomes_rgb(pixels):
    srgb, lab_space = (ImageCms.createProfile(name) for name in ("sRGB", "LAB"))
    lab = ImageCms.profileToProfile(Image.fromarray(pixels), srgb, lab_space, outputMode="LAB")
    assert np.abs(decode_photo(saved(lab, "TIFF")).pixels.astype(int) - pixels).mean() < 4


def test_colour_multiplied_by_alpha_is_divided_again(deep, alpha):
    opacity = np.maximum(alpha, 64).astype(np.uint16) * 257
    multiplied = np.round(deep * (opacity[..., None] / 65535)).astype(np.uint16)
    photo = decode_photo(tiff(np.dstack([multiplied, opacity]), photometric="rgb", extrasamples=["assocalpha"]))
    assert np.abs(photo.pixels.astype(int) - deep).max() <= 4  # 16 bits, of which alpha took up to two
    np.testing.assert_array_equal(photo.alpha, opacity)


def test_white_is_zero_tiff_of_sixteen_bits(deep):
    photo = decode_photo(tiff(deep[..., 0], photometric="miniswhite"))
    np.testing.assert_array_equal(photo.pixels[..., 0], 65535 - deep[..., 0])


def test_gray_with_alpha_of_sixteen_bits_in_png(deep, alpha):
    """Made by hand (PNG 1.2, colour type 4)."""
    rows = np.dstack([deep[..., 0], alpha.astype(np.uint16) * 257]).astype(">u2")
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    data = b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in (
        (b"IHDR", struct.pack(">LLBBBBB", 31, 20, 16, 4, 0, 0, 0)), (b"IDAT", zlib.compress(raw)), (b"IEND", b"")))
    photo = decode_photo(data)
    assert photo.gray
    np.testing.assert_array_equal(photo.pixels[..., 1], deep[..., 0])
    np.testing.assert_array_equal(photo.alpha, alpha.astype(np.uint16) * 257)


def test_a_gray_value_that_stands_for_nothing_in_a_png_of_sixteen_bits():
    values = np.arange(600, dtype=np.uint16).reshape(20, 30) * 100
    photo = decode_photo(saved(Image.fromarray(values), "PNG", transparency=4200))
    np.testing.assert_array_equal(photo.alpha == 0, values == 4200)
    np.testing.assert_array_equal(photo.pixels[..., 0], values)


def test_jpeg_with_a_second_picture_is_a_photo(pixels):
    """Phones append a gain map or a preview (MPO): the first picture counts."""
    first = Image.fromarray(pixels)
    photo = decode_photo(saved(first, "MPO", save_all=True, append_images=[first.resize((8, 8))]))
    assert photo.pixels.shape == pixels.shape


def test_a_film_behind_a_progressive_jpeg_does_no_harm(pixels):
    """Motion photos. Any two bytes stand in a film, those of a scan's start too."""
    plain = saved(Image.fromarray(pixels), "JPEG", progressive=True)
    for film in (b"\0\0\0\x18ftypmp42\xff\xd9..\xff\xda...", b"\xff\xda" * 9):
        np.testing.assert_array_equal(decode_photo(plain + film).pixels, decode_photo(plain).pixels)
        with pytest.raises(PhotoError, match="incomplete"):
            decode_photo(plain[:-40])


def test_tiff_with_a_thumbnail_page_is_a_photo_and_with_two_pages_is_not(pixels):
    first = Image.fromarray(pixels)
    small = first.resize((8, 8))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    assert decode_photo(saved(first, "TIFF", save_all=True, append_images=[small])).pixels.shape == pixels.shape
    with pytest.raises(PhotoError, match="2 pages"):
        decode_photo(saved(first, "TIFF", save_all=True, append_images=[first]))


def test_content_decides_not_the_name(tmp_path, pixels):
    (tmp_path / "p.jpg").write_bytes(saved(Image.fromarray(pixels), "PNG"))
    np.testing.assert_array_equal(read_photo(tmp_path / "p.jpg").pixels, pixels)
