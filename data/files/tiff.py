"""TIFF through tifffile, whose codecs (imagecodecs) know every compression that photos come in, of 1 to 16 bits."""
from __future__ import annotations

import io
import math
from typing import Any

import numpy as np

from data.files.kinds import check_size
from data.files.metadata import (
    DESCRIPTIVE_TAGS,
    EXIF_IFD,
    GPS_IFD,
    ORIENTATION,
    exif_of_tiff,
    iptc_records,
    tiff_directory,
    upright_exif,
)
from data.files.photo import INCOMPLETE, Photo, PhotoError, divided_by_alpha, full_range
from data.files.pillow import from_pillow
from data.files.raw import develop
from data.files.vips import from_channels

REDUCED, MASK = 1, 4                      # bits of tag 254: a smaller copy of another page; its mask
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8    # PhotometricInterpretation
SENSOR = (32803, 34892)                   # and of a camera's raw data: colour filter array, linear raw
MULTIPLIED_ALPHA, ALPHA = 1, 2            # ExtraSamples
JPEG_COMPRESSIONS = (6, 7)
XMP, IPTC, PHOTOSHOP, PROFILE = 700, 33723, 34377, 34675  # tags
ASCII, SHORT, LONG, BYTES = 2, 3, 4, 7    # types
MOST_PAGES = 64
ROWS_PER_STRIP = 64


def read_tiff(data: bytes, max_megapixels: float) -> Photo:
    """The photo in the bytes of a TIFF file, in its own colours; a raw file that is built like one is developed.

    Raises PhotoError with the reason.
    """
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = _picture(file, data)
        if page is None:
            return develop(data, max_megapixels)
        check_size(page.imagewidth, page.imagelength, max_megapixels)
        _check_kind(page)
        if page.photometric == LAB or (page.photometric == YCBCR and page.compression not in JPEG_COMPRESSIONS):
            return from_pillow(data, "TIFF", max_megapixels)
        ends = [offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if len(ends) != math.prod(page.chunked) or not all(page.databytecounts):
            raise PhotoError("damaged: some of its strips or tiles are not told of")
        if max(ends) > len(data):
            raise PhotoError(INCOMPLETE)
        values = _samples(page)
        tags = {tag.code: tag.value for tag in page.tags if tag.code in (ORIENTATION, XMP, IPTC, PHOTOSHOP, PROFILE)}
    turned = tags.get(ORIENTATION, 1)
    records = _block(tags.get(IPTC))
    return from_channels(
        values, int(turned) if turned in range(1, 9) else 1, cmyk=page.photometric == CMYK,
        icc_profile=_block(tags.get(PROFILE)), exif=exif_of_tiff(data), xmp=_block(tags.get(XMP)),
        iptc=records or iptc_records(_block(tags.get(PHOTOSHOP)) or b""), dpi=_dpi(page))


def write_tiff(values: np.ndarray, photo: Photo, profile: bytes | None) -> bytes:
    """The file of (H, W, 1..4) uint8 or uint16: deflated strips of horizontal differences, and the metadata of `photo`."""
    import tifffile

    height, width, count = values.shape
    exif = upright_exif(photo.exif, width, height)
    directories = {} if exif is None else {tag: exif[tag] for tag in (EXIF_IFD, GPS_IFD) if exif.get(tag)}
    extra: list[tuple[int, int, int, Any, bool]] = [(tag - 1, LONG, 1, 0, True) for tag in directories]
    extra += [(tag, BYTES, len(block), block, True) for tag, block in ((XMP, photo.xmp), (IPTC, photo.iptc)) if block]
    texts = {} if exif is None else {tag: exif[tag] for tag in DESCRIPTIVE_TAGS & set(exif) - {ORIENTATION, EXIF_IFD, GPS_IFD}}
    extra += [entry for tag, value in texts.items() if (entry := _entry(tag, value)) is not None]
    file = io.BytesIO()
    tifffile.imwrite(
        file, values[..., 0] if count == 1 else values, photometric="rgb" if count > 2 else "minisblack",
        compression="zlib", compressionargs={"level": 6}, predictor=width > 1, rowsperstrip=ROWS_PER_STRIP,
        planarconfig="contig" if count > 1 else None, extrasamples=["unassalpha"] if count in (2, 4) else None,
        metadata=None, software=False, byteorder="<", iccprofile=profile, extratags=extra,
        **({"resolution": photo.dpi, "resolutionunit": "inch"} if photo.dpi else {}))
    for tag, entries in directories.items():  # tifffile keeps their tags to itself: one below it gets its place and name
        end = file.seek(0, io.SEEK_END)
        at = end + end % 2
        file.write(b"\0" * (at - end) + tiff_directory(entries, at))
        file.seek(0)
        with tifffile.TiffFile(file, mode="r+b") as written:
            place = written.pages[0].tags[tag - 1]
            place.overwrite(at)
        file.seek(place.offset)
        file.write(tag.to_bytes(2, "little"))
    return file.getvalue()


def _picture(file: Any, data: bytes) -> Any:
    """The page that is the photo: the largest of the first page and those below it. None where it is sensor data.

    Raises PhotoError where several pages are pictures of their own.
    """
    if len(file.pages) > MOST_PAGES:
        raise PhotoError(f"a document of {len(file.pages)} pages; expected a single picture")
    pages = [file.pages.get(number) for number in range(len(file.pages))]
    below = list(pages[0].pages or ())
    if any(page.photometric in SENSOR for page in (*pages, *below)) or pages[0].tags.get(50706) is not None:
        return None
    pictures = [page for page in pages if not page.subfiletype & (REDUCED | MASK)]
    if len(pictures) > 1:
        raise PhotoError(f"a document: {len(pictures)} pages; expected a single picture")
    candidates = [page for page in (*pages, *below) if not page.subfiletype & (REDUCED | MASK)] or [pages[0]]
    return max(candidates, key=lambda page: page.imagewidth * page.imagelength)


def _check_kind(page: Any) -> None:
    bits, kind = page.bitspersample, page.sampleformat
    if kind == 3 or bits > 16:
        numbers = " (floating-point numbers)" if kind == 3 else ""
        raise PhotoError(f"{bits} bits per channel{numbers} are not supported; save it with 8 or 16 bits")
    if page.dtype is None or kind != 1 or page.imagedepth > 1:
        raise PhotoError(f"a TIFF of a kind that is not supported (samples of {bits} bits, sample format {kind}, depth "
                         f"{page.imagedepth}); save it with 8 or 16 bits")
    if page.photometric == LAB and bits != 8:
        raise PhotoError(f"a TIFF of CIELAB colours with {bits} bits is not supported; save it as RGB")
    if page.photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, LAB):
        raise PhotoError(f"a TIFF of colours that are not supported (photometric {int(page.photometric)}); save it as RGB")


