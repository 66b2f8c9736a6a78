"""Speed of the training data on one core: images per second, the share of each stage, and the published recipe's stack.

    python -m benchmarks.data_loading [--images DIR] [--annotations FILE] [--count N] [--rounds N]

One process, one thread, CPU time (so that other programs on the machine matter less). The ways to make a batch take
turns, A B C A B C, over the same photos. B is the recipe with albumentations 2.0.8 as one writes it down: the transforms
are built for each photo, as the crop's area depends on its size, and the curve is computed on `photo / 255.0`, which
NumPy makes float64. C is the same stack tuned: transforms kept, all in float32. Both leave float32 batches. They need
albumentations, which training does not; this keeps the installed OpenCV:

    pip install --no-deps albumentations==2.0.8 albucore==0.0.24 stringzilla simsimd
    pip install pydantic

Without it A is measured alone.
"""
from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import torch

from benchmarks.recipe_albumentations import RecipeStack
from data.pairs.augment import degrade
from data.pairs.dataset import LowLightPairs
from data.pairs.decoding import PhotoFile
from data.pairs.degradation import darken, draw_curve, ranges_at
from data.pairs.geometry import decode_for_view, draw_view, take_view
from data.pairs.loading import collate
from data.pairs.photos import PhotoRef, list_photos
from data.pairs.randomness import stream
from exp_config.config import Config

BATCH = 16


def main() -> None:
    options = parse_arguments()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    config = Config(coco_train_images=str(options.images.resolve()), max_train_photos=options.count,
                    coco_train_annotations=str(options.annotations.resolve()) if options.annotations else None)
    photos = list_photos(config, train=True)
    print(f"{len(photos)} photos of {options.images}, {config.width}x{config.height} crops, batches of {BATCH}, one core")
    print_stages(photos, config)
    ways: dict[str, Callable[[int], None]] = {"A this project": lambda epoch: run_project(photos, config, epoch)}
    try:
        written, tuned = RecipeStack(config), RecipeStack(config, tuned=True)
    except ImportError as error:
        print(f"albumentations cannot be imported ({error}); the docstring of this file says how to install it")
    else:
        ways["B albumentations"] = lambda epoch: run_stack(written, photos, epoch)
        ways["C albumentations, tuned"] = lambda epoch: run_stack(tuned, photos, epoch)
    compare(ways, len(photos), options.rounds)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data_loading", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=Path, default=Config.path("dataset/coco/val2017"), metavar="DIR",
                        help="folder of photos (default: %(default)s)")
    parser.add_argument("--annotations", type=Path, metavar="FILE", help="its instances_*.json (default: every photo)")
    parser.add_argument("--count", type=int, default=400, help="use the first so many photos (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=4, help="turns of each way (default: %(default)s)")
    return parser.parse_args()


def run_project(photos: Sequence[PhotoRef], config: Config, epoch: int) -> None:
    pairs = LowLightPairs(photos, config, train=True)
    for start in range(0, len(photos), BATCH):
        collate(pairs.__getitems__([(epoch, index) for index in range(start, min(start + BATCH, len(photos)))]))


def run_stack(stack: RecipeStack, photos: Sequence[PhotoRef], epoch: int) -> None:
    stack.set_seed(epoch)
    for start in range(0, len(photos), BATCH):
        torch.utils.data.default_collate([stack(photo.path) for photo in photos[start : start + BATCH]])


def compare(ways: dict[str, Callable[[int], None]], count: int, rounds: int) -> None:
    """Let the ways take turns and print images per second of CPU time: each turn, and the median."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for run in ways.values():
        run(0)  # warm-up: file cache, kernels, tables
    for turn in range(rounds):
        for name, run in ways.items():
            start = time.process_time()
            run(turn)
            rates[name].append(count / (time.process_time() - start))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    ours = next(iter(medians.values()))
    print(f"{'':24s} images/s per core   A is faster by   turns")
    for name, values in rates.items():
        turns = "  ".join(f"{value:.0f}" for value in values)
        print(f"{name:24s} {medians[name]:17.1f} {ours / medians[name]:15.2f}x   {turns}")


def print_stages(photos: Sequence[PhotoRef], config: Config) -> None:
    """The stages of `LowLightPairs`, timed one by one, and their share of the sum."""
    spent: dict[str, float] = defaultdict(float)
    for timed in (False, True):  # the first time warms up
        spent.clear()
        for start in range(0, len(photos), BATCH):
            run_stages(photos[start : start + BATCH], config, int(timed), spent)
    total = sum(spent.values())
    print(f"{'stage':24s} microseconds per image    share")
    for name, seconds in spent.items():
        print(f"{name:24s} {1e6 * seconds / len(photos):22.0f}  {seconds / total:7.1%}")


def run_stages(photos: Sequence[PhotoRef], config: Config, epoch: int, spent: dict[str, float]) -> None:
    """One batch, stage after stage; adds the CPU time of each to `spent`."""
    size = (config.height, config.width)

    def each(name: str, work: Callable[..., Any], *columns: Sequence[Any]) -> list[Any]:
        start = time.process_time()
        result = [work(*row) for row in zip(*columns, strict=True)]
        spent[name] += time.process_time() - start
        return result

    rngs = each("random streams", lambda photo: stream("pair", config.seed, epoch, photo.id), photos)
    files = each("read and decode", lambda photo: PhotoFile(photo.path), photos)
    views = each("draw geometry", lambda rng, file: draw_view(rng, file.size, size, config.geometry_rate), rngs, files)
    views = each("decode large photos", lambda file, view: decode_for_view(file, view, size), files, views)
    normal = each("rotate, crop, resize", lambda seen: take_view(*seen, size, "lanczos"), views)
    ranges = ranges_at(config, epoch)
    dark = each("curve", lambda y, rng: darken(y, draw_curve(rng, ranges, config.l_distribution, config.alpha_distribution)),
                normal, rngs)
    low = each("degradations", lambda x, rng: degrade(x, rng, config.augment_rate), dark, rngs)
    pairs = [{"low": torch.from_numpy(x), "normal": torch.from_numpy(y), "image_id": photo.id, "state_seed": 0}
             for x, y, photo in zip(low, normal, photos, strict=True)]
    each("collate", collate, [pairs])


if __name__ == "__main__":
    main()
