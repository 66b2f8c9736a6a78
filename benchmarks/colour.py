"""How much colour and brightness a model gives back, after each supervision step.

    python -m benchmarks.colour --low DIR --high DIR [--config_path FILE --weights_path FILE] [--steps 3] [--every 3]

Means over pairs of pictures: PSNR, SSIM, brightness of the result less that of the reference (8-bit levels), and the slopes
of the result's CIELAB a* (red-green) and b* (blue-yellow) over the reference's, least squares: 1 is right, 0 is gray.
A reference whose axis hardly varies (standard deviation of 2 or less) says nothing about its slope and is left out there.
Then, over all pixels whose reference is strongly coloured (CIELAB chroma above 40), by sectors of 60 degrees of the
reference's hue: the mean size of the hue's error, and in brackets its mean with the sign, both in degrees; a positive one
turns red towards yellow, yellow towards green, green towards blue.
"""
from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from benchmarks.recursion import SHIPPED, per_supervision_step
from data.benchmarks import pair_by_name
from data.files.images import read_photo, to_8_bit
from engine.device import choose_device
from metrics.psnr import psnr
from metrics.ssim import ssim
from models import load_pretrained

SMALLEST_SPREAD = 2.0  # of a reference's a* or b*
STRONG_CHROMA = 40.0   # CIELAB, from which on a hue counts
SECTOR = 60            # degrees of CIELAB hue
SECTORS = ("pink to red", "orange, yellow", "yellow-green", "green to cyan", "blue", "violet, magenta")  # from 0 degrees on


def colour_slopes(result: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """Slopes of a* and of b* of `result` over those of `reference`, RGB uint8 (H, W, 3); NaN where the latter hardly vary."""
    ours, theirs = (cv2.cvtColor(picture, cv2.COLOR_RGB2LAB).astype(np.float64) for picture in (result, reference))
    slopes = []
    for axis in (1, 2):
        x, y = theirs[..., axis].ravel(), ours[..., axis].ravel()
        slopes.append(np.cov(x, y)[0, 1] / x.var(ddof=1) if x.std() > SMALLEST_SPREAD else np.nan)
    return slopes[0], slopes[1]


def hue_errors(result: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Where the reference is strongly coloured: -> (sectors, 3) number of pixels, sum of the hue's error, sum of its size.

    RGB uint8 (H, W, 3); errors in degrees, result less reference, in [-180, 180).
    """
    ours, theirs = (cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[..., 1:]
                    for picture in (result, reference))
    strong = np.hypot(theirs[..., 0], theirs[..., 1]) > STRONG_CHROMA
    ours_hue, theirs_hue = (np.degrees(np.arctan2(ab[strong, 1], ab[strong, 0])) for ab in (ours, theirs))
    error = (ours_hue - theirs_hue + 180) % 360 - 180
    sector = (theirs_hue % 360 // SECTOR).astype(int) % len(SECTORS)
    summed = (np.ones_like(error), error, abs(error))
    return np.stack([np.bincount(sector, values, len(SECTORS)) for values in summed], axis=1)


def hue_table(sums: Sequence[np.ndarray]) -> str:
    """Of the sums of `hue_errors` for each supervision step: sectors down, steps across."""
    total = max(sums[0][:, 0].sum(), 1)
    steps = [f"step {number} |" for number in range(1, len(sums) + 1)]
    lines = [" ".join(["| hue of the reference | share of strong colours |", *steps]), "|---|---|" + "---|" * len(sums)]
    for number, name in enumerate(SECTORS):
        cells = [f"{size / count:.1f} ({error / count:+.1f})" if count else "" for count, error, size in
                 (step[number] for step in sums)]
        lines.append(f"| {name} | {100 * sums[0][number, 0] / total:.1f} % | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.colour", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--low", type=Path, required=True, metavar="DIR", help="dark pictures")
    parser.add_argument("--high", type=Path, required=True, metavar="DIR", help="their references")
    parser.add_argument("--config_path", default=SHIPPED / "config.json", metavar="FILE", help="of the weights")
    parser.add_argument("--weights_path", default=SHIPPED / "HVR.safetensors", metavar="FILE", help="a safetensors file")
    parser.add_argument("--steps", type=int, default=3, help="supervision steps")
    parser.add_argument("--every", type=int, default=1, help="only every so many-th pair")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    options = parser.parse_args(arguments)
    model = load_pretrained(options.config_path, options.weights_path, choose_device(options.device))
    pairs = pair_by_name(options.low, options.high)[:: options.every]
    rows: list[list[tuple[float, ...]]] = [[] for _ in range(options.steps)]
    hues = [np.zeros((len(SECTORS), 3)) for _ in range(options.steps)]
    for pair in tqdm(pairs, unit="photo"):
        dark, bright = to_8_bit(read_photo(pair.low).pixels), to_8_bit(read_photo(pair.high).pixels)
        for row, hue, picture in zip(rows, hues, per_supervision_step(model, dark, options.steps, seed=0), strict=True):
            hue += hue_errors(picture, bright)
            row.append((psnr(picture, bright), ssim(picture, bright), picture.mean() - bright.mean(),
                        *colour_slopes(picture, bright)))
    print(f"\n{len(pairs)} pairs; N = {model.N} is this model's default\n")
    print("| supervision step | PSNR | SSIM | brightness | red-green | blue-yellow |\n|---|---|---|---|---|---|")
    for number, row in enumerate(rows, 1):
        values = np.array(row)
        means = [column[~np.isnan(column)].mean() if (~np.isnan(column)).any() else np.nan for column in values.T]
        print("| {} | {:.2f} | {:.4f} | {:+.1f} | {:.2f} | {:.2f} |".format(number, *means))
    print(f"\n{hue_table(hues)}")


if __name__ == "__main__":
    main()
