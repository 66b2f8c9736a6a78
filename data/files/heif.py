"""HEIC and HEIF, the files of phones, through pillow-heif (libheif)."""
from __future__ import annotations

import io
from typing import Any

import numpy as np

from data.files.colour import profile_of_codes
from data.files.kinds import check_size, is_cut_off
from data.files.metadata import EXIF_PREFIX, upright_exif
from data.files.photo import INCOMPLETE, Photo, PhotoError, divided_by_alpha, full_range
from data.files.vips import from_channels

SPEED = {"preset": "ultrafast"}  # of x265: at the same size the same PSNR as "slow", in an eighth of its time
# libde265 reads no piece of more than 16 MB, and a sharp photo of 20 megapixels is larger as a whole: it is written in tiles of
# such a side, as phones do. With alpha pillow-heif makes it one piece; x265 could divide it, but its slices crash.
TILE, LARGEST_PIECE = 512, 1 << 24
TILE_SPEED = {"x265:ctu": "16"}  # 40 % faster, files 3 % larger; large pieces must not have such small blocks (H.265, A.4.1)


def read_heif(data: bytes, max_megapixels: float) -> Photo:
    """The main picture of the file, turned as the file says, in its own colours; 10 and 12 bits become 16.

    Depth maps, gain maps and further pictures stay behind. Raises PhotoError with the reason.
    """
    import pillow_heif

    try:
        image = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False, bgr_mode=False)
        check_size(*image.size, max_megapixels)
        info: dict[str, Any] = image.info
        values = np.asarray(image).reshape(image.size[1], image.size[0], -1)
    except PhotoError:
        raise
    except Exception as error:  # libheif's reasons come as several types
        raise PhotoError(f"a HEIC file; {INCOMPLETE if is_cut_off(data, 'HEIC') else f'damaged: {error}'}") from None
    bits = info.get("bit_depth", 8)
    if values.dtype == np.uint16 and bits in (10, 12):
        values = full_range(values >> 16 - bits, bits)
    if image.mode.startswith("RGBa"):
        values = divided_by_alpha(values)
    codes, exif = info.get("nclx_profile"), info.get("exif")
    profile = info.get("icc_profile")
    if not profile and codes:
        profile = profile_of_codes(int(codes["color_primaries"]), int(codes["transfer_characteristics"]))
    if exif and not exif.startswith(EXIF_PREFIX):
        exif = EXIF_PREFIX + exif
    return from_channels(values, 1, icc_profile=profile, exif=exif or None, xmp=info.get("xmp") or None)


def write_heif(values: np.ndarray, photo: Photo, profile: bytes | None, quality: int) -> bytes:
    """The HEIC file of (H, W, 3 or 4) uint8, or uint16 of which 10 bits stay, with the metadata of `photo`."""
    import pillow_heif

    height, width, count = values.shape
    mode = ("RGB" if count == 3 else "RGBA") + (";16" if values.dtype == np.uint16 else "")
    exif = upright_exif(photo.exif, width, height)
    file = io.BytesIO()
    try:
        pillow_heif.encode(mode, (width, height), np.ascontiguousarray(values).tobytes(), file, quality=quality, chroma=444,
                           exif=exif.tobytes() if exif else None, xmp=photo.xmp, icc_profile=profile,
                           icc_profile_type="prof" if profile else "", tile_size=TILE,
                           enc_params=SPEED if count == 4 else SPEED | TILE_SPEED)
    except Exception as error:  # as above
        raise PhotoError(f"HEIC cannot be written: {error}") from None
    data = file.getvalue()
    if count == 4 and len(data) > LARGEST_PIECE:
        try:
            read_heif(data, width * height)
        except PhotoError:
            raise PhotoError(f"{len(data) / 1e6:.0f} MB with transparency are more than readers of HEIC take in one piece; use "
                             "another --output_format, png for one, or a lower --quality") from None
    return data
