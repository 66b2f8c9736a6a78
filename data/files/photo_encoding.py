"""Photos as the bytes of a file: what each format can hold. PNG of 16 bits and TIFF are put together here, the former
because Pillow cannot write it, the latter because Pillow neither writes 16 bits nor compresses a file that has EXIF."""
from __future__ import annotations

import io
import math
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin

from data.files.exif import LONG, PREFIX, descriptive
from data.files.photo import Photo, to_8_bit

JPEG_QUALITY = 95
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF",
           ".webp": "WEBP"}
JPEG_SEGMENT = 65533                     # bytes that a marker segment holds
LONGEST_SIDE = {"JPEG": 65500, "WEBP": 16383}
HOLDS_GRAY = ("PNG", "JPEG", "BMP", "TIFF")
HOLDS_GRAY_ALPHA = {1: ("PNG", "TIFF", "JPEG"), 2: ()}  # by bytes; JPEG: the alpha goes; 16 bits: no reader knows it
HOLDS_ALPHA = ("PNG", "TIFF", "WEBP")  # not BMP: what Pillow writes there is read back as opaque
HOLDS_16_BIT = ("PNG", "TIFF")
LUMA = np.array([0.299, 0.587, 0.114])   # ITU-R BT.601
STRIP_ROWS = 64                          # rows of a TIFF strip


class EncodingError(ValueError):
    """A photo that the asked-for format cannot hold; the message is the reason."""


def longest_side(suffix: str) -> float:
    """In pixels, of a file in the format of `suffix`; infinite where it has no limit."""
    return LONGEST_SIDE.get(FORMATS.get(suffix.lower(), ""), math.inf)


def encode(photo: Photo, suffix: str) -> bytes:
    """The file of `photo` in the format of `suffix` (".png", ..). Raises EncodingError with the reason."""
    if suffix not in FORMATS:
        raise EncodingError(f"no format is known for the suffix {suffix!r}; known: {', '.join(FORMATS)}")
    if photo.pixels.dtype not in (np.uint8, np.uint16):
        raise EncodingError(f"pixels of {photo.pixels.dtype}; expected uint8 or uint16. Turn those in [0, 1] into 8 bits by "
                            "(pixels * 255).round().astype(np.uint8)")
    kind = FORMATS[suffix]
    longest = max(photo.pixels.shape[:2])
    if longest > LONGEST_SIDE.get(kind, longest):
        raise EncodingError(f"a side of {longest} pixels; {kind} holds at most {LONGEST_SIDE[kind]}")
    values = channels(photo, kind)
    profile = photo.icc_profile if _profile_fits(photo.icc_profile, values.shape[2]) else None
    if kind == "TIFF":
        return _encode_tiff(values, photo, profile)
    if values.dtype == np.uint16:
        return _encode_png16(values, photo, profile)
    options: dict[str, Any] = {}
    if kind == "JPEG":
        options = {"quality": JPEG_QUALITY, "subsampling": 0}
    elif kind == "WEBP":
        options = {"quality": JPEG_QUALITY, "lossless": photo.lossless, "exact": True}
    if profile:
        options["icc_profile"] = profile
    if photo.dpi:
        options["dpi"] = photo.dpi
    if photo.exif and not (kind == "JPEG" and len(photo.exif) > JPEG_SEGMENT):
        options["exif"] = photo.exif
    file = io.BytesIO()
    Image.fromarray(values[..., 0] if values.shape[2] == 1 else values).save(file, kind, **options)
    return file.getvalue()


def channels(photo: Photo, kind: str) -> np.ndarray:
    """(H, W, 1..4) as format `kind` holds it: gray, gray and alpha, RGB, RGBA; uint8, or uint16 where it can."""
    pixels, alpha = photo.pixels, photo.alpha
    if pixels.dtype == np.uint16 and kind not in HOLDS_16_BIT:
        pixels, alpha = to_8_bit(pixels), None if alpha is None else to_8_bit(alpha)
    if photo.gray and kind in (HOLDS_GRAY if alpha is None else HOLDS_GRAY_ALPHA[pixels.dtype.itemsize]):
        pixels = np.round(pixels @ LUMA).astype(pixels.dtype)[..., None]
    if alpha is not None and kind not in HOLDS_ALPHA:
        top = np.iinfo(pixels.dtype).max
        share = alpha[..., None] / top
        pixels, alpha = np.round(pixels * share + top * (1 - share)).astype(pixels.dtype), None
    return pixels if alpha is None else np.concatenate([pixels, alpha[..., None]], axis=2)


