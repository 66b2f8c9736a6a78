"""Photos in and out: every format keeps its depth, alpha, gray, orientation, profile and EXIF."""
from __future__ import annotations

import io
import struct
import zlib

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from data.files.encoding import encode
from data.files.images import (
    FORMATS,
    Photo,
    PhotoError,
    decode_photo,
    read_photo,
    side_by_side,
    to_8_bit,
    upright,
    write_photo,
)

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
HOLDS_GRAY = (".png", ".bmp", ".tif", ".tiff", ".jpg", ".jpeg", ".jpe", ".jfif")
LOSSLESS = (".png", ".bmp", ".tif", ".tiff")


@pytest.fixture
def pixels(make_photo):
    return make_photo(20, 31)


@pytest.fixture
def deep(pixels):
    """16-bit values that are not multiples of 257."""
    rng = np.random.default_rng(0)
    return pixels.astype(np.uint16) * 256 + rng.integers(0, 256, pixels.shape, dtype=np.uint16)


@pytest.fixture
def alpha(pixels):
    return np.random.default_rng(1).integers(0, 256, pixels.shape[:2], dtype=np.uint8)


def saved(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def tiff(values: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, **options)
    return file.getvalue()


def png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">L", len(content)) + name + content + struct.pack(">L", zlib.crc32(name + content))


def exif_block(orientation: int, size: tuple[int, int] = (31, 20)) -> bytes:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0112], exif[0x8298] = "Maker", "Model", orientation, "me"
    exif[0x8769] = {0x829A: 0.5, 0xA002: size[0], 0xA003: size[1], 0x927C: b"notes"}
    exif[0x8825] = {1: "N", 2: (48.0, 8.0, 14.0)}
    return exif.tobytes()


# --- the same picture comes back ---

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


# --- orientation ---

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


# --- kinds of files ---

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


# --- what is carried over ---

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


def test_names_in_any_script(tmp_path, deep):
    path = tmp_path / "Ночь фото 夜景 صورة é.TIFF"
    write_photo(path, Photo(deep))
    np.testing.assert_array_equal(read_photo(path).pixels, deep)


def test_opencv_agrees_on_the_sixteen_bit_files(tmp_path, deep):
    for suffix in (".png", ".tif"):
        write_photo(tmp_path / f"p{suffix}", Photo(deep, icc_profile=SRGB, exif=exif_block(1)))
        values = cv2.imread(str(tmp_path / f"p{suffix}"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(values[..., ::-1], deep)
