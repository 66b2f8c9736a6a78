"""JPEG, PNG, WebP and AVIF through libvips, which reads and writes pixels of 8 and 16 bits, profiles, EXIF, XMP and IPTC.

It reads strictly (a cut file or a wrong checksum of pixels is an error, an odd text is not) and within bounded memory.
"""
from __future__ import annotations

import functools
import io
import logging
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from data.files.colour import SRGB_PRIMARIES, make_profile, profile_of_codes, srgb_of_inks
from data.files.jpeg import whole_jpeg
from data.files.kinds import check_size, is_cut_off
from data.files.metadata import EXIF_PREFIX, iptc_records, iptc_resources, without_thumbnail
from data.files.photo import INCOMPLETE, Photo, PhotoError, divided_by_alpha, full_range, upright

LOADERS = {"JPEG": "jpegload_buffer", "PNG": "pngload_buffer", "WEBP": "webpload_buffer", "AVIF": "heifload_buffer"}
ONE_SEGMENT = 64000           # bytes of EXIF; more stand in several segments of a JPEG file
DEFAULT_DPI = 72.0            # where a photo says none (EXIF 2.32, XResolution)
INCH = 25.4                   # mm
REFERENCES = 200              # bytes of AVIF's item references, of which libvips does not tell
AVIF_EFFORT = 0               # of 0 to 9: at 2, a fifth of the speed for files 2 % smaller


@functools.cache
def libvips() -> Any:
    """pyvips, quiet, and keeping no photo in memory."""
    os.environ.setdefault("VIPS_WARNING", "0")
    import pyvips

    logging.getLogger("pyvips").setLevel(logging.CRITICAL)
    pyvips.cache_set_max(0)
    return pyvips


def read_vips(data: bytes, kind: str, max_megapixels: float) -> Photo:
    """The photo in the bytes of a file of `kind`, in its own colours. Raises PhotoError with the reason."""
    vips = libvips()
    if kind == "AVIF" and data[8:12] == b"avis":
        raise PhotoError("an animation (a sequence of pictures); expected a single picture")
    if kind == "JPEG":
        data = whole_jpeg(data, max_megapixels)
    try:
        image = getattr(vips.Image, LOADERS[kind])(data, fail_on="error")
        check_size(image.width, image.height, max_megapixels)
        header = dict(png_header(data)) if kind == "PNG" else {}
        frames = _field(image, "n-pages") if kind == "WEBP" else None
        frames = int.from_bytes(header[b"acTL"][:4], "big") if b"acTL" in header else frames
        if frames and frames > 1:
            raise PhotoError(f"an animation: {frames} frames; expected a single picture")
        values = image.numpy()
    except vips.Error as error:
        raise PhotoError(INCOMPLETE if is_cut_off(data, kind) else f"damaged: {_reason(error)}") from None
    values = values.reshape(image.height, image.width, -1)
    bits = _field(image, "bits-per-sample")
    if values.dtype == np.uint16 and kind == "AVIF" and bits in (10, 12):
        values = full_range(values >> 16 - bits, bits)  # libvips shifts them, which leaves white below 65535
    references = max(data.find(b"iref", 0, 4096), 0) if kind == "AVIF" else 0
    if values.shape[2] == 4 and references and b"prem" in data[references : references + REFERENCES]:
        values = divided_by_alpha(values)  # which is what such an item reference says (ISO/IEC 23008-12)
    turned = 1 if kind == "AVIF" else _field(image, "orientation") or 1
    profile = _field(image, "icc-profile-data")
    if kind in ("PNG", "AVIF") and (not profile or b"cICP" in header):  # cICP goes before a profile
        profile = coded_profile(data, header) or profile
    resolution = (image.xres * INCH, image.yres * INCH)
    return from_channels(
        values, turned if turned in range(1, 9) else 1, cmyk=image.interpretation == "cmyk", icc_profile=profile,
        exif=_exif(image, data, kind), xmp=_field(image, "xmp-data"),
        iptc=iptc_records(_field(image, "iptc-data") or b""), lossless=kind == "WEBP" and is_lossless_webp(data),
        dpi=resolution if image.xres != 1 and all(1 <= v < 1e5 for v in resolution) else None)


