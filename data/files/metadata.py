"""What stands in a photo beside its pixels: EXIF, XMP and IPTC blocks. Libraries read and write them; here is chosen what
still holds of a picture that was turned upright and enhanced. A gain map belongs to the dark picture: what speaks of it goes.
"""
from __future__ import annotations

import io
import re
from typing import Any, Literal
from xml.etree import ElementTree

from PIL import Image, TiffImagePlugin

EXIF_PREFIX = b"Exif\0\0"
ORIENTATION, EXIF_IFD, GPS_IFD, MAKER_NOTE, PIXEL_X, PIXEL_Y = 0x0112, 0x8769, 0x8825, 0x927C, 0xA002, 0xA003
INTEROP_IFD = 0xA005

# Tags of a TIFF's first directory that describe the photo; the others there describe how its pixels were stored.
DESCRIPTIVE_TAGS = frozenset({
    0x010E, 0x010F, 0x0110, ORIENTATION, 0x0131, 0x0132, 0x013B, 0x013C,  # description, make, model, software, date, ..
    0x4746, 0x4749, 0x8298, EXIF_IFD, GPS_IFD,                            # rating, copyright, exposure, position
    0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F,                               # title, comment, author, keywords, subject
})

# Namespaces of XMP that describe a gain map or other pictures and films behind the first one (Ultra HDR 1.1; Apple).
GAIN_MAP_SPACES = ("http://ns.adobe.com/hdr-gain-map/1.0/", "http://ns.apple.com/HDRGainMap/1.0/",
                   "http://ns.google.com/photos/1.0/container/", "http://ns.google.com/photos/1.0/camera/")
# Single properties that no longer hold: how the pixels were stored, their thumbnail, further packets.
STALE = re.compile(r"\{http://ns\.adobe\.com/(tiff/1\.0/\}(Orientation|Image(Width|Length))|exif/1\.0/\}Pixel[XY]Dimension|"
                   r"xap/1\.0/\}Thumbnails|xmp/note/\}HasExtendedXMP)$")
XPACKET = b"<?xpacket begin='\xef\xbb\xbf' id='W5M0MpCehiHzreSzNTczkc9d'?>"  # what every packet starts with

PHOTOSHOP, RESOURCE, IPTC_RECORDS = b"Photoshop 3.0\0", b"8BIM", 0x0404


def upright_exif(block: bytes | None, width: int, height: int, *, without: tuple[int, ...] = ()) -> Image.Exif | None:
    """The entries of an EXIF block, of an upright picture of the given size, without thumbnail and the tags `without`.

    None where there is none, or where it is damaged beyond reading.
    """
    if not block:
        return None
    try:
        found = Image.Exif()
        found.load(block)
        kept = descriptive(found)
        kept[ORIENTATION] = 1
        details = kept.get(EXIF_IFD, {})
        for tag, size in ((PIXEL_X, width), (PIXEL_Y, height)):
            if tag in details:
                details[tag] = size
        for tag in without:
            details.pop(tag, None)
        kept.tobytes()
        return kept
    except Exception:  # Pillow's parser and writer raise whatever damaged values lead them to
        return None


def without_thumbnail(block: bytes) -> bytes:
    """An EXIF block whose first directory is its last one: the second describes the thumbnail, which shows the dark photo."""
    order: Literal["little", "big"] = "little" if block[6:8] == b"II" else "big"
    first = 6 + int.from_bytes(block[10:14], order)
    following = first + 2 + 12 * int.from_bytes(block[first : first + 2], order)
    return block if following + 4 > len(block) else block[:following] + bytes(4) + block[following + 4 :]


class _Text(str):
    """A text of EXIF, whose bytes Pillow takes for Latin-1 in reading and makes ASCII in writing, with ? for the rest: they
    stay as they were, UTF-8 as a rule."""

    def encode(self, encoding: str = "", errors: str = "") -> bytes:
        return super().encode("latin-1", "replace")


def descriptive(exif: Image.Exif) -> Image.Exif:
    """The tags that say something about the photo, with the exposure and position directories."""
    kept = Image.Exif()
    for tag in DESCRIPTIVE_TAGS & set(exif):
        kept[tag] = _directory(exif, tag) if tag in (EXIF_IFD, GPS_IFD) else _own_bytes(exif[tag])
    return kept


def _directory(exif: Image.Exif, tag: int) -> dict[int, Any]:
    entries = {entry: _own_bytes(value) for entry, value in exif.get_ifd(tag).items()}
    if INTEROP_IFD in entries:  # where it stood in the file, which says nothing in another one
        entries[INTEROP_IFD] = exif.get_ifd(INTEROP_IFD)
    return entries


def _own_bytes(value: Any) -> Any:
    return _Text(value) if isinstance(value, str) else value


def exif_of_tiff(data: bytes) -> bytes | None:
    """The EXIF block of a TIFF file, or of a camera's raw file that is built like one; None without (or damaged)."""
    try:
        found = Image.Exif()
        found.load(data)
        kept = descriptive(found)
        return kept.tobytes() if set(kept) - {ORIENTATION} else None
    except Exception:  # as above
        return None


def tiff_directory(entries: dict[int, Any], offset: int) -> bytes:
    """The bytes of a TIFF directory that will stand at `offset` of a little-endian file."""
    directory = TiffImagePlugin.ImageFileDirectory_v2(b"II\x2a\0\0\0\0\0")
    for tag, value in entries.items():
        directory[tag] = value
    return directory.tobytes(offset)


def clean_xmp(packet: bytes | None) -> bytes | None:
    """An XMP packet without what no longer holds: gain maps, orientation, sizes, thumbnails. None where it is damaged."""
    if not packet:
        return None
    try:
        for _, (prefix, uri) in ElementTree.iterparse(io.BytesIO(packet), ["start-ns"]):
            if not re.fullmatch(r"ns\d+|", prefix):  # ElementTree keeps such names for itself
                ElementTree.register_namespace(prefix, uri)
        root = ElementTree.fromstring(packet)
    except (ElementTree.ParseError, ValueError, LookupError):
        return None
    stale = 0
    for element in root.iter():
        for name in [name for name in element.attrib if _is_stale(name)]:
            del element.attrib[name]
            stale += 1
        for child in [child for child in element if _is_stale(child.tag)]:
            element.remove(child)
            stale += 1
    if not stale:
        return packet
    return XPACKET + ElementTree.tostring(root) + b"<?xpacket end='w'?>"


def _is_stale(name: Any) -> bool:
    return isinstance(name, str) and (name[1:].startswith(GAIN_MAP_SPACES) or STALE.match(name) is not None)


def iptc_records(resources: bytes) -> bytes | None:
    """The IPTC records among Photoshop's image resources, as a JPEG file has them; the thumbnail there is left behind."""
    at = len(PHOTOSHOP) if resources.startswith(PHOTOSHOP) else 0
    while resources[at : at + 4] == RESOURCE:
        code = int.from_bytes(resources[at + 4 : at + 6], "big")
        start = at + 6 + (resources[at + 6] // 2 + 1) * 2 + 4 if at + 6 < len(resources) else len(resources)
        size = int.from_bytes(resources[start - 4 : start], "big")
        if code == IPTC_RECORDS:
            return resources[start : start + size] or None
        at = start + size + size % 2
    return None


def iptc_resources(records: bytes) -> bytes:
    """IPTC records as a JPEG file has them."""
    size = len(records).to_bytes(4, "big")
    return PHOTOSHOP + RESOURCE + IPTC_RECORDS.to_bytes(2, "big") + b"\0\0" + size + records + b"\0" * (len(records) % 2)
