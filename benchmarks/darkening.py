"""How real dark photos differ from their references, beside how the training darkens the same references.

    python -m benchmarks.darkening --low DIR --high DIR [--exp_name dark_photos] [--set colour_kept_range=[0,0] ...]

Medians over the pairs, of means of 8x8 pixels where both pictures are neither black nor white: the exponent of the curve from
the reference to the dark photo (slope of the logarithms of their sRGB values), and how much of the reference's colour it has
(slope of log red/green, and of log blue/green, in linear light): above 1 the colours are stronger than the reference's.
The settings are those of a training; the light is even and there is no noise.
"""
from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from data.benchmarks import pair_by_name
from data.files.images import read_photo, to_8_bit
from data.pairs.dataset import LowLightPairs
from data.pairs.photos import PhotoRef
from data.pairs.sensor_noise import LINEAR_LIGHT
from exp_config import Config
from exp_config.loading import parse_override

BLOCK = 8                      # pixels a side of a mean
REFERENCE_SHOWN = (0.15, 0.9)  # mean sRGB value of a block that counts
DARK_SHOWN = 0.02
FAINT = 1e-4                   # linear light added before a logarithm


def block_means(picture: np.ndarray) -> np.ndarray:
    """float (H, W, 3) -> means of whole blocks, float32 (H // BLOCK, W // BLOCK, 3)."""
    height, width = (side // BLOCK for side in picture.shape[:2])
    return cv2.resize(picture[: height * BLOCK, : width * BLOCK].astype(np.float32), (width, height),
                      interpolation=cv2.INTER_AREA)


def darkening(low: np.ndarray, high: np.ndarray) -> tuple[float, float, float]:
    """Exponent, red/green and blue/green of the formulas above for a pair, RGB uint8 (H, W, 3); NaN where nothing counts."""
    x, y = (block_means(picture / 255).mean(2) for picture in (low, high))
    shown = (y > REFERENCE_SHOWN[0]) & (y < REFERENCE_SHOWN[1]) & (x > DARK_SHOWN)
    dark, light = (np.log(block_means(LINEAR_LIGHT[picture]) + FAINT)[shown] for picture in (low, high))  # (n, 3)
    return (_slope(np.log(y[shown]), np.log(x[shown])),
            _slope(light[:, 0] - light[:, 1], dark[:, 0] - dark[:, 1]),
            _slope(light[:, 2] - light[:, 1], dark[:, 2] - dark[:, 1]))


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    """Least squares, NaN of fewer than two different x."""
    if len(x) < 2 or x.std() == 0.0:
        return float("nan")
    return float(np.cov(x, y)[0, 1] / x.var(ddof=1))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.darkening",
                                     description="Real darkness beside that of the training.")
    parser.add_argument("--low", type=Path, required=True, metavar="DIR", help="dark pictures")
    parser.add_argument("--high", type=Path, required=True, metavar="DIR", help="their references")
    parser.add_argument("--exp_name", default="dark_photos", help="experiment whose curves are drawn (default: %(default)s)")
    parser.add_argument("--set", nargs="+", default=[], metavar="FIELD=VALUE", help="its settings that differ")
    options = parser.parse_args(arguments)
    real, made = [], []
    for pair in pair_by_name(options.low, options.high):
        low, high = (to_8_bit(read_photo(path).pixels) for path in (pair.low, pair.high))
        config = Config.named(options.exp_name, **{"uneven_light_rate": 0.0, **dict(map(parse_override, options.set)),
                                                   "height": high.shape[0], "width": high.shape[1]})
        sample = LowLightPairs([PhotoRef(pair.high.name, pair.high)], config, train=False)[config.epochs - 1, 0]
        real.append(darkening(low, high))
        made.append(darkening(*(sample[name].permute(1, 2, 0).numpy() for name in ("low", "normal"))))  # type: ignore
    for name, rows in ((f"{len(real)} pairs", real), (f"references, {options.exp_name}", made)):
        exponent, red, blue = np.nanmedian(np.array(rows), axis=0)
        print(f"{name}: exponent {exponent:.2f}, red/green {red:.2f}, blue/green {blue:.2f}")


if __name__ == "__main__":
    main()
