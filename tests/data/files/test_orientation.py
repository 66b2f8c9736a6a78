"""The orientation tag is applied once, in every format and depth."""
from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps

from data.files.encoding import encode
from data.files.images import Photo, decode_photo, read_photo, upright, write_photo
from tests.data.files.written import exif_block, png_chunk, saved, tiff


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_agrees_with_pillow(pixels, orientation):
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = orientation
    np.testing.assert_array_equal(upright(pixels, orientation), np.asarray(ImageOps.exif_transpose(image)))


@pytest.mark.parametrize("orientation", [2, 3, 5, 6, 7, 8])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
def test_orientation_is_applied_once(tmp_path, pixels, suffix, orientation):
    """The written file shows the same picture to readers that know the tag and to those that do not."""
    kind, options = {".png": ("PNG", {}), ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}), ".tif": ("TIFF", {}),
                     ".webp": ("WEBP", {"lossless": True})}[suffix]
    photo = decode_photo(saved(Image.fromarray(pixels), kind, exif=exif_block(orientation), **options))
    wanted = upright(pixels, orientation)
    assert photo.pixels.shape == wanted.shape and np.abs(photo.pixels.astype(int) - wanted).mean() < 4
    path = tmp_path / f"p{suffix}"
    write_photo(path, photo)
    with Image.open(path) as image:
        assert image.getexif().get(0x0112, 1) == 1
        assert image.size == (wanted.shape[1], wanted.shape[0])
        details = image.getexif().get_ifd(0x8769)
        assert (details[0xA002], details[0xA003]) == image.size  # the size that the EXIF states is turned too
        assert details[0x927C] == b"notes" and image.getexif().get_ifd(0x8825)[1] == "N"
    again = read_photo(path)
    assert again.pixels.shape == wanted.shape and np.abs(again.pixels.astype(int) - wanted).mean() < 5


@pytest.mark.parametrize("orientation", [3, 6, 7])
def test_orientation_of_sixteen_bit_files(deep, orientation):
    data = tiff(deep, photometric="rgb", extratags=[(274, 3, 1, orientation, True)])
    np.testing.assert_array_equal(decode_photo(data).pixels, upright(deep, orientation))
    plain = encode(Photo(deep), ".png")
    tagged = plain[:33] + png_chunk(b"eXIf", exif_block(orientation)[6:]) + plain[33:]
    np.testing.assert_array_equal(decode_photo(tagged).pixels, upright(deep, orientation))


def test_orientation_of_gray_sixteen_bit_tiff(deep):
    data = saved(Image.fromarray(deep[..., 0]), "TIFF", exif=exif_block(6))
    np.testing.assert_array_equal(decode_photo(data).pixels[..., 0], upright(deep[..., 0], 6))
