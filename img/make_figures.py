"""Make the README's pictures with the shipped weights, from img/samples.

    python -m img.make_figures

img/before_after.jpg  every sample above, what the network makes of it below
img/recursion.jpg     one sample after each H step of the recursion
"""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.recursion import progress
from data.files.images import is_photo, read_photo, to_8_bit
from engine.device import choose_device
from engine.enhancing.enhancement import enhance
from exp_config import PROJECT_ROOT
from models import HVR, load_pretrained

FOLDER = Path(__file__).resolve().parent
CHECKPOINT = PROJECT_ROOT / "checkpoint" / "zeros"
ROW_HEIGHT, GAP, QUALITY = 200, 6, 88  # pixels, pixels, JPEG quality
PAPER, INK = "white", "#59636e"


def strip(pictures: Sequence[np.ndarray], height: int = ROW_HEIGHT) -> Image.Image:
    """Pictures (H, W, 3) uint8 beside one another, scaled to one height."""
    small = [Image.fromarray(p).resize((round(p.shape[1] * height / p.shape[0]), height), Image.Resampling.LANCZOS)
             for p in pictures]
    row = Image.new("RGB", (sum(s.width for s in small) + GAP * (len(small) - 1), height), PAPER)
    left = 0
    for picture in small:
        row.paste(picture, (left, 0))
        left += picture.width + GAP
    return row


def stack(rows: Sequence[Image.Image]) -> Image.Image:
    """Rows above one another."""
    sheet = Image.new("RGB", (max(r.width for r in rows), sum(r.height for r in rows) + GAP * (len(rows) - 1)), PAPER)
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height + GAP
    return sheet


def caption(labels: Sequence[str], width: int, height: int = 22) -> Image.Image:
    """Labels spread evenly over a line of `width` pixels."""
    line = Image.new("RGB", (width, height), PAPER)
    pen, font = ImageDraw.Draw(line), ImageFont.load_default(14)
    for number, label in enumerate(labels):
        pen.text(((number + 0.5) * width / len(labels), height / 2), label, INK, font, anchor="mm")
    return line


def before_after(model: HVR, photos: Sequence[Path]) -> Image.Image:
    """The photos above, their enhanced versions below."""
    dark = [to_8_bit(read_photo(path).pixels) for path in photos]
    return stack([strip(dark), strip([enhance(model, photo) for photo in dark])])


def h_step_outputs(model: HVR, photo: np.ndarray) -> list[np.ndarray]:
    """What the head makes of zH after each H step; photo and results (H, W, 3) uint8. The last one is the enhanced photo."""
    return [picture for kind, picture in progress(model, photo, model.N) if kind == "H"]


def recursion_progress(model: HVR, photo: Path) -> Image.Image:
    """The input and the output after each H step, in a row with captions."""
    dark = to_8_bit(read_photo(photo).pixels)
    outputs = h_step_outputs(model, dark)
    row = strip([dark, *outputs])
    labels = ["input", *(f"after H step {number}" for number in range(1, len(outputs) + 1))]
    return stack([row, caption(labels, row.width)])


def main() -> None:
    """Write both pictures."""
    model = load_pretrained(CHECKPOINT / "config.json", CHECKPOINT / "HVR.safetensors", choose_device("auto"))
    samples = sorted(path for path in (FOLDER / "samples").iterdir() if is_photo(path))
    figures = {"before_after.jpg": before_after(model, samples),
               "recursion.jpg": recursion_progress(model, FOLDER / "samples" / "coffee.jpg")}
    for name, figure in figures.items():
        figure.save(FOLDER / name, quality=QUALITY)
        print(f"written: img/{name}, {figure.width}x{figure.height}")


if __name__ == "__main__":
    main()
