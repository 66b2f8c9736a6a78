"""Photos in and out: upright RGB of the depth that the file holds, and back with its alpha, profile and EXIF.

Pillow decodes; of 16-bit colour, which it cuts to 8 bits, it only checks that the file is whole, and OpenCV decodes.
"""
from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from data.exif import read_exif
from data.photo_encoding import EncodingError, encode

PHOTO_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")  # compared in lower case
MAX_MEGAPIXELS = 120.0   # larger files are taken for decompression bombs
PILLOW_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
DEEP_TILES = (";16B", ";16L", ";16N")  # how Pillow spells 16 bits per channel that it is about to cut to 8
REDUCED_PAGE = 1                       # TIFF tag 254: the page is a smaller copy of another one


class PhotoError(ValueError):
    """A file that cannot be read or written as a photo; the message is the reason, without the file's name."""


@dataclass(frozen=True)
class Photo:
    """A photo, upright.

    pixels: (H, W, 3) RGB, uint8 or uint16 (full range); three equal channels where `gray`.
    alpha: (H, W) of the same type, or None. Colour is not multiplied by it.
    gray: the file holds one channel, and so will what is written.
    icc_profile, exif: blocks to carry over; exif already says orientation 1.
    dpi: print resolution. lossless: a WebP file without loss.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    gray: bool = False
    icc_profile: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    lossless: bool = False


def is_photo(path: Path) -> bool:
    """Whether the name says a photo that can be read; hidden files (`._x.jpg` of a Mac) are none."""
    return path.suffix.lower() in PHOTO_SUFFIXES and not path.name.startswith(".")


def read_photo(path: str | Path, max_megapixels: float = MAX_MEGAPIXELS) -> Photo:
    """Decode a picture file. The content decides on the format, not the name.

    Raises PhotoError with the reason: unreadable, not a picture, damaged, animated, too large, of an unsupported kind.
    """
    try:
        data = Path(path).read_bytes()
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
            deep = _is_deep(image)
            planar = getattr(image, "tag_v2", {}).get(284) == 2
            image.load()
            return _decode_deep(image, data, planar) if deep else _decode_shallow(image, data)
    except PhotoError:
        raise
    except Image.DecompressionBombError:
        raise PhotoError(f"its header announces more pixels than a photo has; the limit is {max_megapixels:g} "
                         "megapixels") from None
    except Image.UnidentifiedImageError:
        raise PhotoError(f"not a picture in a known format ({', '.join(PILLOW_FORMATS)}), or its header is "
                         "damaged") from None
    except MemoryError:
        raise PhotoError("there is not enough memory to decode it") from None
    except Exception as error:  # decoders raise whatever damaged bytes lead them to, SyntaxError and struct.error too
        raise PhotoError(f"damaged: {str(error).strip() or type(error).__name__}") from None


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
    temporary = path.with_name(f".{path.stem[:40]}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def to_8_bit(pixels: np.ndarray) -> np.ndarray:
    """uint16 -> uint8, to nearest; uint8 as it is."""
    return pixels if pixels.dtype == np.uint8 else ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def side_by_side(left: Photo, right: Photo) -> Photo:
    """One picture of two of equal size; metadata of neither, colour profile of the right."""
    pixels = np.concatenate([left.pixels, right.pixels], axis=1)
    alpha = None
    if left.alpha is not None and right.alpha is not None:
        alpha = np.concatenate([left.alpha, right.alpha], axis=1)
    return Photo(pixels, alpha, left.gray and right.gray, right.icc_profile, lossless=right.lossless)


# --- decoding ---

def _check_header(image: Image.Image, max_megapixels: float) -> None:
    width, height = image.size
    if width * height > max_megapixels * 1e6:
        raise PhotoError(f"{width}x{height} is {width * height / 1e6:.1f} megapixels; the limit is {max_megapixels:g}")
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


def _is_deep(image: Image.Image) -> bool:
    """Whether the file holds 16 bits per channel."""
    if image.mode.startswith("I;16"):
        return True
    if image.format == "TIFF" and image.mode != "CMYK":
        return image.tag_v2.get(258, (8,))[0] == 16  # type: ignore[attr-defined]
    arguments = image.tile[0][3] if image.tile else None
    mode = arguments if isinstance(arguments, str) else ""
    return image.format == "PNG" and mode.endswith(DEEP_TILES)


def _decode_shallow(image: Image.Image, data: bytes) -> Photo:
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


def _decode_deep(image: Image.Image, data: bytes, planar: bool) -> Photo:
    """16 bits per channel. `image` is loaded: Pillow found the file whole (OpenCV fills what is missing with black)."""
    orientation, exif = read_exif(image)
    kept = {"icc_profile": image.info.get("icc_profile"), "exif": exif, "dpi": _read_dpi(image)}
    tags = getattr(image, "tag_v2", {})
    if image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint16)
        if tags.get(262) == 0:  # TIFF: white is zero
            values = 65535 - values
        return _photo(np.repeat(values[..., None], 3, axis=2), None, orientation, gray=True, **kept)
    if planar:
        raise PhotoError("16-bit TIFF with separate colour planes is not supported; save it with interleaved channels")
    import cv2  # only here: 8-bit photos do not pay for the import

    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or values.ndim != 3 or values.shape[2] not in (3, 4):
        raise PhotoError(f"a 16-bit {image.format} of a kind that OpenCV cannot decode")
    pixels, alpha = values[..., 2::-1], values[..., 3] if values.shape[2] == 4 else None
    if alpha is not None and 1 in tags.get(338, ()):  # TIFF: colour is multiplied by alpha
        scale = np.maximum(alpha, 1)[..., None]
        pixels = np.minimum(np.round(pixels * (65535.0 / scale)), 65535).astype(np.uint16)
    gray = image.format == "PNG" and data[25] in (0, 4)
    # OpenCV turns TIFF files upright by itself, as Pillow does on loading; the orientation read after that is 1.
    return _photo(pixels, alpha, orientation, gray=gray, **kept)


def _photo(pixels: np.ndarray, alpha: np.ndarray | None, orientation: int, **kept) -> Photo:
    pixels = np.ascontiguousarray(upright(pixels, orientation))
    return Photo(pixels, None if alpha is None else np.ascontiguousarray(upright(alpha, orientation)), **kept)


def upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """Stored (H, W, ...) -> as the camera was held; orientation 1..8 as in EXIF (a view, nothing is copied)."""
    if orientation >= 5:
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return values


def _to_srgb(image: Image.Image, icc_profile: bytes | None) -> Image.Image:
    """CMYK or Lab -> RGB by the file's profile, or by the plain formula without one."""
    with contextlib.suppress(ImageCms.PyCMSError, OSError, TypeError):
        if icc_profile or image.mode == "LAB":
            source = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile)) if icc_profile else ImageCms.createProfile("LAB")
            return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    return image.convert("RGB")


def _read_dpi(image: Image.Image) -> tuple[float, float] | None:
    dpi: Sequence[float] = image.info.get("dpi", ())
    try:
        values = tuple(float(v) for v in dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return values if len(values) == 2 and all(1 <= v < 1e5 for v in values) else None  # type: ignore[return-value]
