"""What a model does to the bright and the dark parts of unevenly lit photos, after each supervision step.

    python -m benchmarks.uneven_light --input DIR [--config_path FILE --weights_path FILE] [--steps 2] [--every 1]
                                      [--megapixels 0.3] [--metrics niqe piqe]

Brightness is luma, 0.299 R + 0.587 G + 0.114 B, in [0, 1]; all measures are of 8-bit pictures:

- bright: how much brighter the pixels have become whose input was above 0.5 (0: a face under flash is left as it was), over
  all such pixels of all photos: where a photo has few of them, they lie in the dark and have to rise with it
- dark: mean of the pixels whose input was below 0.15; mean over the photos that have some, as all that follows
- blown: share of all pixels above 0.97 whose input was below 0.9, in percent
- loe: lightness order error against the input (metrics/loe.py)

`--megapixels` makes larger photos smaller first, by the mean over areas. `--metrics`: further ones of metrics/suite.py.
"""
from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from benchmarks.recursion import SHIPPED, per_supervision_step
from data.benchmarks import list_pictures
from data.files.images import read_photo, to_8_bit
from data.files.photo import LUMA
from engine.device import choose_device
from metrics.suite import UNPAIRED, MetricSuite
from models import load_pretrained

BRIGHT, DARK = 0.5, 0.15      # of the input
BLOWN, NOT_BLOWN = 0.97, 0.9  # of the result, of the input


def light_measures(result: np.ndarray, source: np.ndarray) -> dict[str, float]:
    """"bright", "dark" and "blown" (module docstring) of RGB uint8 (H, W, 3), and "bright_share", the share of bright pixels;
    NaN where the input has no such pixels."""
    before, after = (picture @ LUMA / 255 for picture in (source, result))
    bright, dark = before > BRIGHT, before < DARK
    return {"bright": float((after - before)[bright].mean()) if bright.any() else math.nan,
            "bright_share": float(bright.mean()),
            "dark": float(after[dark].mean()) if dark.any() else math.nan,
            "blown": 100 * float(((after > BLOWN) & (before < NOT_BLOWN)).mean())}


def shrunk(picture: np.ndarray, megapixels: float | None) -> np.ndarray:
    """RGB uint8 (H, W, 3) with at most so many million pixels, in its proportions."""
    height, width = picture.shape[:2]
    scale = math.sqrt(1e6 * megapixels / (height * width)) if megapixels else 1.0
    if scale >= 1.0:
        return picture
    return cv2.resize(picture, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.uneven_light",
                                     description="Bright and dark parts of unevenly lit photos.")
    parser.add_argument("--input", type=Path, required=True, metavar="DIR", help="photos with bright and dark parts")
    parser.add_argument("--config_path", default=SHIPPED / "config.json", metavar="FILE", help="of the weights")
    parser.add_argument("--weights_path", default=SHIPPED / "HVR.safetensors", metavar="FILE", help="a safetensors file")
    parser.add_argument("--steps", type=int, default=2, help="supervision steps")
    parser.add_argument("--every", type=int, default=1, help="only every so many-th photo")
    parser.add_argument("--megapixels", type=float, help="larger photos are made so small first")
    parser.add_argument("--metrics", nargs="*", default=[], choices=UNPAIRED, help="further measures of the results")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    options = parser.parse_args(arguments)
    model = load_pretrained(options.config_path, options.weights_path, choose_device(options.device))
    suite = MetricSuite(["loe", *options.metrics])
    for name, reason in suite.missing.items():
        print(f"{name} is left out: {reason}")
    names = sorted(list_pictures(options.input))[:: options.every]
    rows: list[list[dict[str, float]]] = [[] for _ in range(options.steps)]
    for name in tqdm(names, unit="photo"):
        source = shrunk(to_8_bit(read_photo(options.input / name).pixels), options.megapixels)
        for row, picture in zip(rows, per_supervision_step(model, source, options.steps, seed=0), strict=True):
            row.append({**light_measures(picture, source), "pixels": source.size / 3, **suite.score(picture, source=source)})
    places = {"bright": 3, "dark": 3, "blown": 4, "loe": 0, **dict.fromkeys(options.metrics, 2)}
    places = {column: places[column] for column in places if column not in suite.missing}
    print(f"\n{len(names)} photos; N = {model.N} is this model's default\n")
    print("| supervision step | " + " | ".join(places) + " |\n|" + "---|" * (len(places) + 1))
    for number, row in enumerate(rows, 1):
        means = [(mean(row, column), digits) for column, digits in places.items()]
        cells = ["" if math.isnan(value) else f"{value:.{digits}f}" for value, digits in means]
        print(f"| {number} | " + " | ".join(cells) + " |")


def mean(photos: Sequence[dict[str, float]], column: str) -> float:
    """Of one measure over the photos that have it, weighed as the module's docstring says; NaN where none has."""
    weights = [values["pixels"] * values["bright_share"] if column == "bright" else 1.0 for values in photos]
    kept = [(weight, values[column]) for weight, values in zip(weights, photos, strict=True) if not math.isnan(values[column])]
    return sum(weight * value for weight, value in kept) / sum(weight for weight, _ in kept) if kept else math.nan


if __name__ == "__main__":
    main()
