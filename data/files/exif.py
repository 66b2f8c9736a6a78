"""EXIF of a photo that was turned upright and enhanced: what still holds is kept byte for byte, the rest is set right.

The block is patched in place instead of rebuilt, because makers' notes point into it by offset.
Layout: EXIF 2.32, sec. 4.6 (a TIFF header, then directories of 12-byte entries).
"""
from __future__ import annotations

import struct
from collections.abc import Iterator

from PIL import Image

PREFIX = b"Exif\x00\x00"
ORIENTATION, EXIF_IFD, GPS_IFD = 0x0112, 0x8769, 0x8825
PIXEL_X, PIXEL_Y = 0xA002, 0xA003
SHORT, LONG = 3, 4
TIFF_MAGIC = 42

# Tags of a TIFF's first directory that describe the photo; the others there describe how its pixels were stored.
DESCRIPTIVE_TAGS = frozenset({
    0x010E, 0x010F, 0x0110, ORIENTATION, 0x0131, 0x0132, 0x013B, 0x013C,  # description, make, model, software, date, ..
    0x4746, 0x4749, 0x8298, EXIF_IFD, GPS_IFD,                            # rating, copyright, exposure, position
    0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F,                               # title, comment, author, keywords, subject
})


def read_exif(image: Image.Image) -> tuple[int, bytes | None]:
    """(orientation 1..8, EXIF block of the upright picture or None) of a loaded Pillow image.

    A damaged block counts as none: it must not keep a photo from being read.
    """
    try:
        found = image.getexif()
        orientation = found.get(ORIENTATION, 1)
        orientation = orientation if orientation in range(1, 9) else 1
        if "exif" in image.info:
            raw = image.info["exif"]
        elif len(found):
            raw = descriptive(found).tobytes()
        else:
            return orientation, None
        width, height = image.size if orientation < 5 else image.size[::-1]
        return orientation, upright_exif(raw, width, height)
    except Exception:  # Pillow's parser raises whatever the damaged bytes lead it to
        return 1, None


def descriptive(exif: Image.Exif) -> Image.Exif:
    """The tags that say something about the photo, with the exposure and position directories."""
    kept = Image.Exif()
    for tag in DESCRIPTIVE_TAGS & set(exif):
        kept[tag] = exif.get_ifd(tag) if tag in (EXIF_IFD, GPS_IFD) else exif[tag]
    return kept


def upright_exif(raw: bytes, width: int, height: int) -> bytes | None:
    """`raw` for an upright picture of the given size: orientation 1, that size, no thumbnail (it shows the dark photo).

    Returns None where the block is damaged.
    """
    block = bytearray(raw.removeprefix(PREFIX))
    endian = {b"II": "<", b"MM": ">"}.get(bytes(block[:2]))
    if endian is None or len(block) < 8 or struct.unpack_from(endian + "H", block, 2)[0] != TIFF_MAGIC:
        return None
    try:
        first = struct.unpack_from(endian + "L", block, 4)[0]
        exif_ifd = None
        for tag, kind, where in _entries(block, endian, first):
            if tag == ORIENTATION:
                _put(block, endian, kind, where, 1)
            elif tag == EXIF_IFD:
                exif_ifd = struct.unpack_from(endian + "L", block, where)[0]
        count = struct.unpack_from(endian + "H", block, first)[0]
        struct.pack_into(endian + "L", block, first + 2 + 12 * count, 0)  # the thumbnail's directory: none
        for tag, kind, where in _entries(block, endian, exif_ifd) if exif_ifd else ():
            if tag in (PIXEL_X, PIXEL_Y):
                _put(block, endian, kind, where, width if tag == PIXEL_X else height)
    except struct.error:
        return None
    return PREFIX + bytes(block)


def _entries(block: bytearray, endian: str, directory: int) -> Iterator[tuple[int, int, int]]:
    """(tag, type, offset of the value field) of a directory."""
    for i in range(struct.unpack_from(endian + "H", block, directory)[0]):
        where = directory + 2 + 12 * i
        tag, kind = struct.unpack_from(endian + "HH", block, where)
        yield tag, kind, where + 8


def _put(block: bytearray, endian: str, kind: int, where: int, value: int) -> None:
    if kind == LONG or (kind == SHORT and value < 1 << 16):
        struct.pack_into(endian + ("L" if kind == LONG else "H"), block, where, value)
