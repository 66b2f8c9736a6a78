"""What the photo's own detail and the working size do to results: scores, and seconds where nothing else runs.

    python -m benchmarks.detail --low DIR [--high DIR] [--megapixels 0 0.25 0.5 1 2] [--detail 0 1] [--every 4]
        [--enlarge 6] [--cache DIR]

A row for each working size (0: the whole photo) and each amount of detail: means over the pictures of NIQE and PIQE, or with
references of PSNR, SSIM and LPIPS. The network computes a picture once for each working size, which --cache keeps from one
run to the next; seconds are those of the rest, per picture. --enlarge: pictures and references are first enlarged
(bicubically) to so many megapixels: a large photo that has a reference.
"""
from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from benchmarks.recursion import SHIPPED
from data.benchmarks import BenchmarkSet, Pair
from data.files.images import read_photo, to_8_bit
from engine.enhancing.enhancer import Enhancer, load_enhancer
from engine.enhancing.finishing import finished
from engine.enhancing.sizes import shrunk, working_size
from metrics.suite import MetricSuite


def network_picture(enhancer: Enhancer, dark: np.ndarray, megapixels: float, cache: Path | None) -> torch.Tensor:
    """The network's picture (1, 3, h, w) of (H, W, 3) uint8 at a working size, from the file `cache` where it is there."""
    if cache is not None and cache.exists():
        return torch.from_numpy(np.load(cache)).to(enhancer.device)
    copy = shrunk(dark, working_size(*dark.shape[:2], megapixels), enhancer.device)
    bright = enhancer(copy[0].permute(1, 2, 0).cpu().numpy())                      # (h, w, 3), float in [0, 1]
    bright = bright.transpose(2, 0, 1)[None].copy()
    if cache is not None:
        cache.parent.mkdir(parents=True, exist_ok=True)
        np.save(cache, bright)
    return torch.from_numpy(bright).to(enhancer.device)


def enlarged(picture: np.ndarray, megapixels: float) -> np.ndarray:
    """(H, W, 3) uint8, bicubically, of so many megapixels; 0: as it is."""
    scale = (megapixels * 1e6 / picture[..., 0].size) ** 0.5
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) if megapixels else picture


def pictures(pair: Pair, enlarge: float) -> tuple[np.ndarray, np.ndarray | None]:
    """Photo and reference, (H, W, 3) uint8."""
    dark = enlarged(to_8_bit(read_photo(pair.low).pixels), enlarge)
    return dark, None if pair.high is None else enlarged(to_8_bit(read_photo(pair.high).pixels), enlarge)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detail",
                                     description="Scores by detail and working size.")
    parser.add_argument("--low", type=Path, required=True, metavar="DIR", help="dark pictures")
    parser.add_argument("--high", type=Path, metavar="DIR", help="their references")
    parser.add_argument("--config_path", type=Path, default=SHIPPED / "config.json", metavar="FILE", help="of the weights")
    parser.add_argument("--weights_path", type=Path, default=SHIPPED / "HVR.safetensors", metavar="FILE", help="the weights")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--megapixels", type=float, nargs="+", default=[0.0], metavar="M", help="working sizes; 0: the whole")
    parser.add_argument("--detail", type=float, nargs="+", default=[0.0, 1.0], metavar="D", help="amounts of detail")
    parser.add_argument("--every", type=int, default=1, help="only every so many-th picture")
    parser.add_argument("--enlarge", type=float, default=0.0, metavar="M", help="of so many megapixels; 0: as they are")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="folder that keeps the network's pictures")
    options = parser.parse_args(arguments)
    enhancer = load_enhancer(options.config_path, options.weights_path, options.device, light_order=0.0, white_balance=0.0,
                             detail=0.0, max_working_megapixels=0.0)
    names = ["niqe", "piqe"] if options.high is None else ["psnr", "ssim", "lpips"]
    suite = MetricSuite(names, enhancer.device)
    pairs = BenchmarkSet("pictures", options.low, options.high).pairs()[:: options.every]
    rows: dict[tuple[float, float], list[list[float]]] = {(m, d): [] for m in options.megapixels for d in options.detail}
    for pair in tqdm(pairs, unit="picture"):
        dark, reference = pictures(pair, options.enlarge)
        for megapixels in options.megapixels:
            cache = options.cache and options.cache / f"{pair.name.stem}_{options.enlarge:g}_{megapixels:g}.npy"
            bright = network_picture(enhancer, dark, megapixels, cache)
            for detail in options.detail:
                start = time.perf_counter()
                result = finished(dark, bright, light_order=enhancer.config.inference_light_order,
                                  white_balance=enhancer.config.inference_white_balance, detail=detail)
                seconds = time.perf_counter() - start
                scores = suite.score(result, reference)
                rows[megapixels, detail].append([*(scores[name] for name in suite.available), seconds])
    print(f"\n{len(pairs)} pictures\n\n| megapixels | detail | {' | '.join(suite.available)} | seconds |")
    print("|---" * (len(suite.available) + 3) + "|")
    for (megapixels, detail), row in rows.items():
        values = np.nanmean(row, 0)
        print(f"| {megapixels:g} | {detail:g} | {' | '.join(f'{value:.4g}' for value in values)} |")


if __name__ == "__main__":
    main()
