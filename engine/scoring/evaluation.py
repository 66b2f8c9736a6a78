"""Scores of an enhancement on benchmark sets: `evaluate` for any of them, `run` for the command line.

For every picture of every set: enhance it, save the result as an 8-bit PNG, score what was saved against the reference
(or on its own in sets without references), and the dark input likewise, as the line to beat. One picture is in memory at
a time. Under a launcher each process takes its share of the pictures; the scores of all are gathered at the end.
"""
from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from data.benchmarks import BenchmarkAbsent, BenchmarkError, BenchmarkSet, Pair
from data.files.images import Photo, PhotoError, read_photo, to_8_bit, write_photo
from engine.background import interruptible
from engine.enhancing.folder_job import FORESEEN, EnhancePixels, why_it_failed
from engine.processes import Processes, all_processes
from engine.scoring.report import overview_table, write_overview, write_set
from engine.scoring.scores import PictureScores, SetScores
from metrics.suite import PAIRED, UNPAIRED, MetricSuite, Scores

logger = logging.getLogger(__name__)

PICTURES = "pictures"  # folder, below a set's, of the enhanced pictures


class EvaluationError(ValueError):
    """Nothing could be evaluated, or the results could not be written."""


def run(sets: Sequence[BenchmarkSet], enhance_pixels: EnhancePixels, output_dir: Path, device: torch.device, *,
        required: bool = True, settings: Mapping[str, Any] | None = None) -> int:
    """Evaluate, print the table, and return the exit status: 1 where a set or a picture could not be scored, else 0.

    A metric whose weights this machine does not have is reported and no failure; neither is an absent set unless
    `required`. Raises EvaluationError when there is no set at all.
    """
    with all_processes() as processes:
        results = evaluate(sets, enhance_pixels, output_dir, device, processes=processes, settings=settings)
        if processes.rank > 0:
            return 0
    if all(result.absent for result in results):
        raise EvaluationError("\n".join([*(str(result.problem) for result in results),
                                         "python -m data.check lists what is on this machine"]))
    print(overview_table([result for result in results if not result.absent]))
    print(f"written: {output_dir}/summary.md, and a folder for each set")
    failed = [result for result in results if result.failed or (result.problem and (required or not result.absent))]
    return 1 if failed else 0


def evaluate(sets: Sequence[BenchmarkSet], enhance_pixels: EnhancePixels, output_dir: Path, device: torch.device, *,
             processes: Processes | None = None, max_images: int | None = None, score_inputs: bool = True,
             metrics: Sequence[str] | None = None, settings: Mapping[str, Any] | None = None) -> list[SetScores]:
    """Enhance and score the pictures of all sets, and write pictures and reports below `output_dir`.

    enhance_pixels: from the pixels of a dark picture, uint8 or uint16 (H, W, 3), to those of the enhanced one.
    device: where metrics with networks run.
    processes: that share the work; None: those of this launch. Then every one of them must make this call.
    max_images: only the first so many pictures of each set. metrics: names; None: all that apply to the set.
    settings: what to say in the reports about how the pictures were made.

    Returns the scores of all sets on every process. No trouble with a set or a picture ends the evaluation: it is
    logged and stands in the scores and reports. Raises EvaluationError when the reports cannot be written. After Ctrl-C
    a single process writes the reports of what has been scored, which say so, before it raises KeyboardInterrupt; those of
    an earlier evaluation stay.
    """
    if processes is None:
        with all_processes() as found:
            return evaluate(sets, enhance_pixels, output_dir, device, processes=found, max_images=max_images,
                            score_inputs=score_inputs, metrics=metrics, settings=settings)
    suites: dict[bool, MetricSuite] = {}
    results: list[SetScores] = []
    unwritten: list[str] = []
    about = dict(settings or {})
    interrupted = False
    for number, benchmark in enumerate(sets):
        applicable = UNPAIRED if benchmark.high is None else PAIRED
        result = SetScores(benchmark, [name for name in applicable if metrics is None or name in metrics])
        results.append(result)
        try:
            pairs = _pairs(result, output_dir)[:max_images]
            # The first picture of each set goes to another process, so that many small sets are shared out evenly too.
            share = pairs[(processes.rank - number) % processes.world::processes.world]
            _score(result, share, suites, enhance_pixels, output_dir, device, score_inputs, processes)
        except KeyboardInterrupt:
            if processes.world > 1:  # the others would wait
                raise
            result.problem, interrupted = f"interrupted after {len(result.pictures)} pictures", True
        except Exception as error:  # whatever it is, the other processes wait for this one's scores
            result.problem = why_it_failed(error)
            logger.error("failed: %s: %s", benchmark.name, result.problem, exc_info=True)
        _gather(result, processes)
        folder = output_dir / benchmark.name
        if processes.rank == 0 and result.pictures and not (interrupted and (folder / "summary.json").exists()):
            _written(unwritten, partial(write_set, result, folder, None if interrupted else folder / PICTURES, about))
        if interrupted:
            break
    if processes.rank == 0:
        _log_what_is_lacking(results)
        if not (interrupted and (output_dir / "summary.json").exists()):
            _written(unwritten, partial(write_overview, results, output_dir, about))
    if unwritten:
        raise EvaluationError(f"results could not be written to {output_dir}: {unwritten[0]}")
    if interrupted:
        raise KeyboardInterrupt
    return results


