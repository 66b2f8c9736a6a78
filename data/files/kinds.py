"""Which files are photos: their suffixes, what their first bytes say, and what each format can hold. Imports nothing heavy."""
from __future__ import annotations

import math
from pathlib import Path

# Suffixes that are read and written, in lower case, and the format that each is written in.
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".bmp": "BMP", ".tif": "TIFF",
           ".tiff": "TIFF", ".webp": "WEBP", ".heic": "HEIC", ".heif": "HEIC", ".hif": "HEIC", ".avif": "AVIF"}
RAW_SUFFIXES = (".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".raf", ".orf", ".rw2", ".rwl", ".pef", ".srw")
# Suffixes that are only read, and the suffix that their results get.
READ_ONLY = {".jp2": ".png", ".jxl": ".png", **dict.fromkeys(RAW_SUFFIXES, ".tif")}
PHOTO_SUFFIXES = (*FORMATS, *READ_ONLY)
READ_FORMATS = ", ".join((*dict.fromkeys(FORMATS.values()), "JPEG 2000", "JPEG XL", "cameras' raw files"))  # for people
MAX_MEGAPIXELS = 120.0   # larger files are taken for decompression bombs

LONGEST_SIDE = {"JPEG": 65500, "WEBP": 16383, "HEIC": 16384, "AVIF": 16384}
HOLDS_16_BIT = ("PNG", "TIFF", "HEIC", "AVIF")   # the last two: 10 bits of them
HOLDS_ALPHA = ("PNG", "TIFF", "WEBP", "HEIC", "AVIF")  # not BMP: what Pillow writes there is read back as opaque
HOLDS_GRAY = ("PNG", "JPEG", "BMP", "TIFF")
HOLDS_PROFILE = ("PNG", "JPEG", "TIFF", "WEBP", "HEIC", "AVIF")

FIRST_BYTES = (
    (b"\xff\xd8\xff", "JPEG"), (b"\x89PNG\r\n\x1a\n", "PNG"), (b"BM", "BMP"), (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"), (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"), (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"FUJIFILM", "RAW"), (b"IIRO", "RAW"), (b"IIRS", "RAW"), (b"MMOR", "RAW"), (b"IIU\0", "RAW"),
    (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"), (b"II+\0", "TIFF"), (b"MM\0+", "TIFF"))
BRANDS = {"AVIF": (b"avif", b"avis"), "RAW": (b"crx ",),
          "HEIC": (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")}


class PhotoError(ValueError):
    """A file that cannot be read or written as a photo; the message is the reason, without the file's name."""


def is_photo(path: Path) -> bool:
    """Whether the name says a photo that can be read; hidden files (`._x.jpg` of a Mac) are none."""
    return path.suffix.lower() in PHOTO_SUFFIXES and not path.name.startswith(".")


def result_suffix(suffix: str) -> str:
    """The suffix of the result of a photo with `suffix`: its own, or that of a format that is written."""
    return READ_ONLY.get(suffix.lower(), suffix)


def longest_side(suffix: str) -> float:
    """In pixels, of a file in the format of `suffix`; infinite where it has no limit."""
    return LONGEST_SIDE.get(FORMATS.get(suffix.lower(), ""), math.inf)


def kind_of(data: bytes) -> str | None:
    """The format that the first bytes of a file say, "RAW" for a camera's own; None for what is no photo."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:4] in (b"II*\0", b"MM\0*") and data[8:10] == b"CR":  # CR2: a TIFF by its other bytes
        return "RAW"
    for start, kind in FIRST_BYTES:
        if data.startswith(start):
            return kind
    brands = brands_of(data)
    return next((kind for kind, known in BRANDS.items() if not brands.isdisjoint(known)), None)


def brands_of(data: bytes) -> set[bytes]:
    """What a file in the ISO base media format (ISO/IEC 14496-12, sec. 4.3) says of itself; of another one, nothing."""
    if data[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(data[:4], "big"), 512)
    return {data[8:12], *(data[at : at + 4] for at in range(16, end, 4))}


def check_size(width: int, height: int, max_megapixels: float) -> None:
    """Raise PhotoError for more pixels than the limit, before they are decoded."""
    if width * height > max_megapixels * 1e6:
        raise PhotoError(f"{width}x{height} is {width * height / 1e6:.10g} megapixels; the limit is {max_megapixels:.10g} "
                         "(--max_megapixels)")
    if width < 1 or height < 1:
        raise PhotoError(f"damaged: its header says {width}x{height} pixels")


def is_cut_off(data: bytes, kind: str) -> bool:
    """Whether the end of the file is missing, as far as its outermost structure tells."""
    if kind == "PNG":
        return b"IEND" not in data[-4096:]
    if kind == "WEBP":
        return len(data) < 8 + int.from_bytes(data[4:8], "little")
    if kind == "BMP":
        return len(data) < int.from_bytes(data[2:6], "little")
    if kind == "JPEG 2000":
        return b"\xff\xd9" not in data[-4096:]
    if kind in ("HEIC", "AVIF"):  # boxes, each with its size: ISO/IEC 14496-12, sec. 4.2
        at = 0
        while at < len(data):
            size = int.from_bytes(data[at : at + 4], "big")
            if size == 1:
                size = int.from_bytes(data[at + 8 : at + 16], "big")
            if size == 0:  # to the end of the file
                return False
            at += max(size, 8)
        return at > len(data)
    return False
