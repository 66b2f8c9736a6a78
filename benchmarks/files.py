"""Seconds for reading and writing photo files, of this checkout and of another one in turn.

    python -m benchmarks.files --megapixels 12 --against ../other_checkout

Medians of --rounds rounds; each round is a process of its own for either checkout. A kind that a checkout lacks is left out
of the sum of both.
"""
from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

PROJECT = Path(__file__).resolve().parents[1]
KINDS = {"JPEG": ("jpg", np.uint8), "PNG": ("png", np.uint8), "PNG, 16 bits": ("png", np.uint16),
         "TIFF, 16 bits": ("tif", np.uint16), "WebP": ("webp", np.uint8), "HEIC": ("heic", np.uint8)}
NOISE = 2.0   # 8-bit levels, as of a photo at ISO 800


def scene(megapixels: float) -> np.ndarray:
    """(H, W, 3) float32 in [0, 255], 4:3: soft shapes, dark, with the noise of a sensor."""
    from PIL import Image

    rng = np.random.default_rng(0)
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    width = round(height * 4 / 3)
    coarse = Image.fromarray(rng.integers(0, 120, (height // 40, width // 40, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float32)
    return np.clip(smooth + rng.normal(0, NOISE, smooth.shape).astype(np.float32), 0, 255)


def photo_of(values: np.ndarray, kind: type) -> np.ndarray:
    return np.round(values * (257 if kind == np.uint16 else 1)).astype(kind)


def one_round(folder: Path, kinds: list[str], clock: Callable[[], float]) -> dict[str, float]:
    """Seconds by "KIND read" and "KIND write", of the checkout that `data` is imported from."""
    from data.files.images import Photo, PhotoError, read_photo, write_photo

    seconds = {}
    for kind in kinds:
        suffix, depth = KINDS[kind]
        try:
            write_photo(folder / f"small.{suffix}", Photo(np.zeros((16, 16, 3), depth)))  # brings the library
            read_photo(folder / f"small.{suffix}")
            start = clock()
            photo = read_photo(folder / f"{kind}.{suffix}")
            seconds[f"{kind} read"] = clock() - start
            start = clock()
            write_photo(folder / f"out.{suffix}", photo)
            seconds[f"{kind} write"] = clock() - start
        except PhotoError as error:  # a kind that this checkout does not know, as a rule
            print(f"{kind}: {error}", file=sys.stderr)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.files", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, default=12, help="of the photo (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="A B, so often (default: %(default)s)")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS), help="which; all unless named")
    parser.add_argument("--against", type=Path, help="another checkout of this project")
    parser.add_argument("--cpu", action="store_true", help="processor time of all threads, for a machine that is busy")
    parser.add_argument("--one_round", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one_round:
        clock = time.process_time if args.cpu else time.perf_counter
        print(json.dumps(one_round(args.one_round, args.kinds, clock)))
        return
    from data.files.images import Photo, write_photo

    checkouts = {"this": PROJECT} | ({"other": args.against.resolve()} if args.against else {})
    found: dict[str, dict[str, list[float]]] = {name: {} for name in checkouts}
    with tempfile.TemporaryDirectory() as name:
        values = scene(args.megapixels)
        for kind in args.kinds:
            write_photo(Path(name, f"{kind}.{KINDS[kind][0]}"), Photo(photo_of(values, KINDS[kind][1])))
        del values
        for _ in range(args.rounds):
            for checkout, folder in checkouts.items():
                result = subprocess.run([sys.executable, __file__, "--one_round", name, "--kinds", *args.kinds,
                                         *(["--cpu"] if args.cpu else [])], check=True,
                                        env={**os.environ, "PYTHONPATH": str(folder)}, stdout=subprocess.PIPE, text=True)
                for step, seconds in json.loads(result.stdout).items():
                    found[checkout].setdefault(step, []).append(seconds)
    unit = "processor seconds" if args.cpu else "seconds"
    print(f"{args.megapixels:g} megapixels: {unit}\n| | {' | '.join(checkouts)} |\n|---|{'---|' * len(checkouts)}")
    sums = dict.fromkeys(checkouts, 0.0)
    for step in found["this"]:
        known = [checkout for checkout in checkouts if step in found[checkout]]
        print(f"| {step} | {' | '.join(f'{median(found[c][step]):.2f}' if c in known else '' for c in checkouts)} |")
        for checkout in known if len(known) == len(checkouts) else ():
            sums[checkout] += median(found[checkout][step])
    print(f"| sum of what both know | {' | '.join(f'{total:.2f}' for total in sums.values())} |")


if __name__ == "__main__":
    main()