def _profile_fits(profile: bytes | None, count: int) -> bool:
    """Whether an ICC profile is one of this many channels (its colour space stands at byte 16)."""
    return bool(profile) and profile[16:20] == (b"GRAY" if count <= 2 else b"RGB ")  # type: ignore[index]


def _encode_png16(values: np.ndarray, photo: Photo, profile: bytes | None) -> bytes:
    """16-bit PNG by OpenCV; the chunks that it does not write are put after the header (PNG 3rd ed., sec. 11.3)."""
    import cv2

    ordered = values[..., [2, 1, 0, 3][: values.shape[2]]] if values.shape[2] > 1 else values
    ok, encoded = cv2.imencode(".png", ordered)
    if not ok:
        raise EncodingError("OpenCV could not encode a 16-bit PNG")
    chunks = b""
    if profile:
        chunks += _png_chunk(b"iCCP", b"ICC profile\x00\x00" + zlib.compress(profile))
    if photo.dpi:
        chunks += _png_chunk(b"pHYs", struct.pack(">LLB", *(round(v / 0.0254) for v in photo.dpi), 1))
    if photo.exif:
        chunks += _png_chunk(b"eXIf", photo.exif.removeprefix(PREFIX))
    png = encoded.tobytes()
    header_end = 8 + 25  # signature, IHDR
    return png[:header_end] + chunks + png[header_end:]


def _png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">L", len(data)) + name + data + struct.pack(">L", zlib.crc32(name + data))


def _encode_tiff(values: np.ndarray, photo: Photo, profile: bytes | None) -> bytes:
    """TIFF 6.0 with 8 or 16 bits: deflated strips of horizontal differences; the directory is Pillow's."""
    height, width, count = values.shape
    differences = np.diff(values, axis=1, prepend=np.zeros((height, 1, count), values.dtype))
    if values.dtype == np.uint16:
        differences = differences.astype("<u2", copy=False)
    strips = [zlib.compress(differences[top : top + STRIP_ROWS].tobytes()) for top in range(0, height, STRIP_ROWS)]
    offsets = np.cumsum([0, *map(len, strips)])[:-1].tolist()
    directory = _tiff_directory(photo.exif)
    bits = values.dtype.itemsize * 8
    tags = {256: width, 257: height, 258: (bits,) * count, 259: 8, 262: 1 if count <= 2 else 2, 273: tuple(offsets),
            274: 1, 277: count, 278: STRIP_ROWS, 279: tuple(map(len, strips)), 284: 1, 317: 2, 339: (1,) * count}
    if count in (2, 4):
        tags[338] = 2  # the last channel is alpha, and colour is not multiplied by it
    if photo.dpi:
        tags |= {282: photo.dpi[0], 283: photo.dpi[1], 296: 2}
    if profile:
        tags[34675] = profile
    for tag, value in tags.items():
        directory[tag] = value
    for tag in (273, 279):
        directory.tagtype[tag] = LONG  # whatever their size now: Pillow adds the directory's own to the offsets
    file = io.BytesIO()
    directory.save(file)
    file.writelines(strips)
    return file.getvalue()


def _tiff_directory(exif: bytes | None) -> TiffImagePlugin.ImageFileDirectory_v2:
    """A directory with the descriptive tags of an EXIF block; empty where they cannot be written (damaged blocks)."""
    def empty() -> TiffImagePlugin.ImageFileDirectory_v2:
        return TiffImagePlugin.ImageFileDirectory_v2(b"II\x2a\x00\x00\x00\x00\x00")

    if not exif:
        return empty()
    directory = empty()
    try:
        block = Image.Exif()
        block.load(exif)
        for tag, value in descriptive(block).items():
            directory[tag] = value
        directory.tobytes()
    except Exception:  # Pillow's parser and writer raise whatever the damaged values lead them to
        return empty()
    return directory
