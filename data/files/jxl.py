"""JPEG XL through imagecodecs (libjxl), which gives pixels of 8 and 16 bits, and nothing else of the file."""
from __future__ import annotations

import numpy as np

from data.files.kinds import PhotoError, check_size
from data.files.photo import Photo
from data.files.vips import from_channels

CODESTREAM = b"\xff\x0a"
SIDE_BITS = (9, 13, 18, 30)
RATIOS = ((1, 1), (6, 5), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # width : height, of the values 1 to 7
NOTE = "of a JPEG XL file only the pixels are read: its metadata is left out, and its colours are taken for sRGB"


def read_jxl(data: bytes, max_megapixels: float) -> Photo:
    """The photo, turned as the file says. Raises PhotoError with the reason, or what imagecodecs makes of damaged bytes."""
    import imagecodecs

    width, height, moves = header_of(data)
    check_size(width, height, max_megapixels)
    if moves:
        raise PhotoError("an animation; expected a single picture")
    values = imagecodecs.jpegxl_decode(data)
    values = values.reshape(*values.shape[:2], -1)
    if values.dtype not in (np.uint8, np.uint16) or values.shape[2] > 4:
        raise PhotoError(f"a JPEG XL of {values.shape[2]} channels of {values.dtype}; expected up to 4 of 8 or 16 bits")
    return from_channels(values, 1, notes=(NOTE,))


def header_of(data: bytes) -> tuple[int, int, bool]:
    """(width, height, whether it is an animation), before anything is decoded (ISO/IEC 18181-1, SizeHeader, ImageMetadata)."""
    start = data.find(CODESTREAM, 0, 1 << 16)
    bits = int.from_bytes(data[start + 2 : start + 30], "little")

    def take(count: int) -> int:
        nonlocal bits
        value, bits = bits & ((1 << count) - 1), bits >> count
        return value

    def size() -> tuple[int, int]:
        small = take(1)

        def side() -> int:
            return (take(5) + 1) * 8 if small else take(SIDE_BITS[take(2)]) + 1

        height, ratio = side(), take(3)
        if ratio == 0:
            return side(), height
        across, down = RATIOS[ratio - 1]
        return height * across // down, height

    width, height = size()
    if take(1) or not take(1):  # all default; nothing of what follows
        return width, height, False
    take(3)                     # orientation
    if take(1):                 # the size that it is meant to be shown in
        size()
    has_preview = take(1)       # whose size would follow
    return width, height, not has_preview and bool(take(1))
