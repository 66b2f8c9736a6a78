"""How real dark photos differ from their references, beside how the training darkens the same references.

    python -m benchmarks.darkening --low DIR --high DIR [--exp_name dark_photos] [--set colour_kept_range=[0,0] ...] [--draws 4]

Medians over the pairs, but for casts:

curve     of means of 8x8 pixels where both pictures are neither black nor white: the exponent from the reference to the dark
          photo (slope of the logarithms of their sRGB values), and how much of the reference's colour it has (slope of log
          red/green, and of log blue/green, in linear light): above 1 the colours are stronger than the reference's
cast      of whole pictures, in linear light: log red/green of the dark photo less that of the reference, and log blue/green;
          the standard deviation of each over the pairs
noise     of blocks of 16x16 pixels that are dark in the photo and flat in the reference: standard deviation, in 8-bit levels,
          of luma and of red less green, of pixels and of means of 2x2 and of 4x4; white noise halves each time, that of JPEG
          does not

The settings are those of a training, without uneven light, turned photos and further degradations.
"""
from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

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
NOISE_BLOCK, SCALES = 16, (1, 2, 4)
NOISE_LEVELS = (6.0, 40.0)     # mean level of a dark photo's block whose noise counts
FLATTEST = 0.3                 # of those blocks, by the spread of the smoothed reference
FEWEST = 20                    # blocks
PLAIN = {"uneven_light_rate": 0.0, "geometry_rate": 0.0, "augment_rate": 0.0}


def curve_of(low: np.ndarray, high: np.ndarray) -> tuple[float, float, float]:
    """Exponent, red/green and blue/green of a pair, RGB uint8 (H, W, 3); NaN where nothing counts."""
    x, y = (blocks(picture / 255, BLOCK).mean((1, 2, 3)) for picture in (low, high))
    shown = (y > REFERENCE_SHOWN[0]) & (y < REFERENCE_SHOWN[1]) & (x > DARK_SHOWN)
    dark, light = (np.log(blocks(LINEAR_LIGHT[picture], BLOCK).mean((1, 2)) + FAINT)[shown]
                   for picture in (low, high))  # (n, 3)
    return (_slope(np.log(y[shown]), np.log(x[shown])),
            _slope(light[:, 0] - light[:, 1], dark[:, 0] - dark[:, 1]),
            _slope(light[:, 2] - light[:, 1], dark[:, 2] - dark[:, 1]))


def cast_of(low: np.ndarray, high: np.ndarray) -> tuple[float, float]:
    """Log red/green and log blue/green that the dark photo of a pair has more than its reference, RGB uint8 (H, W, 3)."""
    dark, light = (np.log(LINEAR_LIGHT[picture].mean((0, 1)) + FAINT) for picture in (low, high))
    more = dark - light
    return float(more[0] - more[1]), float(more[2] - more[1])


def measures(low: np.ndarray, high: np.ndarray) -> tuple[float, ...]:
    """A pair's numbers in the order of the table."""
    return (*curve_of(low, high), *cast_of(low, high), *noise_of(low, high))


def noise_of(low: np.ndarray, high: np.ndarray) -> list[float]:
    """Levels of luma at the three scales, then of red less green; NaN of too few dark, flat blocks."""
    dark, smooth = low.astype(np.float32), cv2.GaussianBlur(high.astype(np.float32).mean(2), (0, 0), 2)
    spread, level = blocks(smooth, NOISE_BLOCK).std((1, 2)), blocks(dark, NOISE_BLOCK).mean((1, 2, 3))
    counts = (level > NOISE_LEVELS[0]) & (level < NOISE_LEVELS[1])
    if counts.sum() < FEWEST:
        return [float("nan")] * 2 * len(SCALES)
    flat = counts & (spread <= np.quantile(spread[counts], FLATTEST))
    found = []
    for plane in (dark.mean(2), dark[..., 0] - dark[..., 1]):
        pixels = blocks(plane, NOISE_BLOCK)[flat]
        for scale in SCALES:
            side = NOISE_BLOCK // scale
            means = pixels.reshape(-1, side, scale, side, scale).mean((2, 4))
            # half of a diagonal difference has the noise's own deviation, and neither level nor slope
            rest = (means[:, ::2, ::2] - means[:, 1::2, ::2] - means[:, ::2, 1::2] + means[:, 1::2, 1::2]) / 2
            found.append(float(np.median(np.sqrt(np.square(rest).mean((1, 2))))))
    return found


def blocks(picture: np.ndarray, side: int) -> np.ndarray:
    """(H, W, ...) -> its n whole blocks, (n, side, side, ...)."""
    rows, columns = (length // side for length in picture.shape[:2])
    rest = picture.shape[2:]
    whole = picture[: rows * side, : columns * side].reshape(rows, side, columns, side, *rest)
    return whole.swapaxes(1, 2).reshape(-1, side, side, *rest)


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    """Least squares, NaN of fewer than two different x."""
    if len(x) < 2 or x.std() == 0.0:
        return float("nan")
    return float(np.cov(x, y)[0, 1] / x.var(ddof=1))


def darkened(path: Path, size: tuple[int, int], config: Config, draws: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(dark, normal) as a training makes them of one photo, RGB uint8 (H, W, 3) each."""
    made = []
    for seed in range(draws):
        drawn = dataclasses.replace(config, seed=seed, height=size[0], width=size[1])
        sample = LowLightPairs([PhotoRef(path.name, path)], drawn, train=True)[0, 0]
        made.append((sample["low"].permute(1, 2, 0).numpy(), sample["normal"].permute(1, 2, 0).numpy()))
    return made


def line(name: str, pairs: Sequence[tuple[float, ...]]) -> str:
    curves, casts, noise = np.split(np.array(pairs), (3, 5), axis=1)
    exponent, red, blue = np.nanmedian(curves, axis=0)
    cast, luma, colour = (", ".join(f"{value:.2f}" for value in part)
                          for part in (casts.std(axis=0), *np.split(np.nanmedian(noise, axis=0), 2)))
    return f"| {name} | {exponent:.2f} | {red:.2f} | {blue:.2f} | {cast} | {luma} | {colour} |"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.darkening",
                                     description="Real darkness beside that of the training.")
    parser.add_argument("--low", type=Path, required=True, metavar="DIR", help="dark pictures")
    parser.add_argument("--high", type=Path, required=True, metavar="DIR", help="their references")
    parser.add_argument("--exp_name", default="dark_photos", help="experiment whose curves are drawn (default: %(default)s)")
    parser.add_argument("--set", nargs="+", default=[], metavar="FIELD=VALUE", help="its settings that differ")
    parser.add_argument("--draws", type=int, default=4, help="dark photos made of each reference (default: %(default)s)")
    options = parser.parse_args(arguments)
    config = Config.named(options.exp_name, **PLAIN | dict(map(parse_override, options.set)))
    real, made = [], []
    for pair in tqdm(pair_by_name(options.low, options.high), disable=None):
        low, high = (to_8_bit(read_photo(path).pixels) for path in (pair.low, pair.high))
        real.append(measures(low, high))
        made += [measures(*both) for both in darkened(pair.high, high.shape[:2], config, options.draws)]
    print("| | exponent | red/green | blue/green | cast | noise of luma | of red-green |\n|---|---|---|---|---|---|---|")
    print(line(f"{len(real)} pairs", real))
    print(line(options.exp_name, made))


if __name__ == "__main__":
    main()
