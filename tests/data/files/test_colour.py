"""Photos in colour spaces of their own: sRGB for the network, their own space again in the result."""
from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageCms
from skimage.color import deltaE_ciede2000, rgb2lab

from data.files.colour import D65, SRGB_PRIMARIES, make_profile, profile_of_codes
from data.files.encoding import encode
from data.files.images import Photo, PhotoError, decode_photo, read_photo, side_by_side, to_8_bit, write_photo
from engine.enhancing.folder_job import run_job
from engine.enhancing.job_plan import plan_job

# By their publishers: primaries as x, y; white; the curve's power, None for that of sRGB.
SPACES = {"sRGB": (SRGB_PRIMARIES, D65, None),
          "Display P3": ((0.680, 0.320, 1.0, 0.265, 0.690, 1.0, 0.150, 0.060, 1.0), D65, None),
          "Adobe RGB": ((0.640, 0.330, 1.0, 0.210, 0.710, 1.0, 0.150, 0.060, 1.0), D65, 2.19921875),
          "ProPhoto": ((0.734699, 0.265301, 1.0, 0.159597, 0.840403, 1.0, 0.036598, 0.000105, 1.0),
                       (0.345704, 0.358540, 1.0), 1.8)}
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def to_xyz(space: str) -> np.ndarray:
    """Linear RGB of a space -> XYZ relative to D50 (Bradford), from its primaries: nothing of the code under test."""
    primaries, white, _ = SPACES[space]
    points = np.array([[x / y, 1, (1 - x - y) / y] for x, y in zip(primaries[::3], primaries[1::3], strict=True)]).T
    target = np.array([white[0] / white[1], 1, (1 - white[0] - white[1]) / white[1]])
    matrix = points * np.linalg.solve(points, target)
    d50 = np.array([0.96422, 1.0, 0.82521])
    adapt = np.linalg.inv(BRADFORD) @ np.diag((BRADFORD @ d50) / (BRADFORD @ target)) @ BRADFORD
    return adapt @ matrix


def decoded(values: np.ndarray, space: str) -> np.ndarray:
    power = SPACES[space][2]
    return values**power if power else np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def encoded(light: np.ndarray, space: str) -> np.ndarray:
    power, light = SPACES[space][2], np.clip(light, 0, 1)
    return light ** (1 / power) if power else np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def saved_in(space: str, light: np.ndarray, bits: int) -> Photo:
    """A photo file of linear sRGB values (H, W, 3), converted by its published definition, and decoded again."""
    own = encoded(light @ to_xyz("sRGB").T @ np.linalg.inv(to_xyz(space)).T, space)
    top, kind = (65535, np.uint16) if bits == 16 else (255, np.uint8)
    primaries, white, power = SPACES[space]
    profile = make_profile(primaries, power, white)
    return decode_photo(encode(Photo(np.round(own * top).astype(kind), icc_profile=profile), ".png"))


def brighten(photo: Photo) -> Photo:
    """Stands for the network: a curve, more saturation where it is dark, of sRGB values."""
    top = np.iinfo(photo.pixels.dtype).max
    values = photo.pixels / top
    grey = values.mean(2, keepdims=True)
    bright = np.clip((grey + 1.1 * (values - grey)), 0, 1) ** 0.5
    return replace(photo, pixels=np.round(bright * top).astype(photo.pixels.dtype))


