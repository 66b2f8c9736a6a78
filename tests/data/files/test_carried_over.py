"""What is carried over to the result: profile, EXIF, resolution, alpha, gray, losslessness."""
from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from data.files.encoding import encode
from data.files.images import Photo, decode_photo, read_photo, side_by_side, write_photo
from tests.data.files.written import SRGB, exif_block, saved


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
def test_profile_exif_and_resolution_are_carried_over(tmp_path, pixels, suffix):
    source = saved(Image.fromarray(pixels), "JPEG", icc_profile=SRGB, exif=exif_block(1), dpi=(240, 240))
    write_photo(tmp_path / f"p{suffix}", decode_photo(source))
    back = read_photo(tmp_path / f"p{suffix}")
    assert back.icc_profile == SRGB
    exif = Image.Exif()
    exif.load(back.exif)
    assert exif[0x8298] == "me" and exif.get_ifd(0x8769)[0x829A] == 0.5 and exif.get_ifd(0x8825)[2] == (48, 8, 14)
    if suffix != ".webp":
        assert back.dpi == pytest.approx((240, 240), abs=0.1)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".heic", ".avif"])
def test_exif_loses_its_thumbnail_and_damaged_exif_is_dropped(tmp_path, pixels, suffix):
    """The thumbnail's directory follows the first one; it shows the dark photo."""
    small = saved(Image.fromarray(pixels[:8, :8]), "JPEG")
    block = exif_block(6)
    endian = "<" if block[6:8] == b"II" else ">"
    at = 6 + 8 + 2 + 12 * struct.unpack_from(endian + "H", block, 6 + 8)[0]  # where it is pointed to
    second = struct.pack(endian + "H", 2) + b"".join(struct.pack(endian + "HHLL", tag, 4, 1, value) for tag, value in (
        (0x0201, len(block) - 6 + 30), (0x0202, len(small)))) + bytes(4)
    block = block[:at] + struct.pack(endian + "L", len(block) - 6) + block[at + 4 :] + second + small
    assert small in block
    write_photo(tmp_path / f"p{suffix}", decode_photo(saved(Image.fromarray(pixels), "JPEG", exif=block)))
    written = (tmp_path / f"p{suffix}").read_bytes()
    assert small[2:40] not in written and b"Model" in written
    photo = decode_photo(saved(Image.fromarray(pixels), "JPEG", exif=block[:30]))
    assert photo.pixels.shape == pixels.shape
    assert decode_photo(encode(photo, suffix)).pixels.shape == pixels.shape


def test_webp_stays_lossless_and_keeps_colour_under_full_transparency(pixels):
    clear = np.zeros(pixels.shape[:2], np.uint8)
    data = saved(Image.fromarray(np.dstack([pixels, clear])), "WEBP", lossless=True, exact=True)
    photo = decode_photo(data)
    assert photo.lossless
    np.testing.assert_array_equal(decode_photo(encode(photo, ".webp")).pixels, pixels)


@pytest.mark.parametrize("suffix", [".jpg", ".bmp"])
def test_alpha_is_put_on_white_where_it_cannot_be_kept(pixels, suffix):
    clear = np.zeros(pixels.shape[:2], np.uint8)
    assert decode_photo(encode(Photo(pixels, clear), suffix)).pixels.min() == 255


def test_gray_is_the_luminance(pixels):
    back = decode_photo(encode(Photo(pixels, gray=True), ".png"))
    np.testing.assert_allclose(back.pixels[..., 0], pixels @ [0.299, 0.587, 0.114], atol=0.5 + 1e-6)


def test_side_by_side(pixels, alpha):
    both = side_by_side(Photo(pixels, alpha), Photo(255 - pixels, alpha))
    assert both.pixels.shape == (20, 62, 3) and both.alpha.shape == (20, 62)
    np.testing.assert_array_equal(both.pixels[:, 31:], 255 - pixels)
