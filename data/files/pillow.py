"""BMP and JPEG 2000, and TIFF of colours that are rare, through Pillow."""
from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms

from data.files.kinds import check_size
from data.files.photo import Photo, PhotoError
from data.files.vips import from_channels

FORMATS = {"BMP": ["BMP"], "JPEG 2000": ["JPEG2000"], "TIFF": ["TIFF"]}


def from_pillow(data: bytes, kind: str, max_megapixels: float) -> Photo:
    """The photo in the bytes of a file. Raises PhotoError, or what Pillow makes of damaged bytes."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS[kind]) as image:
            check_size(*image.size, max_megapixels)
            if image.mode in ("I", "F"):
                raise PhotoError("32 bits per channel are not supported; save it with 8 or 16 bits")
            profile, dpi = image.info.get("icc_profile"), image.info.get("dpi")
            values = _jpeg_2000(data) if kind == "JPEG 2000" else _channels(image)
            if image.mode == "LAB":  # sRGB by now
                profile = None
    except Image.DecompressionBombError:
        raise PhotoError("its header announces more pixels than a photo has; see --max_megapixels") from None
    return from_channels(values, 1, icc_profile=profile, dpi=tuple(map(float, dpi)) if dpi and min(dpi) >= 1 else None)


def write_pillow(values: np.ndarray, kind: str, dpi: tuple[float, float] | None) -> bytes:
    """The BMP file of (H, W, 1 or 3) uint8."""
    file = io.BytesIO()
    options = {"dpi": dpi} if dpi else {}
    Image.fromarray(values[..., 0] if values.shape[2] == 1 else values).save(file, kind, **options)
    return file.getvalue()


def _channels(image: Image.Image) -> np.ndarray:
    """(H, W, 1, 3 or 4) uint8. An alpha of nothing but zeros is none: such BMP files hold a fourth byte that nobody set."""
    image.load()
    if image.mode == "LAB":
        image = ImageCms.profileToProfile(image, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"),
                                          outputMode="RGB") or image
    if image.has_transparency_data:
        values = np.asarray(image.convert("RGBA"))
        return values if values[..., 3].any() else values[..., :3]
    gray = image.mode in ("1", "L")
    return np.asarray(image.convert("L" if gray else "RGB")).reshape(image.height, image.width, -1)


def _jpeg_2000(data: bytes) -> np.ndarray:
    """(H, W, 1..4), uint8 or uint16: Pillow cuts colours to 8 bits."""
    import imagecodecs

    values = imagecodecs.jpeg2k_decode(data)
    values = values.reshape(*values.shape[:2], -1)
    if values.dtype not in (np.uint8, np.uint16) or values.shape[2] > 4:
        raise PhotoError(f"a JPEG 2000 of {values.shape[2]} channels of {values.dtype} is not supported")
    return values
