"""One picture after another: enhanced, saved, and what was saved is scored."""
from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np

from data.benchmarks import Pair
from data.files.images import Photo, PhotoError, read_photo, to_8_bit, write_photo
from engine.background import interruptible
from engine.enhancing.folder_job import FORESEEN, EnhancePixels, why_it_failed
from engine.scoring.scores import PictureScores
from metrics.suite import MetricSuite, Scores

logger = logging.getLogger(__name__)


class PictureScorer:
    """Enhances, saves and scores one picture after another."""

    def __init__(self, enhance_pixels: EnhancePixels, suite: MetricSuite, folder: Path, score_inputs: bool) -> None:
        self.enhance_pixels, self.suite, self.folder, self.score_inputs = enhance_pixels, suite, folder, score_inputs

    def __call__(self, pair: Pair) -> PictureScores:
        """Every error becomes the picture's `problem`: with several processes, no one may leave the others waiting."""
        scores = PictureScores(pair.name.as_posix(), str(pair.low), None if pair.high is None else str(pair.high))
        try:
            self._score(pair, scores)
        except Exception as error:
            scores.problem = why_it_failed(error)
            logger.error("failed: %s: %s", pair.low, scores.problem, exc_info=not isinstance(error, FORESEEN))
        return scores

    def _score(self, pair: Pair, scores: PictureScores) -> None:
        dark, reference = _read(pair.low), None if pair.high is None else to_8_bit(_read(pair.high).pixels)
        scores.height, scores.width = dark.pixels.shape[:2]
        if reference is not None and reference.shape != dark.pixels.shape:
            raise PhotoError(f"sizes differ: {pair.low} has {_size(dark.pixels)}, its reference {pair.high} has "
                             f"{_size(reference)}")
        start = time.perf_counter()
        output = to_8_bit(self.enhance_pixels(dark.pixels))
        scores.seconds = time.perf_counter() - start
        target = self.folder / pair.name.with_suffix(".png")
        try:
            write_photo(target, Photo(output, icc_profile=None if dark.gray else dark.icc_profile))
        except PhotoError as error:
            raise PhotoError(f"{target} {error}") from None
        source = to_8_bit(dark.pixels)
        measured = interruptible(self.suite.score, output, reference, source)
        scores.output, scores.gaps = _numbers(measured), dict(measured.reasons)
        if self.score_inputs:
            scores.input = _numbers(interruptible(self.suite.score, source, reference))


def _numbers(scores: Scores) -> dict[str, float]:
    return {name: value for name, value in scores.items() if name not in scores.reasons}


def _read(path: Path) -> Photo:
    try:
        return read_photo(path)
    except PhotoError as error:
        raise PhotoError(f"{path}: {error}") from None


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]}"
