"""Photos in and out: upright RGB of the depth that the file holds, and back with its alpha, profile and EXIF.

Pillow decodes; 16-bit colour, which it cuts to 8 bits, is OpenCV's (data/files/sixteen_bit.py).
"""
from __future__ import annotations

import contextlib
import ctypes
import io
import itertools
import logging
import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from data.files.exif import read_exif
from data.files.folders import read_file
from data.files.photo import INCOMPLETE, Photo, PhotoError, side_by_side, to_8_bit, upright
from data.files.photo_encoding import EncodingError, encode
from data.files.signatures import what_it_is
from data.files.sixteen_bit import PNG_COLOUR_TYPE, PNG_GRAY_ALPHA, check_png, is_sixteen_bit, read_colour, read_gray

__all__ = ["MAX_MEGAPIXELS", "PHOTO_SUFFIXES", "Photo", "PhotoError", "decode_photo", "is_photo", "read_photo", "side_by_side",
           "silence_decoders", "to_8_bit", "upright", "write_atomically", "write_photo"]

PHOTO_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")  # compared in lower case
MAX_MEGAPIXELS = 120.0   # larger files are taken for decompression bombs
PILLOW_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
_written = itertools.count()           # files so far: makes the names of temporary ones unique
REDUCED_PAGE = 1                       # TIFF tag 254: the page is a smaller copy of another one


def is_photo(path: Path) -> bool:
    """Whether the name says a photo that can be read; hidden files (`._x.jpg` of a Mac) are none."""
    return path.suffix.lower() in PHOTO_SUFFIXES and not path.name.startswith(".")


def read_photo(path: str | Path, max_megapixels: float = MAX_MEGAPIXELS) -> Photo:
    """Decode a picture file. The content decides on the format, not the name.

    Raises PhotoError with the reason: unreadable, not a picture, damaged, animated, too large, of an unsupported kind.
    """
    try:
        data = read_file(Path(path))
    except OSError as error:
        raise PhotoError(f"cannot be read: {error.strerror or error}") from None
    return decode_photo(data, max_megapixels)


def decode_photo(data: bytes, max_megapixels: float = MAX_MEGAPIXELS) -> Photo:
    """The picture in the bytes of a file; see `read_photo`."""
    if not data:
        raise PhotoError("the file is empty")
    try:
        with Image.open(io.BytesIO(data), formats=PILLOW_FORMATS) as image:
            _check_header(image, max_megapixels)
            return (_decode_sixteen_bit if is_sixteen_bit(image) else _decode_eight_bit)(image, data)
    except PhotoError:
        raise
    except Image.DecompressionBombError:
        raise PhotoError(f"its header announces more pixels than a photo has; the limit is {max_megapixels:.10g} "
                         "megapixels (--max_megapixels)") from None
    except Image.UnidentifiedImageError:
        found = what_it_is(data)
        if found is not None:
            raise PhotoError(f"it is {found}; read are {', '.join(PILLOW_FORMATS)}") from None
        raise PhotoError(f"not a picture in a known format ({', '.join(PILLOW_FORMATS)}), of a kind that is not supported "
                         "(floating-point colours, for one), or its header is damaged") from None
    except MemoryError:
        raise PhotoError("there is not enough memory to decode it") from None
    except Exception as error:  # decoders raise whatever damaged bytes lead them to, SyntaxError and struct.error too
        reason = str(error).strip() or type(error).__name__
        if "truncated" in reason.lower():
            raise PhotoError(INCOMPLETE) from None
        raise PhotoError(f"damaged: {re.sub(r'^decoder error -.*', 'its data cannot be decoded', reason)}") from None


def write_photo(path: str | Path, photo: Photo) -> None:
    """Encode in the format that the suffix of `path` says and put the file in its place at once: whole or not at all.

    Folders are made. JPEG at quality 95 without colour subsampling; 16 bits stay in PNG and TIFF and are rounded to 8
    elsewhere; formats without alpha get the picture on white. Raises PhotoError with the reason.
    """
    path = Path(path)
    try:
        write_atomically(path, encode(photo, path.suffix.lower()))
    except EncodingError as error:
        raise PhotoError(str(error)) from None
    except OSError as error:
        raise PhotoError(f"cannot be written: {error.strerror or error}") from None


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
    with contextlib.suppress(AttributeError, OSError):  # where libtiff is linked in, it cannot be reached
        ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler(None)


