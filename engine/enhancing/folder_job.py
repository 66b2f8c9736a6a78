"""Enhancing files one after the other. While the device computes a photo, threads decode the next ones and encode the
last ones: a GPU takes 10 ms for a 600x400 photo, its PNG file 60 ms of a core."""
from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.files.images import MAX_MEGAPIXELS, Photo, PhotoError, read_photo, side_by_side, write_photo
from data.files.kinds import longest_side
from engine.enhancing.enhancement import EnhancementError, ImageError
from engine.enhancing.job_plan import JobError, Plan, Task
from engine.enhancing.job_record import JobRecord

logger = logging.getLogger(__name__)

FORESEEN = (PhotoError, ImageError, EnhancementError)
DECODERS, ENCODERS = 2, 4  # threads; as many photos wait in memory
EnhancePixels = Callable[[np.ndarray], np.ndarray]  # (H, W, 3) uint8 or uint16 -> the same kind


@dataclass
class Summary:
    """Numbers of photos written and skipped (already there), and the failed files with their reasons."""

    written: int = 0
    skipped: int = 0
    failed: list[tuple[Path, str]] = field(default_factory=list)
    interrupted: bool = False
    results: list[Path] = field(default_factory=list)  # of the photos written

    def fail(self, path: Path, reason: str) -> None:
        self.failed.append((path, reason))
        logger.error("failed: %s: %s", path, reason)

    def __str__(self) -> str:
        there = " (already there; --overwrite makes them anew)" if self.skipped else ""
        return f"{self.written} written, {self.skipped} skipped{there}, {len(self.failed)} failed"


def run_job(plan: Plan, enhance_pixels: EnhancePixels, *, overwrite: bool = False,
            max_megapixels: float = MAX_MEGAPIXELS, record: JobRecord | None = None) -> Summary:
    """Enhance every photo of the plan. A file that fails is logged with its reason, and the rest goes on.

    Photos whose outputs are all there are skipped unless `overwrite` or the plan is of a single photo, or an unfinished
    job was to make them anew; by the `record`, one warning tells if other settings made them. Ctrl-C ends the job once
    the photos being written are complete; the summary then says `interrupted`. Raises JobError, with nothing written,
    where the file in the place of a single photo's result is not known as such, unless `overwrite`.
    """
    summary = Summary()
    for folder, reason in plan.unreadable:
        summary.fail(folder, reason)
    kept, anew = _split_results(plan, overwrite, record)
    todo = [task for task in plan.tasks if not kept.issuperset(task.targets())]
    summary.skipped = len(plan.tasks) - len(todo)
    if record is not None:
        new = {target for task in todo for target in task.targets()} - kept - anew
        record.begin(new, anew)  # before it: a killed job notes nothing
    bar = tqdm(total=len(todo), unit="photo", dynamic_ncols=True)
    with bar, ThreadPoolExecutor(ENCODERS, "encode") as encoders:
        writing: deque[tuple[Task, Future[None]]] = deque()
        try:
            for task, decoding in _decoded_ahead(todo, max_megapixels):
                try:
                    photo = decoding.result()
                    bright = replace(photo, pixels=enhance_pixels(photo.pixels))
                except Exception as error:  # one photo's trouble, of whatever kind, is not the others'
                    summary.fail(task.source, why_it_failed(error))
                    bar.update()
                    continue
                while writing and (len(writing) == ENCODERS or writing[0][1].done()):
                    _finish(*writing.popleft(), summary, bar)
                writing.append((task, encoders.submit(_write, task, photo, bright, kept, plan.quality)))
        except KeyboardInterrupt:
            summary.interrupted = True
        while writing:
            _finish(*writing.popleft(), summary, bar)
    if record is not None:
        record.finish(anew.intersection(summary.results))
    return summary


def _split_results(plan: Plan, overwrite: bool, record: JobRecord | None) -> tuple[set[Path], set[Path]]:
    """The results that are there: those that stay, with a warning if other settings made them, and those to make anew."""
    there = {target for task in plan.tasks for target in task.targets() if is_there(target)}
    if plan.single and not overwrite and record is not None:
        _refuse_to_replace_others({task.output for task in plan.tasks} & there, record)
    if overwrite or plan.single:
        return set(), there
    if record is None:
        return there, set()
    anew = record.pending(there)
    differences = record.differences(there - anew)
    if differences:
        logger.warning("results that are already there were made with other settings and are left as they are: %s; "
                       "--overwrite makes them anew", differences)
    return there - anew, anew


def _refuse_to_replace_others(results: set[Path], record: JobRecord) -> None:
    """JobError where one is on no record, and so may be a photo, or is a result of a photo in another folder."""
    for result, source in record.inputs(results).items():
        if source != record.settings["input"]:
            what = "not known as a result of this photo" if source is None else f"the result of a photo in {source}"
            raise JobError(f"{result} is there, {what}; choose another --output_dir, or --overwrite it (nothing was written)")


def _decoded_ahead(tasks: Sequence[Task], max_megapixels: float) -> Iterator[tuple[Task, Future[Photo]]]:
    """Each task with its photo; while the caller works on one, the next are being decoded."""
    with ThreadPoolExecutor(DECODERS, "decode") as decoders:
        ahead: deque[Future[Photo]] = deque()
        try:
            for number, task in enumerate(tasks):
                for following in tasks[number + len(ahead) : number + 1 + DECODERS]:
                    ahead.append(decoders.submit(read_photo, following.source, max_megapixels))
                yield task, ahead.popleft()
        finally:
            for decoding in ahead:
                decoding.cancel()


def _write(task: Task, photo: Photo, bright: Photo, kept: set[Path], quality: int | None) -> None:
    if task.output not in kept:
        write_photo(task.output, bright, quality)
    if task.compare is not None and task.compare not in kept:
        write_photo(task.compare, side_by_side(photo, bright, longest_side(task.compare.suffix)), quality)


def is_there(path: Path) -> bool:
    """A result; an empty file is none (a power cut may leave one)."""
    try:
        return path.is_file() and path.stat().st_size > 0
    except OSError:  # a name that the file system does not take, for one
        return False


def _finish(task: Task, writing: Future[None], summary: Summary, bar: tqdm) -> None:
    """Wait for a photo to be written and count it."""
    try:
        writing.result()
        summary.written += 1
        summary.results.extend(task.targets())
    except Exception as error:
        summary.fail(task.source, why_it_failed(error))
    bar.update()


def why_it_failed(error: Exception) -> str:
    """One line for the user; errors that nobody foresaw come with their type."""
    lines = str(error).strip().splitlines() or ["no message"]
    return lines[0] if isinstance(error, FORESEEN) else f"{type(error).__name__}: {lines[0]}"
