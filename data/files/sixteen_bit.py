"""Pictures of 16 bits per channel. Pillow cuts their colours to 8 bits, so OpenCV decodes those; but OpenCV fills what is
missing of a damaged file with black, so Pillow must have loaded the file without complaint before."""
from __future__ import annotations

import struct
import zlib

import numpy as np
from PIL import Image

from data.files.photo import INCOMPLETE, PhotoError

TILE_MODES = (";16B", ";16L", ";16N")      # endings of what Pillow calls pixels of 16 bits that it is about to cut
PNG_COLOUR_TYPE, PNG_GRAY_ALPHA = 25, 4    # offset in the file, and a value
BITS, PHOTOMETRIC, PLANAR, EXTRA_SAMPLES = 258, 262, 284, 338  # TIFF tags
WHITE_IS_ZERO, SEPARATE_PLANES, MULTIPLIED_ALPHA = 0, 2, 1     # and values of theirs
INFLATED_AT_ONCE = 1 << 22                 # bytes


def is_sixteen_bit(image: Image.Image) -> bool:
    """Whether the file behind a Pillow image that is not loaded yet holds 16 bits per channel."""
    if image.mode.startswith("I;16"):
        return True
    if image.format == "TIFF" and image.mode != "CMYK":
        return image.tag_v2.get(BITS, (8,))[0] == 16  # type: ignore[attr-defined]
    tiles = getattr(image, "tile", [])
    mode = tiles[0][3] if tiles else None
    return image.format == "PNG" and isinstance(mode, str) and mode.endswith(TILE_MODES)


def read_gray(image: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """A loaded image of one 16-bit channel -> three equal channels (H, W, 3) and alpha (H, W) or None, uint16."""
    values = np.asarray(image).astype(np.uint16)
    if getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == WHITE_IS_ZERO:
        values = 65535 - values
    see_through = image.info.get("transparency")  # of a PNG: one value that stands for "nothing here"
    alpha = np.where(values == see_through, 0, 65535).astype(np.uint16) if isinstance(see_through, int) else None
    return np.repeat(values[..., None], 3, axis=2), alpha


def read_colour(image: Image.Image, data: bytes) -> tuple[np.ndarray, np.ndarray | None]:
    """RGB (H, W, 3) and alpha (H, W) or None, uint16, of the file `data`, which `image` has loaded. Raises PhotoError."""
    import cv2  # only here: 8-bit photos do not pay for the import

    tags = getattr(image, "tag_v2", {})
    if tags.get(PLANAR) == SEPARATE_PLANES:
        raise PhotoError("16-bit TIFF with separate colour planes is not supported; save it with interleaved channels")
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or values.ndim != 3 or values.shape[2] not in (3, 4):
        raise PhotoError(f"a 16-bit {image.format} of a kind that OpenCV cannot decode")
    pixels, alpha = values[..., 2::-1], values[..., 3] if values.shape[2] == 4 else None
    if alpha is not None and MULTIPLIED_ALPHA in tags.get(EXTRA_SAMPLES, ()):
        pixels = np.minimum(np.round(pixels * (65535.0 / np.maximum(alpha, 1)[..., None])), 65535).astype(np.uint16)
    return pixels, alpha


def check_png(data: bytes) -> None:
    """Check the checksums, which Pillow passes over and OpenCV's libpng complains about on the terminal."""
    position, inflate = 8, zlib.decompressobj()
    while position + 12 <= len(data):
        length, name = struct.unpack_from(">L4s", data, position)
        end = position + 8 + length
        if end + 4 > len(data):
            break
        if data[end : end + 4] != struct.pack(">L", zlib.crc32(data[position + 4 : end])):
            raise PhotoError(f"damaged: wrong checksum of the part {name.decode('ascii', 'replace')!r}")
        if name == b"IDAT":
            _inflate(inflate, data[position + 8 : end])
        position = end + 4
        if name == b"IEND" and inflate.eof:
            return
    raise PhotoError(INCOMPLETE)


def _inflate(inflate, part: bytes) -> None:
    """Go through compressed bytes for their checksum, in bounded memory."""
    try:
        while part:
            inflate.decompress(part, INFLATED_AT_ONCE)
            part = inflate.unconsumed_tail
    except zlib.error as error:
        raise PhotoError(f"damaged: its pixels cannot be decompressed: {error}") from None
