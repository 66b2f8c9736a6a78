"""The overlap study: every test reference against every training reference of its size, by SSIM.

All pairs are estimated from a sample of SSIM windows (data/overlap/ssim.py); those within a margin of the threshold, or
above it, are then computed in full. So a reported match is exact, and one is missed only where its estimate is too low
by more than the margin; `verify` counts such cases.
"""
from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from data.benchmarks import list_pictures
from data.files.images import PhotoError, read_photo
from data.overlap.ssim import WINDOW, Moments, WindowSample, estimate_ssim, full_ssim

BLOCK = 16  # pictures of each side in one matrix product: 2 x 16 x 7 MB of windows
MARGIN = 0.03  # many times the estimate's usual error of 0.002


class OverlapError(ValueError):
    """Folders or pictures that cannot be compared."""


@dataclass
class Overlap:
    """Outcome of a study. `ssim` (tests, trains) holds NaN where two pictures cannot be compared."""

    tests: list[Path]
    trains: list[Path]
    ssim: np.ndarray
    is_full: np.ndarray  # bool, as ssim: computed with every window, not estimated
    threshold: float
    seconds: float

    @property
    def matches(self) -> list[tuple[int, int, float, int]]:
        """(test, train, score, rank) of all pairs at or above the threshold; rank 1 is a test picture's closest."""
        found = []
        for test, row in enumerate(self.ssim):
            nearest_first = np.argsort(-np.nan_to_num(row, nan=-1), kind="stable")
            trains = [int(train) for train in nearest_first if row[train] >= self.threshold]
            found += [(test, train, float(row[train]), rank) for rank, train in enumerate(trains, 1)]
        return found


@dataclass
class Verification:
    """Pairs that the estimate had ruled out and that were computed in full to see whether any of them is a match."""

    checked: int  # ruled-out pairs computed in full
    ruled_out: int  # all of them
    missed: int  # matches among the checked
    found: int  # matches that the study had found
    largest_error: float  # of the estimate, on the checked
    pairs_per_second: float  # of the full computation

    @property
    def recall(self) -> float:
        """Share of the known matches that the study had found; NaN without a match."""
        return self.found / (self.found + self.missed) if self.found + self.missed else float("nan")


def study(test: Path, train: Path, threshold: float = 0.9, margin: float = MARGIN,
          workers: int | None = None) -> Overlap:
    """Compare the pictures of two folders. Raises OverlapError naming what cannot be used."""
    start = time.perf_counter()
    tests, trains = _pictures(test), _pictures(train)
    shape = (len(tests), len(trains))
    overlap = Overlap(tests, trains, np.full(shape, np.nan), np.zeros(shape, bool), threshold, 0.0)
    with ThreadPoolExecutor(workers or _cores()) as pool:
        for rows, columns, block in _estimates(tests, trains, pool):
            overlap.ssim[np.ix_(rows, columns)] = block
        _blank_same_files(overlap)
        candidates = np.argwhere(overlap.ssim >= threshold - margin)
        for (row, column), score in zip(candidates, _in_full(tests, trains, candidates, pool), strict=True):
            overlap.ssim[row, column], overlap.is_full[row, column] = score, True
    overlap.seconds = time.perf_counter() - start
    return overlap


def verify(overlap: Overlap, count: int, seed: int = 0, workers: int | None = None) -> Verification:
    """Compute `count` of the ruled-out pairs in full: half of them those with the highest estimates, half at random."""
    ruled_out = np.argwhere(~overlap.is_full & ~np.isnan(overlap.ssim))
    order = np.argsort(-overlap.ssim[tuple(ruled_out.T)], kind="stable")
    nearest, rest = order[: count // 2], order[count // 2:]
    others = np.random.default_rng(seed).permutation(rest)[: count - len(nearest)]
    pairs = ruled_out[np.sort(np.concatenate([nearest, others]))]
    start = time.perf_counter()
    with ThreadPoolExecutor(workers or _cores()) as pool:
        scores = np.array(list(_in_full(overlap.tests, overlap.trains, pairs, pool)))
    errors = np.abs(scores - overlap.ssim[tuple(pairs.T)])
    return Verification(len(pairs), len(ruled_out), int((scores >= overlap.threshold).sum()), len(overlap.matches),
                        float(errors.max(initial=0)), len(pairs) / max(time.perf_counter() - start, 1e-9))


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise OverlapError(f"no folder {folder}; expected one of reference (normal-light) pictures")
    pictures = [folder / name for name in list_pictures(folder)]
    if not pictures:
        raise OverlapError(f"no pictures in {folder}")
    return pictures


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _read(path: Path) -> np.ndarray:
    """float32 (H, W, 3) in [0, 1]."""
    try:
        pixels = read_photo(path).pixels
    except PhotoError as error:
        raise OverlapError(f"{path}: {error}") from None
    return pixels.astype(np.float32) / np.iinfo(pixels.dtype).max


def _samples(paths: Iterable[Path]) -> list[WindowSample | None]:
    """None for a picture with a side below the SSIM window."""
    pictures = (_read(path) for path in paths)
    return [WindowSample.of(picture) if min(picture.shape[:2]) >= WINDOW else None for picture in pictures]


def _estimates(tests: Sequence[Path], trains: Sequence[Path], pool: ThreadPoolExecutor,
               ) -> Iterator[tuple[list[int], list[int], np.ndarray]]:
    """(test indices, train indices, estimated SSIM of each with each): all pairs of equal size, block by block."""
    train_blocks = [range(start, min(start + BLOCK, len(trains))) for start in range(0, len(trains), BLOCK)]
    for start in range(0, len(tests), BLOCK):
        test_samples = _by_shape(range(start, min(start + BLOCK, len(tests))), tests)

        def compare(block: range, test_samples=test_samples) -> list[tuple[list[int], list[int], np.ndarray]]:
            train_samples = _by_shape(block, trains)
            return [([i for i, _ in test_samples[shape]], [j for j, _ in train_samples[shape]],
                     estimate_ssim([s for _, s in test_samples[shape]], [s for _, s in train_samples[shape]]))
                    for shape in test_samples.keys() & train_samples.keys()]

        for results in pool.map(compare, train_blocks):
            yield from results


def _by_shape(block: range, paths: Sequence[Path]) -> dict[tuple[int, int], list[tuple[int, WindowSample]]]:
    groups = defaultdict(list)
    for index, sample in zip(block, _samples(paths[i] for i in block), strict=True):
        if sample is not None:
            groups[sample.shape].append((index, sample))
    return groups


def _blank_same_files(overlap: Overlap) -> None:
    """A folder compared with itself: a picture is no match of its own file."""
    column_of = {path.resolve(): column for column, path in enumerate(overlap.trains)}
    for row, path in enumerate(overlap.tests):
        if path.resolve() in column_of:
            overlap.ssim[row, column_of[path.resolve()]] = np.nan


def _in_full(tests: Sequence[Path], trains: Sequence[Path], pairs: np.ndarray,
             pool: ThreadPoolExecutor) -> Iterator[float]:
    """Full SSIM of each (test, train) of `pairs` (M, 2), in order; neighbours in that order share what was computed."""
    test_moments, train_moments = lru_cache(4)(_moments), lru_cache(16)(_moments)  # 17 MB each at 600x400
    return pool.map(lambda pair: full_ssim(test_moments(tests[pair[0]]), train_moments(trains[pair[1]])), pairs)


def _moments(path: Path) -> Moments:
    return Moments.of(_read(path))
