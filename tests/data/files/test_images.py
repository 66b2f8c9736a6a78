"""Photos in and out: the same picture comes back in every format and depth; what cannot be read or written has its reason."""
from __future__ import annotations

import cv2
import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from data.files.encoding import encode
from data.files.images import FORMATS, Photo, PhotoError, decode_photo, read_photo, to_8_bit, write_photo
from tests.data.files.written import SRGB, exif_block, saved, tiff

HOLDS_GRAY = (".png", ".bmp", ".tif", ".tiff", ".jpg", ".jpeg", ".jpe", ".jfif")
LOSSLESS = (".png", ".bmp", ".tif", ".tiff")


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("with_alpha", [False, True])
def test_eight_bit_pictures_come_back(tmp_path, pixels, alpha, suffix, gray, with_alpha):
    if gray:
        pixels = np.repeat(pixels[..., :1], 3, axis=2)
    path = tmp_path / f"p{suffix.upper()}"
    write_photo(path, Photo(pixels, alpha if with_alpha else None, gray))
    back = read_photo(path)
    assert back.pixels.dtype == np.uint8 and back.pixels.shape == pixels.shape
    assert back.gray == (gray and suffix in HOLDS_GRAY and not (suffix == ".bmp" and with_alpha))
    if suffix in LOSSLESS and not (with_alpha and suffix == ".bmp"):
        np.testing.assert_array_equal(back.pixels, pixels)
    if with_alpha and suffix in (".png", ".tif", ".tiff", ".webp"):
        np.testing.assert_array_equal(back.alpha, alpha)
    if with_alpha and FORMATS[suffix] in ("HEIC", "AVIF"):
        assert np.abs(back.alpha.astype(int) - alpha).mean() < 2
    if not with_alpha:
        assert back.alpha is None
        assert np.abs(back.pixels.astype(int) - pixels).mean() < 10


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("with_alpha", [False, True])
def test_sixteen_bits_stay_sixteen(tmp_path, deep, alpha, suffix, gray, with_alpha):
    if gray:
        deep = np.repeat(deep[..., :1], 3, axis=2)
    deep_alpha = alpha.astype(np.uint16) * 257 if with_alpha else None
    path = tmp_path / f"p{suffix}"
    write_photo(path, Photo(deep, deep_alpha, gray, SRGB, exif_block(1), (300.0, 300.0)))
    back = read_photo(path)
    assert back.pixels.dtype == np.uint16
    assert back.gray == (gray and not (with_alpha and suffix == ".tif"))  # which no reader knows
    np.testing.assert_array_equal(back.pixels, deep)
    if with_alpha:
        np.testing.assert_array_equal(back.alpha, deep_alpha)
    assert back.dpi == pytest.approx((300, 300), abs=0.1)
    assert back.icc_profile == (None if back.gray else SRGB)
    with Image.open(path) as image:
        image.load()
        assert image.getexif()[0x0110] == "Model" and image.getexif().get_ifd(0x8769)[0xA002] == 31
        if not back.gray:
            np.testing.assert_array_equal(np.asarray(image)[..., :3], deep >> 8)


def test_sixteen_bits_are_rounded_where_the_format_has_eight(tmp_path, deep):
    write_photo(tmp_path / "p.bmp", Photo(deep))
    np.testing.assert_array_equal(read_photo(tmp_path / "p.bmp").pixels, np.round(deep / 257).astype(np.uint8))
    np.testing.assert_array_equal(to_8_bit(deep), np.round(deep / 257).astype(np.uint8))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(sorted(FORMATS)), st.booleans(), st.integers(0, 9))
def test_any_size_in_any_format(height, width, suffix, deep, seed):
    values = np.random.default_rng(seed).integers(0, 65536 if deep else 256, (height, width, 3))
    back = decode_photo(encode(Photo(values.astype(np.uint16 if deep else np.uint8)), suffix))
    assert back.pixels.shape == (height, width, 3)
    assert (back.pixels.dtype == np.uint16) == (deep and FORMATS[suffix] in ("PNG", "TIFF", "HEIC", "AVIF"))


