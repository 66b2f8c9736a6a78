"""Photos as the bytes of a file: what each format can hold, and which library writes it."""
from __future__ import annotations

from dataclasses import replace

import numpy as np

from data.files.colour import from_srgb
from data.files.kinds import FORMATS, HOLDS_16_BIT, HOLDS_ALPHA, HOLDS_GRAY, HOLDS_PROFILE, LONGEST_SIDE
from data.files.metadata import MAKER_NOTE, clean_xmp, upright_exif
from data.files.photo import LUMA, Photo, PhotoError, in_depth, to_8_bit

QUALITY = {"JPEG": 95, "WEBP": 95, "AVIF": 90, "HEIC": 90}  # of 100
LARGEST_BLOCK = 65000                    # bytes of EXIF that libvips writes, and of XMP that a JPEG file holds


def encode(photo: Photo, suffix: str, quality: int | None = None) -> bytes:
    """The file of `photo` in the format of `suffix` (".png", ..). Raises PhotoError with the reason.

    quality: 1 to 100, of formats with loss; None: 95 for JPEG and WebP, 90 for AVIF and HEIC. Colour is not subsampled.
    """
    if suffix not in FORMATS:
        raise PhotoError(f"no format is known for the suffix {suffix!r}; known: {', '.join(FORMATS)}")
    if photo.pixels.dtype not in (np.uint8, np.uint16):
        raise PhotoError(f"pixels of {photo.pixels.dtype}; expected uint8 or uint16. Turn those in [0, 1] into 8 bits by "
                         "(pixels * 255).round().astype(np.uint8)")
    kind = FORMATS[suffix]
    longest = max(photo.pixels.shape[:2])
    if longest > LONGEST_SIDE.get(kind, longest):
        raise PhotoError(f"a side of {longest} pixels; {kind} holds at most {LONGEST_SIDE[kind]}")
    photo = in_own_space(photo, kind)
    values = channels(photo, kind)
    profile = photo.icc_profile if _profile_fits(photo.icc_profile, values.shape[2]) else None
    photo = replace(photo, xmp=clean_xmp(photo.xmp))
    if kind == "TIFF":
        from data.files.tiff import write_tiff

        return write_tiff(values, photo, profile)
    if kind == "BMP":
        from data.files.pillow import write_pillow

        return write_pillow(values, kind, photo.dpi)
    quality = quality or QUALITY.get(kind, 100)
    if kind == "HEIC":
        from data.files.heif import write_heif

        return write_heif(values, photo, profile, quality)
    from data.files.vips import write_vips

    return write_vips(values, fitting(photo, kind)[0], kind, profile, quality)


def in_own_space(photo: Photo, kind: str) -> Photo:
    """The photo with pixels in the space of its profile; in sRGB, without profile, where the format does not hold that."""
    if photo.own_pixels is None:
        return photo
    if kind not in HOLDS_PROFILE or (photo.own_pixels.shape[2] == 1 and kind not in HOLDS_GRAY):
        return in_depth(photo)
    return replace(photo, pixels=from_srgb(photo), own_pixels=None)


def fitting(photo: Photo, kind: str) -> tuple[Photo, list[str]]:
    """The photo with what of its metadata the format can hold, and a line for each part that is left out for its size."""
    notes: list[str] = []
    if kind in ("JPEG", "PNG", "WEBP", "AVIF") and photo.exif and len(photo.exif) > LARGEST_BLOCK:
        height, width = photo.pixels.shape[:2]
        smaller = upright_exif(photo.exif, width, height, without=(MAKER_NOTE,))
        block = smaller.tobytes() if smaller else b""
        found = f"its EXIF of {len(photo.exif) / 1000:.0f} kB does not fit into a {kind} file"
        if block and len(block) <= LARGEST_BLOCK:
            photo, note = replace(photo, exif=block), "the maker's own notes are left out"
        else:
            photo, note = replace(photo, exif=None), "it is left out"
        notes.append(f"{found}: {note} (TIFF and HEIC hold it)")
    if kind == "JPEG" and photo.xmp and len(photo.xmp) > LARGEST_BLOCK:
        notes.append(f"its XMP of {len(photo.xmp) / 1000:.0f} kB does not fit into a JPEG file and is left out")
        photo = replace(photo, xmp=None)
    return photo, notes


def channels(photo: Photo, kind: str) -> np.ndarray:
    """(H, W, 1..4) as format `kind` holds it: gray, gray and alpha, RGB, RGBA; uint8, or uint16 where it can."""
    pixels, alpha = photo.pixels, photo.alpha
    if pixels.dtype == np.uint16 and kind not in HOLDS_16_BIT:
        pixels, alpha = to_8_bit(pixels), None if alpha is None else to_8_bit(alpha)
    no_reader = alpha is not None and (kind == "BMP" or (kind == "TIFF" and pixels.dtype == np.uint16))  # of gray with alpha
    if photo.gray and kind in HOLDS_GRAY and not no_reader:
        pixels = np.round(pixels @ LUMA).astype(pixels.dtype)[..., None]
    if alpha is not None and kind not in HOLDS_ALPHA:
        top = np.iinfo(pixels.dtype).max
        share = alpha[..., None] / top
        pixels, alpha = np.round(pixels * share + top * (1 - share)).astype(pixels.dtype), None
    return pixels if alpha is None else np.concatenate([pixels, alpha[..., None]], axis=2)


def _profile_fits(profile: bytes | None, count: int) -> bool:
    """Whether an ICC profile is one of this many channels (its colour space stands at byte 16)."""
    return bool(profile) and profile[16:20] == (b"GRAY" if count <= 2 else b"RGB ")  # type: ignore[index]
