"""A photo file as 8-bit RGB pixels, upright, as training wants it: fast, and strict about damaged files."""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torchvision.io import ImageReadMode, decode_jpeg

from data.photos import DataError

JPEG_START = b"\xff\xd8\xff"


class BrokenPhotoError(DataError):
    """A photo file that cannot be read; the message names it and the reason."""


def decode_photo(path: Path) -> np.ndarray:
    """uint8 (H, W, 3) RGB, turned upright by its EXIF orientation; grey, CMYK, alpha and 16-bit files are converted.

    Raises BrokenPhotoError for files that are missing, cut off or no picture.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BrokenPhotoError(f"{path} cannot be read: {error.strerror or error}") from None
    pixels = _decode_jpeg(content, path) if content.startswith(JPEG_START) else _decode_other(content, path)
    return np.ascontiguousarray(pixels)


def _decode_jpeg(content: bytes, path: Path) -> np.ndarray:
    """torchvision's libjpeg-turbo: the fastest of the installed decoders, and it refuses files that are cut off."""
    data = torch.from_numpy(np.frombuffer(bytearray(content), dtype=np.uint8))
    try:
        pixels = decode_jpeg(data, mode=ImageReadMode.RGB, apply_exif_orientation=True)  # (3, H, W)
    except RuntimeError as error:
        raise BrokenPhotoError(f"{path} is a damaged JPEG file: {_reason(error)}") from None
    return pixels.permute(1, 2, 0).numpy()


def _decode_other(content: bytes, path: Path) -> np.ndarray:
    if not content:
        raise BrokenPhotoError(f"{path} is an empty file")
    try:
        pixels = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_COLOR)  # BGR, 8-bit, EXIF applied
    except cv2.error as error:
        raise BrokenPhotoError(f"{path} cannot be decoded: {_reason(error)}") from None
    if pixels is None:
        raise BrokenPhotoError(f"{path} is damaged or no picture that OpenCV knows")
    return pixels[:, :, ::-1]


def _reason(error: Exception) -> str:
    """The first line of a library's message, without the place in its source."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rsplit("): ", 1)[-1][:200]