def test_names_in_any_script(tmp_path, deep):
    path = tmp_path / "Ночь фото 夜景 صورة é.TIFF"
    write_photo(path, Photo(deep))
    np.testing.assert_array_equal(read_photo(path).pixels, deep)


def test_opencv_agrees_on_the_sixteen_bit_files(tmp_path, deep):
    for suffix in (".png", ".tif"):
        write_photo(tmp_path / f"p{suffix}", Photo(deep, icc_profile=SRGB, exif=exif_block(1)))
        values = cv2.imread(str(tmp_path / f"p{suffix}"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(values[..., ::-1], deep)


# --- errors ---

def test_reasons(tmp_path, pixels):
    picture = Image.fromarray(pixels)
    frames = {"save_all": True, "append_images": [ImageOps.invert(picture)]}
    cases = {
        b"": "empty", b"\xd8\xff\0\x01" * 9: "not a picture", b"hello, not a picture": "a text file",
        saved(picture, "JPEG")[:-200]: "damaged",
        saved(picture, "PNG", **frames): "2 frames", saved(picture, "WEBP", **frames): "2 frames",
        saved(picture, "GIF"): "it is a GIF",
        saved(Image.new("F", (4, 4)), "TIFF"): "32 bits",
        tiff(pixels.astype(np.uint16), photometric="cielab"): "CIELAB colours with 16 bits is not supported; save it as RGB",
        imagecodecs.jpegxl_encode(pixels)[:-40]: "incomplete", imagecodecs.jpeg2k_encode(pixels)[:-40]: "incomplete",
        imagecodecs.jpegxl_encode(np.stack([pixels, 255 - pixels])): "an animation; expected a single picture",
        encode(Photo(pixels.astype(np.uint16)), ".png")[:-100]: "damaged",
        encode(Photo(pixels), ".heic")[:-100]: "HEIC.*incomplete", encode(Photo(pixels), ".avif")[:-100]: "incomplete",
        encode(Photo(pixels), ".avif").replace(b"ftypavif", b"ftypavis", 1): "an animation",
        saved(Image.new("1", (14000, 14000)), "PNG"): "pixels",
    }
    for data, reason in cases.items():
        with pytest.raises(PhotoError, match=reason):
            decode_photo(data)
    with pytest.raises(PhotoError, match="No such file"):
        read_photo(tmp_path / "none.png")
    with pytest.raises(PhotoError, match=r"31x20 is 0\.00062 megapixels; the limit is 0\.0001 \(--max_megapixels\)"):
        decode_photo(saved(picture, "PNG"), max_megapixels=1e-4)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
def test_a_file_that_was_copied_in_part_is_said_to_be_incomplete(pixels, deep, suffix):
    for photo in (pixels, deep):
        data = encode(Photo(photo), suffix)
        for kept in (0.5, 0.9):
            with pytest.raises(PhotoError, match="damaged: the file is incomplete, its end is missing"):
                decode_photo(data[: int(len(data) * kept)])


def test_writing_fails_with_a_reason_and_leaves_nothing(tmp_path, pixels, monkeypatch):
    with pytest.raises(PhotoError, match="65500"):
        write_photo(tmp_path / "wide.jpg", Photo(np.zeros((1, 65501, 3), np.uint8)))
    with pytest.raises(PhotoError, match="no format"):
        write_photo(tmp_path / "p.gif", Photo(pixels))
    for suffix in FORMATS:
        with pytest.raises(PhotoError, match=r"pixels of float32; expected uint8 or uint16.*astype"):
            write_photo(tmp_path / f"p{suffix}", Photo(pixels.astype(np.float32) / 255))

    def full(*_):
        raise OSError(28, "No space left on device")

    (tmp_path / "p.png").write_bytes(b"before")
    monkeypatch.setattr("os.replace", full)
    with pytest.raises(PhotoError, match="No space left"):
        write_photo(tmp_path / "p.png", Photo(pixels))
    assert [p.name for p in tmp_path.iterdir()] == ["p.png"] and (tmp_path / "p.png").read_bytes() == b"before"