def _samples(page: Any) -> np.ndarray:
    """(H, W, 1..4) of full range: gray, RGB or CMYK, with alpha where the page has it."""
    values = page.asarray()
    height, width, samples = page.imagelength, page.imagewidth, page.samplesperpixel
    planar = page.planarconfig == 2 and samples > 1
    values = np.moveaxis(values.reshape(samples, height, width), 0, 2) if planar else values.reshape(height, width, samples)
    if page.photometric == PALETTE:
        colours = np.asarray(page.colormap).T                         # (2^bits, 3), of 16 bits
        colours = (colours // 257 if (colours % 257 == 0).all() else colours >> 8).astype(np.uint8)
        return colours[values[..., 0]]
    values = full_range(values, page.bitspersample)
    if page.photometric == WHITE_IS_ZERO:
        values = np.iinfo(values.dtype).max - values
    colours = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, CMYK: 4}.get(page.photometric, 3)
    if samples < colours:
        raise PhotoError(f"damaged: {samples} channels, expected {colours}")
    extra = [int(kind) for kind in page.extrasamples][: samples - colours]
    for place, kind in enumerate(extra):
        if kind in (MULTIPLIED_ALPHA, ALPHA) and page.photometric != CMYK:
            shown = values[..., [*range(colours), colours + place]]
            return divided_by_alpha(shown) if kind == MULTIPLIED_ALPHA else shown
    return values[..., :colours]


def _entry(tag: int, value: Any) -> tuple[int, int, int, Any, bool] | None:
    """A descriptive tag for tifffile; None for a value that the tag cannot have."""
    if isinstance(value, str):
        text = value.encode() + b"\0"
        return tag, ASCII, len(text), text, True
    if isinstance(value, bytes):
        return tag, 1, len(value), value, True
    return (tag, SHORT, 1, value, True) if isinstance(value, int) and 0 <= value < 1 << 16 else None


def _block(value: Any) -> bytes | None:
    """The bytes of a tag, whatever type it was stored as."""
    if isinstance(value, (bytes, bytearray)):
        return bytes(value) or None
    if isinstance(value, (tuple, list, np.ndarray)):
        numbers = np.asarray(value)
        return (numbers.astype("<u4") if numbers.max(initial=0) > 255 else numbers.astype(np.uint8)).tobytes() or None
    return value.encode() if isinstance(value, str) else None


def _dpi(page: Any) -> tuple[float, float] | None:
    found = [page.tags.get(tag) for tag in (282, 283)]
    unit = page.tags.get(296)
    scale = {2: 1.0, 3: 2.54}.get(int(unit.value) if unit else 2)
    try:
        values = tuple(tag.value[0] / tag.value[1] * scale for tag in found)
    except (AttributeError, TypeError, ZeroDivisionError, IndexError):
        return None
    return values if all(1 <= v < 1e5 for v in values) else None
