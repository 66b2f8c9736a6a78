"""A folder's photos as small pictures on one sheet, with their names."""
from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data.files.images import Photo, PhotoError, read_photo, to_8_bit

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont
CELL_WIDTH, CELL_HEIGHT = 300, 225  # pixels that a small picture fits into, before many photos make it smaller
SHEET_PIXELS = 60e6                 # about so many at most on the sheet
MARGIN, CAPTION = 12, 18            # pixels
WIDE_FONTS = ("NotoSansCJK-Regular.ttc", "Arial Unicode.ttf", "msyh.ttc", "DejaVuSans.ttf")  # for names beyond Latin
PAPER, INK = (24, 24, 24), (220, 220, 220)


def contact_sheet(pictures: Sequence[tuple[str, Path]], max_megapixels: float, pairs: bool = False) -> Photo:
    """One picture of all `pictures`, (name, file), row by row in their order.

    pairs: each file is a pair side by side, and gets twice the width. A file that cannot be read leaves its cell empty.
    Raises ValueError without pictures.
    """
    if not pictures:
        raise ValueError("a contact sheet needs at least one picture")
    width, height = CELL_WIDTH * (2 if pairs else 1), CELL_HEIGHT
    area = (width + MARGIN) * (height + MARGIN + CAPTION) * len(pictures)
    shrink = min(1.0, math.sqrt(SHEET_PIXELS / area))
    width, height = max(int(width * shrink), 8), max(int(height * shrink), 8)
    step_x, step_y = width + MARGIN, height + CAPTION + MARGIN
    columns = min(len(pictures), max(round(math.sqrt(len(pictures) * 4 / 3 * step_y / step_x)), 1))
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * step_x + MARGIN, rows * step_y + MARGIN), PAPER)
    pen, font = ImageDraw.Draw(sheet), _font("".join(name for name, _ in pictures))
    for number, (name, file) in enumerate(pictures):
        left, top = MARGIN + number % columns * step_x, MARGIN + number // columns * step_y
        small = _small(file, width, height, max_megapixels)
        if small is not None:
            sheet.paste(small, (left + (width - small.width) // 2, top + (height - small.height) // 2))
        pen.text((left + width // 2, top + height + 2), _fitting(name, pen, font, width), INK, font, anchor="ma")
    return Photo(np.asarray(sheet))


def _small(file: Path, width: int, height: int, max_megapixels: float) -> Image.Image | None:
    """The picture within width x height, alpha on the paper."""
    try:
        photo = read_photo(file, max_megapixels)
    except PhotoError:
        return None
    image = Image.fromarray(to_8_bit(photo.pixels))
    image.thumbnail((width, height), Image.Resampling.LANCZOS, reducing_gap=3)
    if photo.alpha is None:
        return image
    paper = Image.new("RGB", image.size, PAPER)
    paper.paste(image, mask=Image.fromarray(to_8_bit(photo.alpha)).resize(image.size))
    return paper


def _font(text: str) -> Font:
    """Pillow's own font, or one of the system for letters that it lacks."""
    size = CAPTION * 0.7
    for name in () if max(text) < "\u0250" else WIDE_FONTS:
        with contextlib.suppress(OSError):
            return ImageFont.truetype(name, size)
    return ImageFont.load_default(size)


def _fitting(name: str, pen: ImageDraw.ImageDraw, font: Font, width: int) -> str:
    """The end of the name that fits, which tells more than its beginning; in one line, whatever the name holds."""
    name = "".join(character if character.isprintable() else "?" for character in name)
    while len(name) > 4 and pen.textlength(name, font) > width:
        name = "…" + name[2:]
    return name
