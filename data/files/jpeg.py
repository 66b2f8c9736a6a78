"""JPEG files whose end marker is missing: recorders that lose power leave such, and every row may be there."""
from __future__ import annotations

import io

import numpy as np
from PIL import Image

from data.files.kinds import MAX_MEGAPIXELS, PhotoError, check_size
from data.files.photo import INCOMPLETE

SCAN, END = b"\xff\xda", b"\xff\xd9"
FILLERS = (b"", b"\x55" * 64, b"\xaa" * 64)


def whole_jpeg(data: bytes, max_megapixels: float = MAX_MEGAPIXELS) -> bytes:
    """The file, with its end marker where only that is missing. Raises PhotoError where rows are missing.

    A decoder fills up what is missing as if zeros stood there: if other bytes in their place change nothing, then every row is
    there. A progressive file hides the loss of its finer scans, so one must be whole.
    """
    if data.find(END, _pixels(data)) >= 0:  # which never stands among pixels; behind them phones put films and gain maps
        return data
    try:
        shown = [_decode(data + filler + END, max_megapixels) for filler in FILLERS]
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise PhotoError(INCOMPLETE) from None
    if not all(np.array_equal(shown[0], other) for other in shown[1:]):
        raise PhotoError(INCOMPLETE)
    return data + END


def _pixels(data: bytes) -> int:
    """Where they begin: behind the segments of the header, in which a thumbnail has pixels and an end marker of its own."""
    at = 2
    while data[at : at + 1] == b"\xff" and data[at : at + 2] != SCAN:
        at += 1 if data[at + 1 : at + 2] == b"\xff" else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at


def _decode(data: bytes, max_megapixels: float) -> np.ndarray:
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        check_size(*image.size, max_megapixels)
        if image.info.get("progressive"):
            raise PhotoError(INCOMPLETE)
        return np.asarray(image)