def _pairs(result: SetScores, output_dir: Path) -> list[Pair]:
    """The set's pictures; none, and the reason in `result.problem`, where the set cannot be used."""
    folder = (output_dir / result.name).resolve()
    try:
        for source in result.benchmark.folders():
            if folder.is_relative_to(source.resolve()):
                raise BenchmarkError(f"{result.name}: results in {folder} would lie among the pictures of {source}; "
                                     "choose another output folder")
        return result.benchmark.pairs()
    except BenchmarkError as error:
        result.problem, result.absent = str(error), isinstance(error, BenchmarkAbsent)
        return []


def _score(result: SetScores, share: Sequence[Pair], suites: dict[bool, MetricSuite], enhance_pixels: EnhancePixels,
           output_dir: Path, device: torch.device, score_inputs: bool, processes: Processes) -> None:
    """This process's share of one set, into `result`. `suites` keeps the metrics for the next set of the kind."""
    if not share:
        return
    paired = result.benchmark.high is not None
    if paired not in suites:
        suites[paired] = MetricSuite(result.metrics, device)
    result.missing = dict(suites[paired].missing)
    score = PictureScorer(enhance_pixels, suites[paired], output_dir / result.name / PICTURES, score_inputs)
    bar = tqdm(share, desc=result.name, unit=" pictures", disable=processes.rank > 0, dynamic_ncols=True)
    for pair in bar:
        result.pictures.append(score(pair))


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


def _gather(result: SetScores, processes: Processes) -> None:
    """Put the scores of all processes into `result` of each, in the order of names."""
    shares = processes.gather((result.pictures, result.missing, result.problem))
    result.pictures = sorted((picture for pictures, _, _ in shares for picture in pictures), key=lambda p: p.name)
    for _, missing, problem in shares:
        result.missing |= missing
        result.problem = result.problem or problem


def _written(unwritten: list[str], write: Callable[[], None]) -> None:
    """Call `write`; a full disk is noted and raised at the end, when no other process waits for this one any more."""
    try:
        write()
    except (OSError, UnicodeError, PhotoError) as error:
        unwritten.append(str(error))


def _log_what_is_lacking(results: Sequence[SetScores]) -> None:
    """Absent sets in one line; other failures and missing metrics in a line each."""
    absent = [result.name for result in results if result.absent]
    if absent:
        logger.warning("benchmarks that are not on this machine and are left out: %s (dataset/README.md shows the "
                       "expected tree, and eval_dataset in the config says where each set is looked for)", ", ".join(absent))
    for result in results:
        if result.problem and not result.absent:
            logger.error("failed: %s", result.problem)
    for metric, reason in {name: why for result in results for name, why in result.missing.items()}.items():
        logger.warning("metric %s is missing: %s", metric, reason)
