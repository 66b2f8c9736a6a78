"""Raw files of cameras through rawpy (LibRaw): the camera's white balance and colours, sRGB, 16 bits."""
from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from data.files.kinds import check_size
from data.files.metadata import EXIF_IFD, descriptive, exif_of_tiff
from data.files.photo import INCOMPLETE, Photo, PhotoError

SLACK = 4096                 # bytes that some cameras count too many
SRGB_CURVE = (2.4, 12.92)    # power and slope at the dark end, as LibRaw wants them


def develop(data: bytes, max_megapixels: float) -> Photo:
    """The photo of a raw file, upright, (H, W, 3) uint16 in sRGB; not brightened: that is the network's work.

    Raises PhotoError with the reason, for a camera that LibRaw does not know, for one.
    """
    import rawpy

    if _is_cut_off(data):
        raise PhotoError(INCOMPLETE)
    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            check_size(raw.sizes.width, raw.sizes.height, max_megapixels)
            pixels = raw.postprocess(use_camera_wb=True, no_auto_bright=True, adjust_maximum_thr=0.0, output_bps=16,
                                     gamma=SRGB_CURVE, output_color=rawpy.ColorSpace.sRGB)
            exif = exif_of_tiff(data) or _exif_of_preview(raw)
    except rawpy.LibRawFileUnsupportedError:
        raise PhotoError("a camera's raw file of a kind that LibRaw does not know (a newer camera, or a damaged header); "
                         "convert it to DNG") from None
    except rawpy.LibRawIOError:
        raise PhotoError(INCOMPLETE) from None
    except rawpy.LibRawError as error:
        reason = error.args[0] if error.args else error
        reason = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else reason
        raise PhotoError(f"a camera's raw file that LibRaw cannot develop: {reason}") from None
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        pixels = np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)
    return Photo(np.ascontiguousarray(pixels[..., :3]), exif=exif)


def _exif_of_preview(raw: Any) -> bytes | None:
    """Of a raw file that is not built like TIFF (Canon's CR3, Fujifilm's RAF): what its JPEG preview says, be it the camera's
    own or what LibRaw puts there of maker, model, date and exposure. None without one, or damaged."""
    try:
        with Image.open(io.BytesIO(raw.extract_thumb().data), formats=["JPEG"]) as preview:
            found = descriptive(preview.getexif())
    except Exception:  # LibRaw without a preview, one that is no JPEG, damaged EXIF
        return None
    for directory in (found, found.get(EXIF_IFD, {})):
        for tag in [tag for tag, value in directory.items() if not value]:  # LibRaw's word for unknown
            del directory[tag]
    return found.tobytes()


def _is_cut_off(data: bytes) -> bool:
    """Whether pixels lie behind the end of the file, of raw files that are built like TIFF: LibRaw makes them black."""
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            pages = [below for page in file.pages for below in (page, *(page.pages or ()))]
            return any(offset > 0 and offset + count > len(data) + SLACK for page in pages
                       for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False))
    except Exception:  # no TIFF, or one that tifffile does not know: LibRaw's to say
        return False
