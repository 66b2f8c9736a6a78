"""Scores of an enhancement on benchmark sets: `evaluate` for any of them, `run` for the command line.

For every picture of every set: enhance it, save the result as an 8-bit PNG, score what was saved against the reference
(or on its own in sets without references), and the dark input likewise, as the line to beat. One picture is in memory at
a time. Under a launcher each picture is scored by whichever process is free; the first process has the scores of all.
"""
from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from data.benchmarks import BenchmarkAbsent, BenchmarkError, BenchmarkSet, Pair
from data.files.images import PhotoError
from engine.enhancing.folder_job import EnhancePixels, why_it_failed
from engine.scoring.picture_scorer import PictureScorer
from engine.scoring.report import overview_table, write_overview, write_set
from engine.scoring.scores import PictureScores, SetScores
from engine.sharing import SharedWork
from engine.team import Team, team
from metrics.suite import PAIRED, UNPAIRED, MetricSuite

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
    with team(output_dir) as members:
        results = evaluate(sets, enhance_pixels, output_dir, device, members=members, settings=settings)
    if not members.is_main:
        return 0
    if all(result.absent for result in results):
        raise EvaluationError("\n".join([*(str(result.problem) for result in results),
                                         "python -m data.check lists what is on this machine"]))
    print(overview_table([result for result in results if not result.absent]))
    print(f"written: {output_dir}/summary.md, and a folder for each set")
    failed = [result for result in results if result.failed or (result.problem and (required or not result.absent))]
    return 1 if failed else 0


def evaluate(sets: Sequence[BenchmarkSet], enhance_pixels: EnhancePixels, output_dir: Path, device: torch.device, *,
             members: Team | None = None, max_images: int | None = None, score_inputs: bool = True,
             metrics: Sequence[str] | None = None, settings: Mapping[str, Any] | None = None) -> list[SetScores]:
    """Enhance and score the pictures of all sets, and write pictures and reports below `output_dir`.

    enhance_pixels: from the pixels of a dark picture, uint8 or uint16 (H, W, 3), to those of the enhanced one.
    device: where metrics with networks run.
    members: processes that share the work; None: those of this launch. Then every one of them must make this call.
    max_images: only the first so many pictures of each set. metrics: names; None: all that apply to the set.
    settings: what to say in the reports about how the pictures were made.

    Returns the scores of all sets on every process. No trouble with a set or a picture ends the evaluation: it is
    logged and stands in the scores and reports. Raises EvaluationError when the reports cannot be written. After Ctrl-C
    the first process writes the reports of what has been scored, which say so, before all raise KeyboardInterrupt; those of
    an earlier evaluation stay. Raises TeamError where the first process is gone.
    """
    if members is None:
        with team(output_dir) as found:
            return evaluate(sets, enhance_pixels, output_dir, device, members=found, max_images=max_images,
                            score_inputs=score_inputs, metrics=metrics, settings=settings)

    def find() -> list[tuple[SetScores, list[Pair]]]:
        results = []
        for benchmark in sets:
            applicable = UNPAIRED if benchmark.high is None else PAIRED
            result = SetScores(benchmark, [name for name in applicable if metrics is None or name in metrics])
            results.append((result, _pairs(result, output_dir)[:max_images]))
        return results

    job = _Evaluation(members.on_main("sets", find), members, output_dir, dict(settings or {}))
    try:
        job.score(_Scorers(enhance_pixels, output_dir, device, score_inputs))
        job.collect()
    except KeyboardInterrupt:
        job.interrupted = True
        members.stop()
        job.collect()
        if members.is_main:
            job.finish()
        raise
    return members.on_main("results", job.finish)


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


