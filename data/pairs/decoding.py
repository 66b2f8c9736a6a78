"""A photo file as 8-bit RGB pixels, upright, as training wants it: fast, and strict about damaged files."""
from __future__ import annotations

import io
import re
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from data.files.folders import read_file
from data.files.images import PhotoError, decode_photo, to_8_bit
from data.files.jpeg import whole_jpeg
from data.files.kinds import kind_of
from data.pairs.errors import DataError

JPEG_START = b"\xff\xd8\xff"
FAST = ("JPEG", "PNG", "WEBP", "BMP")  # what OpenCV decodes; other kinds take the way that enhancing takes
READ_MODE = getattr(cv2, "IMREAD_COLOR_RGB", cv2.IMREAD_COLOR)  # OpenCV before 4.11 decodes to BGR only
REDUCTIONS = (8, 4, 2)          # by which a JPEG file can be decoded smaller
REDUCE_FROM_BYTES = 200_000     # smaller JPEG files decode in milliseconds; looking at their header first would not pay
EXIF_ORIENTATION = 0x0112
PILLOW_ERRORS = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
SIDEWAYS = (5, 6, 7, 8)         # values of EXIF_ORIENTATION that swap width and height


class BrokenPhotoError(DataError):
    """A photo file that cannot be read; the message names it and the reason."""


class PhotoFile:
    """A photo whose size is known before its pixels are decoded, so that a large one need not be decoded in full.

    Raises BrokenPhotoError, here or from its methods, for files that are missing, cut off or no picture.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._content = read_file(path)
        except OSError as error:
            raise BrokenPhotoError(f"{path} cannot be read: {error.strerror or error}") from None
        self.is_jpeg = self._content.startswith(JPEG_START)
        self.is_reducible = self.is_jpeg and len(self._content) >= REDUCE_FROM_BYTES
        self._pixels = None if self.is_reducible else self._decode()
        self.size: tuple[int, int] = self._header_size() if self._pixels is None else self._pixels.shape[:2]

    def pixels(self, reduction: int = 1) -> np.ndarray:
        """uint8 (H, W, 3) RGB, turned upright by EXIF orientation; grey, CMYK, alpha and 16-bit files are converted.

        With `reduction` 2, 4 or 8, for a file that `is_reducible`, sides of ceil(size / reduction).
        """
        if reduction != 1:
            return self._decode_reduced(reduction)
        if self._pixels is None:
            self._pixels = self._decode()
        return self._pixels

    def _decode(self) -> np.ndarray:
        if not self._content:
            raise BrokenPhotoError(f"{self.path} is an empty file")
        try:
            if kind_of(self._content) not in FAST:
                return to_8_bit(decode_photo(self._content).pixels)
            if self.is_jpeg:  # older OpenCV fills up missing rows with grey
                self._content = whole_jpeg(self._content)
            pixels = cv2.imdecode(np.frombuffer(self._content, dtype=np.uint8), READ_MODE)  # 8-bit, upright
        except PhotoError as error:
            raise BrokenPhotoError(f"{self.path}: {error}") from None
        except cv2.error as error:
            raise BrokenPhotoError(f"{self.path} cannot be decoded: {_reason(error)}") from None
        if pixels is None:
            raise BrokenPhotoError(f"{self.path} is damaged, or no picture that OpenCV knows")
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels) if READ_MODE == cv2.IMREAD_COLOR else pixels

    def _decode_reduced(self, reduction: int) -> np.ndarray:
        """Fewer coefficients of each 8x8 block are transformed back: an exact low-pass, and most of the work saved."""
        try:
            with Image.open(io.BytesIO(self._content)) as image:
                image.draft("RGB", (max(image.width // reduction, 1), max(image.height // reduction, 1)))
                return np.array(ImageOps.exif_transpose(image).convert("RGB"))
        except PILLOW_ERRORS as error:
            raise BrokenPhotoError(f"{self.path} is a damaged JPEG file: {_reason(error)}") from None

    def _header_size(self) -> tuple[int, int]:
        """(height, width) of the upright photo."""
        try:
            with Image.open(io.BytesIO(self._content)) as image:
                width, height = image.size
                sideways = image.getexif().get(EXIF_ORIENTATION) in SIDEWAYS
        except PILLOW_ERRORS as error:
            raise BrokenPhotoError(f"{self.path} is a damaged JPEG file: {_reason(error)}") from None
        return (width, height) if sideways else (height, width)


def _reason(error: Exception) -> str:
    """The first line of a library's message, without the place in its source."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return re.sub(r"^.*\.cpp:\d+\W+", "", lines[0])[:200]
