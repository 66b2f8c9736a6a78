"""One picture of the best and the worst results of a benchmark set: rows of input, output and reference."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data.files.images import Photo, PhotoError, read_photo, to_8_bit
from engine.scoring.scores import PictureScores, SetScores
from metrics.suite import METRICS

RANKED_BY = ("psnr", "niqe", "piqe", "brisque")  # the first of them that the set has
ROWS = 2                                         # of the best, and as many of the worst
WIDTH, MARGIN, CAPTION = 480, 10, 22             # pixels: of a picture, between pictures, of a line of text
TALLEST = 720                                    # pixels; narrower pictures are scaled down to that
PAPER, INK = (255, 255, 255), (30, 30, 30)


def best_and_worst(result: SetScores, pictures: Path) -> Photo | None:
    """Rows input | output | reference (no reference in unpaired sets), the best first; None where nothing can be shown.

    pictures: the folder of the enhanced pictures. Those of another machine's processes, which are not there, are left out.
    """
    metric = next((name for name in RANKED_BY if any(name in p.output for p in result.scored)), None)
    if metric is None:
        return None
    ranked = sorted((p for p in result.scored if metric in p.output), key=lambda p: p.output[metric],
                    reverse=METRICS[metric].higher_is_better)
    rows = []
    for label, picture in _chosen(ranked):
        try:
            rows.append((f"{label}: {picture.name}, {metric} {picture.output[metric]:.2f}", _row(picture, pictures)))
        except PhotoError:
            continue
    return _sheet(rows) if rows else None


def _chosen(ranked: Sequence[PictureScores]) -> list[tuple[str, PictureScores]]:
    if len(ranked) == 1:
        return [("only", ranked[0])]
    count = min(ROWS, len(ranked) // 2)
    return [*(("best", picture) for picture in ranked[:count]), *(("worst", picture) for picture in ranked[-count:])]


def _row(picture: PictureScores, pictures: Path) -> list[Image.Image]:
    files = [Path(picture.low), pictures / Path(picture.name).with_suffix(".png")]
    files += [Path(picture.high)] if picture.high else []
    images = [Image.fromarray(to_8_bit(read_photo(file).pixels)) for file in files]
    height = max(round(WIDTH * images[0].height / images[0].width), 1)
    size = (WIDTH, height) if height <= TALLEST else (max(round(WIDTH * TALLEST / height), 1), TALLEST)
    return [image.resize(size, Image.Resampling.LANCZOS) for image in images]


def _sheet(rows: Sequence[tuple[str, Sequence[Image.Image]]]) -> Photo:
    columns = ("input", "output", "reference")[:len(rows[0][1])]
    width = len(columns) * (WIDTH + MARGIN) + MARGIN
    height = CAPTION + sum(images[0].height + CAPTION + MARGIN for _, images in rows)
    sheet = Image.new("RGB", (width, height), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for column, title in enumerate(columns):
        pen.text((MARGIN + column * (WIDTH + MARGIN) + WIDTH // 2, 2), title, INK, font, anchor="ma")
    top = CAPTION
    for label, images in rows:
        pen.text((MARGIN, top), label, INK, font)
        for column, image in enumerate(images):
            sheet.paste(image, (MARGIN + column * (WIDTH + MARGIN), top + CAPTION))
        top += images[0].height + CAPTION + MARGIN
    return Photo(np.asarray(sheet))