class _Scorers:
    """A scorer for each set; sets of a kind share their metrics, which are built once, when they are first needed."""

    def __init__(self, enhance_pixels: EnhancePixels, output_dir: Path, device: torch.device, score_inputs: bool) -> None:
        self.enhance_pixels, self.output_dir, self.device, self.score_inputs = enhance_pixels, output_dir, device, score_inputs
        self._suites: dict[bool, MetricSuite] = {}
        self._problems: dict[bool, str] = {}

    def score(self, result: SetScores, pair: Pair) -> _Outcome:
        """Every error is an outcome: with several processes, no one may leave the others waiting."""
        paired = result.benchmark.high is not None
        if paired not in self._suites and paired not in self._problems:
            try:
                self._suites[paired] = MetricSuite(result.metrics, self.device)
            except Exception as error:
                self._problems[paired] = why_it_failed(error)
                logger.error("failed: %s: %s", result.name, self._problems[paired], exc_info=True)
        if paired in self._problems:
            return _Outcome(None, {}, self._problems[paired])
        suite = self._suites[paired]
        scorer = PictureScorer(self.enhance_pixels, suite, self.output_dir / result.name / PICTURES, self.score_inputs)
        return _Outcome(scorer(pair), dict(suite.missing))


@dataclass(frozen=True)
class _Outcome:
    """What came of one picture: its scores, and which metrics are missing; or why nothing of its kind can be scored."""

    scores: PictureScores | None
    missing: dict[str, str]
    problem: str | None = None


class _Evaluation:
    """The pictures of all sets, and on the first process what came of each. A set's report is written once it is complete."""

    def __init__(self, found: list[tuple[SetScores, list[Pair]]], members: Team, output_dir: Path,
                 about: dict[str, Any]) -> None:
        self.results = [result for result, _ in found]
        self.tasks = [(result, pair) for result, pairs in found for pair in pairs]
        self.left = {result.name: len(pairs) for result, pairs in found}
        self.work = SharedWork(members, "pictures", len(self.tasks))
        self.members, self.output_dir, self.about = members, output_dir, about
        self.bar = tqdm(total=len(self.tasks), unit="picture", dynamic_ncols=True, disable=not members.is_main)
        self.unwritten: list[str] = []
        self.interrupted = False

    def score(self, scorers: _Scorers) -> None:
        """The pictures that this process takes."""
        for number in self.work.order():
            if self.work.take(number):
                result, pair = self.tasks[number]
                self.bar.set_description(result.name)
                self.work.report(number, scorers.score(result, pair))
            self._add(self.work.outcomes())

    def collect(self) -> None:
        """On the first process: the pictures of the others."""
        for told in self.work.rest():
            self._add([told])
        self.bar.close()
        if self.members.is_main and not self.interrupted:
            for number in self.work.unknown():
                _, pair = self.tasks[number]
                scores = PictureScores(pair.name.as_posix(), str(pair.low), None if pair.high is None else str(pair.high),
                                       problem="the process that had it in hand died")
                self._add([(number, _Outcome(scores, {}))])

    def _add(self, outcomes: Iterable[tuple[int, _Outcome]]) -> None:
        for number, outcome in outcomes:
            result, _ = self.tasks[number]
            result.missing |= outcome.missing
            result.problem = result.problem or outcome.problem
            if outcome.scores is not None:
                result.pictures.append(outcome.scores)
            self.bar.update()
            self.left[result.name] -= 1
            if not self.left[result.name]:
                self._write(result)

    def _write(self, result: SetScores) -> None:
        folder = self.output_dir / result.name
        result.pictures.sort(key=lambda picture: picture.name)
        if result.pictures and not (self.interrupted and (folder / "summary.json").exists()):
            pictures = None if self.interrupted else folder / PICTURES  # for a sheet that takes seconds
            _written(self.unwritten, partial(write_set, result, folder, pictures, self.about))

    def finish(self) -> list[SetScores]:
        """On the first process: the reports of what is not complete, and the table of all. -> the results."""
        if self.interrupted:
            self.results = [result for result in self.results if not self.left[result.name] or result.pictures]
            for result in self.results:
                if self.left[result.name]:
                    result.problem = f"interrupted after {len(result.pictures)} pictures"
                    self._write(result)
        _log_what_is_lacking(self.results)
        if not (self.interrupted and (self.output_dir / "summary.json").exists()):
            _written(self.unwritten, partial(write_overview, self.results, self.output_dir, self.about))
        if self.unwritten:
            raise EvaluationError(f"results could not be written to {self.output_dir}: {self.unwritten[0]}")
        return self.results


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