@pytest.fixture
def scene():
    """Linear light of a dark scene within sRGB: smooth, with saturated patches."""
    y, x = np.mgrid[0:1:48j, 0:1:64j]
    base = np.dstack([0.02 + 0.10 * x, 0.015 + 0.06 * y, 0.01 + 0.05 * (1 - x)])
    base[4:12, 4:20], base[20:28, 30:50], base[36:44, 10:30] = (0.15, 0.004, 0.004), (0.004, 0.10, 0.02), (0.01, 0.01, 0.2)
    return base


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("space", [space for space in SPACES if space != "sRGB"])
def test_one_scene_in_four_spaces_gives_the_same_picture(scene, space, bits):
    reference = brighten(saved_in("sRGB", scene, 16))
    wanted = rgb2lab(reference.pixels / 65535)
    result = encode(brighten(saved_in(space, scene, bits)), ".png")
    with Image.open(io.BytesIO(result)) as image:  # littleCMS, of 8 bits, says what the file shows
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        shown = ImageCms.profileToProfile(image.convert("RGB"), profile, ImageCms.createProfile("sRGB"), renderingIntent=1)
    difference = deltaE_ciede2000(wanted, rgb2lab(np.asarray(shown) / 255))
    assert difference.mean() < 1 and np.percentile(difference, 99) < 3
    assert decode_photo(result).own_pixels.dtype == (np.uint16 if bits == 16 else np.uint8)


@pytest.mark.parametrize("space", [space for space in SPACES if space != "sRGB"])
def test_eight_bits_are_rounded_by_the_file_alone(scene, space):
    """What the network is given is what the file's own values mean, however little that is in a dark photo."""
    photo = saved_in(space, scene / 10, 8)
    assert photo.own_pixels.dtype == np.uint8 and photo.pixels.dtype == np.uint16
    light = decoded(photo.own_pixels / 255, space) @ to_xyz(space).T @ np.linalg.inv(to_xyz("sRGB")).T
    np.testing.assert_allclose(photo.pixels / 65535, encoded(light, "sRGB"), atol=2e-4)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("space", [space for space in SPACES if space != "sRGB"])
def test_nothing_is_lost_where_the_network_changes_nothing(space, suffix):
    """Colours all over the space, also those that sRGB lacks, come back exactly."""
    for kind in (np.uint8, np.uint16):
        values = np.random.default_rng(0).integers(0, np.iinfo(kind).max + 1, (40, 50, 3)).astype(kind)
        primaries, white, power = SPACES[space]
        photo = decode_photo(encode(Photo(values, icc_profile=make_profile(primaries, power, white)), suffix))
        assert photo.own_pixels is not None and not np.array_equal(photo.pixels, values)
        np.testing.assert_array_equal(photo.own_pixels, values)
        again = decode_photo(encode(photo, suffix))
        np.testing.assert_array_equal(again.own_pixels, values)


def test_what_srgb_lacks_is_in_the_brightened_picture():
    """A red beyond sRGB stays beyond it: its green, as linear sRGB, stays as far below zero in proportion."""
    space = "Display P3"
    primaries, white, power = SPACES[space]
    own = np.full((8, 8, 3), (30000, 2000, 2000), np.uint16)
    photo = brighten(decode_photo(encode(Photo(own, icc_profile=make_profile(primaries, power, white)), ".tif")))
    result = decode_photo(encode(photo, ".tif")).own_pixels / 65535
    light = decoded(result, space) @ to_xyz(space).T @ np.linalg.inv(to_xyz("sRGB")).T
    before = decoded(own / 65535, space) @ to_xyz(space).T @ np.linalg.inv(to_xyz("sRGB")).T
    assert before[0, 0, 1] < 0 and light[0, 0, 1] < before[0, 0, 1] * 1.5 and light[0, 0, 0] > 2 * before[0, 0, 0]


def test_photos_without_a_profile_or_with_that_of_srgb_are_untouched():
    values = np.random.default_rng(0).integers(0, 65536, (40, 50, 3)).astype(np.uint16)
    littlecms = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (None, make_profile(SRGB_PRIMARIES, None), littlecms):
        photo = decode_photo(encode(Photo(values, icc_profile=profile), ".png"))
        assert photo.own_pixels is None and photo.icc_profile == profile
        np.testing.assert_array_equal(photo.pixels, values)


def png_with(*chunks: tuple[bytes, bytes]) -> bytes:
    plain = encode(Photo(np.full((6, 5, 3), (20000, 5000, 1000), np.uint16)), ".png")
    parts = b"".join(struct.pack(">L", len(d)) + n + d + struct.pack(">L", zlib.crc32(n + d)) for n, d in chunks)
    return plain[:33] + parts + plain[33:]