# --- decoding ---

def _check_header(image: Image.Image, max_megapixels: float) -> None:
    width, height = image.size
    if width * height > max_megapixels * 1e6:
        raise PhotoError(f"{width}x{height} is {width * height / 1e6:.10g} megapixels; the limit is {max_megapixels:.10g} "
                         "(--max_megapixels)")
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # MPO: a phone's JPEG; what follows the first picture belongs to it
        if image.format == "TIFF" and _other_pages_are_thumbnails(image, frames):
            return
        kind = "pages" if image.format == "TIFF" else "frames"
        raise PhotoError(f"an animation or a document: {frames} {kind}; expected a single picture")
    if image.mode in ("I", "F"):
        raise PhotoError("32 bits per channel are not supported; save it with 8 or 16 bits")


def _other_pages_are_thumbnails(image: Image.Image, frames: int) -> bool:
    reduced = []
    for page in range(1, frames):
        image.seek(page)
        reduced.append(image.tag_v2.get(254, 0) & REDUCED_PAGE)  # type: ignore[attr-defined]
    image.seek(0)
    return all(reduced)


def _decode_eight_bit(image: Image.Image, data: bytes) -> Photo:
    image.load()
    icc_profile = image.info.get("icc_profile")
    orientation, exif = read_exif(image)
    dpi = _read_dpi(image)
    lossless = image.format == "WEBP" and b"VP8L" in data[:64]
    if image.mode in ("CMYK", "LAB"):
        image, icc_profile = _to_srgb(image, icc_profile), None
    gray = image.mode in ("1", "L", "LA", "La")
    if image.has_transparency_data:
        rgba = np.asarray(image.convert("RGBA"))
        pixels, alpha = rgba[..., :3], rgba[..., 3]
    else:
        pixels, alpha = np.asarray(image.convert("RGB")), None
    return _photo(pixels, alpha, orientation, gray=gray, icc_profile=icc_profile, exif=exif, dpi=dpi, lossless=lossless)


def _decode_sixteen_bit(image: Image.Image, data: bytes) -> Photo:
    if image.format == "PNG":
        check_png(data)
    image.load()  # Pillow finds out whether the file is whole, and turns TIFF upright, as OpenCV does
    orientation, exif = read_exif(image)
    gray = image.mode.startswith("I;16") or (image.format == "PNG" and data[PNG_COLOUR_TYPE] == PNG_GRAY_ALPHA)
    pixels, alpha = read_gray(image) if image.mode.startswith("I;16") else read_colour(image, data)
    return _photo(pixels, alpha, orientation, gray=gray, icc_profile=image.info.get("icc_profile"), exif=exif,
                  dpi=_read_dpi(image))


def _photo(pixels: np.ndarray, alpha: np.ndarray | None, orientation: int, **kept) -> Photo:
    pixels = np.ascontiguousarray(upright(pixels, orientation))
    return Photo(pixels, None if alpha is None else np.ascontiguousarray(upright(alpha, orientation)), **kept)


def _to_srgb(image: Image.Image, icc_profile: bytes | None) -> Image.Image:
    """CMYK or Lab -> RGB by the file's profile, or by the plain formula without one."""
    with contextlib.suppress(ImageCms.PyCMSError, OSError, TypeError):
        if icc_profile or image.mode == "LAB":
            source = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile)) if icc_profile else ImageCms.createProfile("LAB")
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if converted is not None:
                return converted
    return image.convert("RGB")


def _read_dpi(image: Image.Image) -> tuple[float, float] | None:
    dpi: Sequence[float] = image.info.get("dpi", ())
    try:
        values = tuple(float(v) for v in dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return values if len(values) == 2 and all(1 <= v < 1e5 for v in values) else None  # type: ignore[return-value]
