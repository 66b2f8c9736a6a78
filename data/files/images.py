"""Photos in and out: upright, of the depth that the file holds, in sRGB values, and back with its colours and metadata.

Which library does which file: JPEG, PNG, WebP and AVIF data/files/vips.py, TIFF tiff.py, HEIC heif.py, raw files raw.py, BMP
and JPEG 2000 pillow.py, JPEG XL jxl.py. Each is imported when such a file is met.
"""
from __future__ import annotations

import contextlib
import ctypes
import itertools
import logging
import os
import re
import warnings
from pathlib import Path

from data.files.folders import read_file
from data.files.kinds import (
    FORMATS,
    MAX_MEGAPIXELS,
    PHOTO_SUFFIXES,
    READ_FORMATS,
    is_cut_off,
    is_photo,
    kind_of,
)
from data.files.photo import INCOMPLETE, Photo, PhotoError, side_by_side, to_8_bit, upright
from data.files.signatures import what_it_is

__all__ = ["FORMATS", "MAX_MEGAPIXELS", "PHOTO_SUFFIXES", "Photo", "PhotoError", "decode_photo", "is_photo", "read_photo",
           "side_by_side", "silence_decoders", "to_8_bit", "upright", "write_atomically", "write_photo"]

logger = logging.getLogger(__name__)
_written = itertools.count()           # files so far: makes the names of temporary ones unique


def read_photo(path: str | Path, max_megapixels: float = MAX_MEGAPIXELS) -> Photo:
    """Decode a picture file. The content decides on the format, not the name. What had to be left out is logged.

    Raises PhotoError with the reason: unreadable, not a picture, damaged, animated, too large, of an unsupported kind.
    """
    try:
        data = read_file(Path(path))
    except OSError as error:
        raise PhotoError(f"cannot be read: {error.strerror or error}") from None
    photo = decode_photo(data, max_megapixels)
    for note in photo.notes:
        logger.warning("%s: %s", path, note)
    return photo


def decode_photo(data: bytes, max_megapixels: float = MAX_MEGAPIXELS) -> Photo:
    """The picture in the bytes of a file; see `read_photo`."""
    from data.files.colour import to_srgb

    if not data:
        raise PhotoError("the file is empty")
    kind = kind_of(data)
    if kind is None:
        found = what_it_is(data)
        raise PhotoError(f"it is {found}; read are {READ_FORMATS}" if found else
                         f"not a picture in a known format ({READ_FORMATS}), or its header is damaged")
    try:
        return to_srgb(_decode(data, kind, max_megapixels))
    except PhotoError:
        raise
    except ImportError as error:
        raise PhotoError(f"{error.name or error} is needed for {kind} files: pip install -r requirements.txt") from None
    except MemoryError:
        raise PhotoError("there is not enough memory to decode it") from None
    except Exception as error:  # decoders raise whatever damaged bytes lead them to, SyntaxError and struct.error too
        reason = " ".join(str(error).split()) or type(error).__name__
        if is_cut_off(data, kind) or re.search("truncated|premature|unexpected end|NEED_MORE_INPUT", reason, re.IGNORECASE):
            raise PhotoError(INCOMPLETE) from None
        raise PhotoError(f"damaged: its data cannot be decoded ({reason[:160]})") from None


def _decode(data: bytes, kind: str, max_megapixels: float) -> Photo:
    if kind == "TIFF":
        from data.files.tiff import read_tiff

        return read_tiff(data, max_megapixels)
    if kind == "HEIC":
        from data.files.heif import read_heif

        return read_heif(data, max_megapixels)
    if kind == "RAW":
        from data.files.raw import develop

        return develop(data, max_megapixels)
    if kind == "JPEG XL":
        from data.files.jxl import read_jxl

        return read_jxl(data, max_megapixels)
    if kind in ("BMP", "JPEG 2000"):
        from data.files.pillow import from_pillow

        return from_pillow(data, kind, max_megapixels)
    from data.files.vips import read_vips

    return read_vips(data, kind, max_megapixels)


def write_photo(path: str | Path, photo: Photo, quality: int | None = None) -> None:
    """Encode in the format that the suffix of `path` says and put the file in its place at once: whole or not at all.

    Folders are made. `quality`, 1 to 100, is that of formats with loss; see `data.files.encoding.encode`. 16 bits stay in PNG
    and TIFF (10 of them in HEIC and AVIF) and are rounded to 8 elsewhere; formats without alpha get the picture on white.
    Raises PhotoError with the reason.
    """
    from data.files.encoding import encode, fitting

    path = Path(path)
    suffix = path.suffix.lower()
    photo, notes = fitting(photo, FORMATS.get(suffix, ""))
    try:
        write_atomically(path, encode(photo, suffix, quality))
    except OSError as error:
        raise PhotoError(f"cannot be written: {error.strerror or error}") from None
    for note in notes:
        logger.warning("%s: %s", path, note)


def write_atomically(path: Path, data: bytes) -> None:
    """Write through a temporary file in the same folder, which is removed on failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem[:40]}.{os.getpid()}.{next(_written)}.tmp")  # threads write similar names at once
    try:
        with open(temporary, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def silence_decoders() -> None:
    """Keep Pillow, libtiff and OpenCV from printing what they find odd in files: what matters comes as a PhotoError.

    It holds for the whole process (OpenCV: if not imported yet), so it is for scripts to call.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    from PIL import Image

    with contextlib.suppress(AttributeError, OSError):  # where libtiff is linked in, it cannot be reached
        ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler(None)