SRGB_POINTS = struct.pack(">8L", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
ADOBE_POINTS = struct.pack(">8L", 31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)


@pytest.mark.parametrize(("chunks", "space"), [
    ([(b"cICP", bytes([12, 13, 0, 1]))], "Display P3"), ([(b"cICP", bytes([1, 13, 0, 1]))], None),
    ([(b"gAMA", struct.pack(">L", 45455))], None), ([(b"gAMA", struct.pack(">L", 45455)), (b"cHRM", SRGB_POINTS)], None),
    ([(b"sRGB", b"\0"), (b"gAMA", struct.pack(">L", 100000))], None),
    ([(b"gAMA", struct.pack(">L", 45470)), (b"cHRM", ADOBE_POINTS)], "Adobe RGB"),
])
def test_what_chunks_of_a_png_say(chunks, space):
    photo = decode_photo(png_with(*chunks))
    own = np.array((20000, 5000, 1000))
    if space is None:
        assert photo.own_pixels is None and (photo.pixels == own).all()
        return
    light = decoded(own / 65535, space) @ to_xyz(space).T @ np.linalg.inv(to_xyz("sRGB")).T
    np.testing.assert_allclose(photo.pixels[0, 0] / 65535, encoded(light, "sRGB"), atol=2e-3)
    np.testing.assert_array_equal(decode_photo(encode(photo, ".png")).own_pixels[0, 0], own)


def test_linear_light_is_brought_to_srgb():
    photo = decode_photo(png_with((b"gAMA", struct.pack(">L", 100000))))
    np.testing.assert_allclose(photo.pixels[0, 0] / 65535, encoded(np.array((20000, 5000, 1000)) / 65535, "sRGB"), atol=1e-3)


def test_gray_with_a_profile_of_its_own():
    gray = gray_profile(1.8)
    values = np.repeat(np.arange(0, 65536, 1024, dtype=np.uint16).reshape(8, 8, 1), 3, axis=2)
    photo = decode_photo(encode(Photo(values, gray=True, icc_profile=gray), ".png"))
    assert photo.gray
    np.testing.assert_allclose(photo.pixels / 65535, encoded((values / 65535) ** 1.8, "sRGB"), atol=2e-3)
    back = decode_photo(encode(photo, ".png"))
    np.testing.assert_array_equal(back.own_pixels[..., 0], values[..., 0])
    assert decode_photo(encode(photo, ".webp")).icc_profile is None  # WebP has no gray: sRGB


def gray_profile(power: float) -> bytes:
    """ICC.1:2001: header, and the four tags that a gray profile needs."""
    curve = b"curv" + bytes(4) + struct.pack(">LH", 1, round(power * 256)) + bytes(2)
    return icc_profile(b"mntrGRAYXYZ ", (b"kTRC", curve))


def ink_profile(darkest: int) -> bytes:
    """ICC.1:2001: inks of which every one, and all together, leave CIELAB's L at `darkest`, without colour."""
    nodes = b"".join(bytes((darkest * 255 // 100 if number else 255, 128, 128)) for number in range(16))
    ramp = bytes(range(256))
    table = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + struct.pack(">9l", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table += ramp * 4 + nodes + ramp * 3
    return icc_profile(b"scnrCMYKLab ", (b"A2B0", table), (b"A2B1", table))


def icc_profile(kind: bytes, *tags: tuple[bytes, bytes]) -> bytes:
    white = b"XYZ " + bytes(4) + struct.pack(">3l", *(round(v * 65536) for v in (0.9642, 1.0, 0.8249)))
    text = b"desc" + bytes(4) + struct.pack(">L", 5) + b"made\0" + bytes(78)
    rights = b"text" + bytes(4) + b"none\0" + bytes(3)
    parts = [*tags, (b"wtpt", white), (b"desc", text), (b"cprt", rights)]
    at, table, body = 128 + 4 + 12 * len(parts), b"", b""
    for name, content in parts:
        table += name + struct.pack(">LL", at + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header = struct.pack(">L4sL", at + len(body), bytes(4), 0x02100000) + kind + bytes(12) + b"acsp"
    header += bytes(28) + struct.pack(">3l", *(round(v * 65536) for v in (0.9642, 1.0, 0.8249)))
    return header.ljust(128, b"\0") + struct.pack(">L", len(parts)) + table + body


@pytest.mark.parametrize("darkest", [5, 30])
def test_the_black_of_inks_is_black(darkest):
    """However bright the inks' own is: a fog over a dark photo would be brightened with it."""
    inks = np.zeros((8, 8, 4), np.uint8)
    inks[:4] = 255
    file = io.BytesIO()
    Image.fromarray(inks, "CMYK").save(file, "TIFF", icc_profile=ink_profile(darkest))
    photo = decode_photo(file.getvalue())
    assert photo.pixels[:4].max() <= 3 and photo.pixels[4:].min() >= 250 and photo.icc_profile is None


@pytest.mark.parametrize(("profile", "said"), [
    (b"nothing like a profile" * 20, "its colour profile is one of"), (gray_profile(2.2), "one of 'GRAY', its pixels are RGB"),
    (make_profile(SRGB_PRIMARIES, 1.0)[:300], "damaged"),
])
def test_a_profile_that_cannot_be_used_is_named(profile, said):
    values = np.random.default_rng(0).integers(0, 256, (6, 5, 3)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(values).save(file, "TIFF", icc_profile=profile)
    photo = decode_photo(file.getvalue())
    np.testing.assert_array_equal(photo.pixels, values)
    assert photo.icc_profile is None and said in photo.notes[0] and photo.notes[0].endswith("its colours are taken for sRGB")


def test_hdr_and_unknown_codes_are_refused():
    with pytest.raises(PhotoError, match="HDR picture .PQ.*export it as SDR"):
        decode_photo(png_with((b"cICP", bytes([9, 16, 0, 1]))))
    with pytest.raises(PhotoError, match="primaries 77, expected one of"):
        profile_of_codes(77, 13)


def test_a_comparison_is_srgb_without_a_profile():
    primaries, white, power = SPACES["Display P3"]
    own = np.full((8, 8, 3), (200, 20, 20), np.uint8)
    photo = decode_photo(encode(Photo(own, icc_profile=make_profile(primaries, power, white)), ".png"))
    both = side_by_side(photo, photo)
    shown = to_8_bit(photo.pixels)[0, 0]
    assert both.icc_profile is None and both.pixels.dtype == np.uint8  # as the file
    for written in (encode(both, ".png"), encode(photo, ".bmp")):      # BMP holds no profile
        np.testing.assert_array_equal(decode_photo(written).pixels[0, 0], shown)


def test_through_a_folder_job(scene, tmp_path):
    """What enhancing writes is in the photo's own space, with its profile."""
    primaries, white, power = SPACES["Display P3"]
    profile = make_profile(primaries, power, white)
    own = encoded(scene @ to_xyz("sRGB").T @ np.linalg.inv(to_xyz("Display P3")).T, "Display P3")
    (tmp_path / "in").mkdir()
    write_photo(tmp_path / "in/a.tif", Photo(np.round(own * 65535).astype(np.uint16), icc_profile=profile))
    seen = []

    def enhance(pixels: np.ndarray) -> np.ndarray:
        seen.append(pixels)
        return np.round((pixels / 65535) ** 0.5 * 65535).astype(np.uint16)

    run_job(plan_job(tmp_path / "in", tmp_path / "out"), enhance)
    np.testing.assert_allclose(seen[0] / 65535, encoded(scene, "sRGB"), atol=2e-4)
    written = read_photo(tmp_path / "out/a.tif")
    assert written.icc_profile == profile
    np.testing.assert_allclose(written.pixels / 65535, encoded(scene, "sRGB") ** 0.5, atol=2e-3)