def write_vips(values: np.ndarray, photo: Photo, kind: str, profile: bytes | None, quality: int) -> bytes:
    """The file of (H, W, 1..4) uint8 or uint16 with the metadata of `photo`. Raises PhotoError with the reason."""
    vips = libvips()
    gray, deep = values.shape[2] <= 2, values.dtype == np.uint16
    space = ("grey16" if deep else "b-w") if gray else ("rgb16" if deep else "srgb")
    dpi = photo.dpi or (DEFAULT_DPI, DEFAULT_DPI)
    image = vips.Image.new_from_array(np.ascontiguousarray(values)).copy(
        interpretation=space, xres=dpi[0] / INCH, yres=dpi[1] / INCH)
    blocks = {"icc-profile-data": profile, "xmp-data": photo.xmp, "exif-data": photo.exif and without_thumbnail(photo.exif),
              "iptc-data": iptc_resources(photo.iptc) if photo.iptc else None}
    for name, block in blocks.items():
        if block:
            image.set_type(vips.GValue.blob_type, name, block)
    image.set_type(vips.GValue.gint_type, "orientation", 1)  # libvips sets this and the size in EXIF
    kept = vips.ForeignKeep
    keep = kept.XMP | kept.IPTC | kept.ICC | (kept.EXIF if photo.exif or (photo.dpi and kind == "JPEG") else 0)
    try:
        if kind == "JPEG":
            return image.jpegsave_buffer(Q=quality, subsample_mode="off", keep=keep)
        if kind == "PNG":
            return image.pngsave_buffer(compression=4, filter="sub" if deep else "all", keep=keep)
        if kind == "WEBP":
            return image.webpsave_buffer(Q=quality, lossless=photo.lossless, exact=True, keep=keep)
        return image.heifsave_buffer(compression="av1", Q=quality, effort=AVIF_EFFORT, subsample_mode="off",
                                     bitdepth=10 if deep else 8, keep=keep)
    except vips.Error as error:
        raise PhotoError(f"{kind} cannot be written: {_reason(error)}") from None


def from_channels(values: np.ndarray, orientation: int, *, cmyk: bool = False, icc_profile: bytes | None = None,
                  **kept: Any) -> Photo:
    """A photo of (H, W, 1..4) values as stored: gray, gray and alpha, RGB, RGBA, or the inks of CMYK."""
    if cmyk:
        values, icc_profile = srgb_of_inks(values[..., :4], icc_profile), None
    values = np.ascontiguousarray(upright(values, orientation))
    gray = values.shape[2] <= 2
    alpha = values[..., -1] if values.shape[2] in (2, 4) else None
    pixels = np.repeat(values[..., :1], 3, axis=2) if gray else values[..., :3]
    return Photo(np.ascontiguousarray(pixels), alpha, gray, icc_profile, **kept)


def is_lossless_webp(data: bytes) -> bool:
    """Whether the pixels of a WebP file are a lossless stream; other parts may stand before it."""
    return any(name == b"VP8L" for name, _ in webp_parts(data))


def webp_parts(data: bytes) -> Iterator[tuple[bytes, int]]:
    """(name, size) of the parts of a RIFF file."""
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        yield data[at : at + 4], size
        at += 8 + size + size % 2


def png_header(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(name, content) of the short chunks before a PNG file's pixels: those that libvips does not tell of."""
    at = 8
    while at + 12 <= len(data) and data[at + 4 : at + 8] != b"IDAT":
        size = int.from_bytes(data[at : at + 4], "big")
        if size <= 64:
            yield data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        at += 12 + size


def coded_profile(data: bytes, header: dict[bytes, bytes]) -> bytes | None:
    """A profile of the colour space that a file without one tells by numbers (PNG 3rd ed., sec. 11.3.2; AVIF's nclx box)."""
    at = data.find(b"colrnclx", 0, 4096) + 8 if not header else 0
    if at > 7:
        return profile_of_codes(int.from_bytes(data[at : at + 2], "big"), int.from_bytes(data[at + 2 : at + 4], "big"))
    if len(header.get(b"cICP", b"")) == 4:
        return profile_of_codes(*header[b"cICP"][:2])
    gamma = int.from_bytes(header.get(b"gAMA", b""), "big") / 100000
    if not gamma or b"sRGB" in header:
        return None
    points = header.get(b"cHRM", b"")
    numbers = [int.from_bytes(points[i : i + 4], "big") / 100000 for i in range(0, 32, 4)] if len(points) == 32 else []
    is_srgb = not numbers or np.abs(np.array(numbers[2:]) - np.array(SRGB_PRIMARIES)[[0, 1, 3, 4, 6, 7]]).max() < 2e-3
    if is_srgb and abs(gamma - 1 / 2.2) < 5e-3:   # what writers of sRGB pictures say for want of its curve
        return None
    if not numbers:
        return make_profile(SRGB_PRIMARIES, 1 / gamma)
    primaries = (*numbers[2:4], 1.0, *numbers[4:6], 1.0, *numbers[6:8], 1.0)
    return make_profile(primaries, 1 / gamma, (*numbers[:2], 1.0))


def _exif(image: Any, data: bytes, kind: str) -> bytes | None:
    block = _field(image, "exif-data")
    if block and kind == "JPEG" and len(block) > ONE_SEGMENT:  # libvips has the first of several segments only
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as opened:
            block = opened.info.get("exif", block)
    return block if not block or block.startswith(EXIF_PREFIX) else EXIF_PREFIX + block


def _field(image: Any, name: str) -> Any:
    return image.get(name) if image.get_typeof(name) else None


def _reason(error: Exception) -> str:
    """The last line of libvips' message that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
