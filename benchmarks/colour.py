"""How much colour and brightness a model gives back, after each supervision step.

    python -m benchmarks.colour --low DIR --high DIR [--config_path FILE --weights_path FILE] [--steps 3] [--every 3]

Means over pairs of pictures: PSNR, SSIM, brightness of the result less that of the reference (8-bit levels), and the slopes
of the result's CIELAB a* (red-green) and b* (blue-yellow) over the reference's, least squares: 1 is right, 0 is gray.
A reference whose axis hardly varies (standard deviation of 2 or less) says nothing about its slope and is left out there.
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


def colour_slopes(result: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """Slopes of a* and of b* of `result` over those of `reference`, RGB uint8 (H, W, 3); NaN where the latter hardly vary."""
    ours, theirs = (cv2.cvtColor(picture, cv2.COLOR_RGB2LAB).astype(np.float64) for picture in (result, reference))
    slopes = []
    for axis in (1, 2):
        x, y = theirs[..., axis].ravel(), ours[..., axis].ravel()
        slopes.append(np.cov(x, y)[0, 1] / x.var(ddof=1) if x.std() > SMALLEST_SPREAD else np.nan)
    return slopes[0], slopes[1]


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
    for pair in tqdm(pairs, unit="photo"):
        dark, bright = to_8_bit(read_photo(pair.low).pixels), to_8_bit(read_photo(pair.high).pixels)
        for row, picture in zip(rows, per_supervision_step(model, dark, options.steps, seed=0), strict=True):
            row.append((psnr(picture, bright), ssim(picture, bright), picture.mean() - bright.mean(),
                        *colour_slopes(picture, bright)))
    print(f"\n{len(pairs)} pairs; N = {model.N} is this model's default\n")
    print("| supervision step | PSNR | SSIM | brightness | red-green | blue-yellow |\n|---|---|---|---|---|---|")
    for number, row in enumerate(rows, 1):
        values = np.array(row)
        means = [column[~np.isnan(column)].mean() if (~np.isnan(column)).any() else np.nan for column in values.T]
        print("| {} | {:.2f} | {:.4f} | {:+.1f} | {:.2f} | {:.2f} |".format(number, *means))


if __name__ == "__main__":
    main()
