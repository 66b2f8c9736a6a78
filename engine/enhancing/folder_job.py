"""Enhancing the photos of a plan, by all processes of a launch. While the device computes a photo, threads decode the next
ones and encode the last ones: a GPU takes 10 ms for a 600x400 photo, its PNG file 60 ms of a core."""
from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.files.images import MAX_MEGAPIXELS, Photo, PhotoError, read_photo, side_by_side, write_photo
from data.files.kinds import longest_side
from engine.enhancing.batches import Batches
from engine.enhancing.enhancement import EnhancementError, ImageError
from engine.enhancing.job_plan import JobError, Plan, Task
from engine.enhancing.job_record import JobRecord
from engine.enhancing.photo_queue import Taken, photo_groups
from engine.sharing import SharedWork
from engine.team import Team

logger = logging.getLogger(__name__)

FORESEEN = (PhotoError, ImageError, EnhancementError)
ENCODERS = 4  # threads; as many photos wait in memory
EnhancePixels = Callable[[np.ndarray], np.ndarray]  # (H, W, 3) uint8 or uint16 -> the same kind


@dataclass
class Summary:
    """Numbers of photos written and skipped (already there), and the failed files with their reasons. `orphaned`: the first
    of several processes, which was to sum up, is gone."""

    written: int = 0
    skipped: int = 0
    failed: list[tuple[Path, str]] = field(default_factory=list)
    interrupted: bool = False
    orphaned: bool = False
    results: list[Path] = field(default_factory=list)  # of the photos written

    def fail(self, path: Path, reason: str) -> None:
        self.failed.append((path, reason))
        logger.error("failed: %s: %s", path, reason)

    def __str__(self) -> str:
        there = " (already there; --overwrite makes them anew)" if self.skipped else ""
        return f"{self.written} written, {self.skipped} skipped{there}, {len(self.failed)} failed"


@dataclass(frozen=True)
class Todo:
    """What a job has to do: its tasks, which of their targets stay as they are, which are made anew, and how many tasks of
    the plan are done already."""

    tasks: list[Task]
    kept: set[Path]
    anew: set[Path]
    skipped: int
    quality: int | None = None  # of the results' encoding


def run_job(plan: Plan, enhance_pixels: EnhancePixels, *, overwrite: bool = False,
            max_megapixels: float = MAX_MEGAPIXELS, record: JobRecord | None = None, team: Team | None = None,
            batches: Batches | None = None) -> Summary:
    """Enhance every photo of the plan. A file that fails is logged with its reason, and the rest goes on.

    Photos whose outputs are all there are skipped unless `overwrite` or the plan is of a single photo, or an unfinished
    job was to make them anew; by the `record`, one warning tells if other settings made them. Ctrl-C ends the job once
    the photos being written are complete; the summary then says `interrupted`. Raises JobError, with nothing written,
    where the file in the place of a single photo's result is not known as such, unless `overwrite`.

    team: processes that share the photos; all must make this call. The first one decides what is to be done, and its summary
    is of all; that of another is of what it has written. Raises TeamError where the first one does not come.
    batches: how photos of one size go through the network together.
    """
    team = team or Team()
    todo = team.on_main("todo", lambda: _what_to_do(plan, overwrite, record))
    job = _Job(todo, team, enhance_pixels, batches)
    if team.is_main:
        for folder, reason in plan.unreadable:
            job.summary.fail(folder, reason)
    with job.bar, ThreadPoolExecutor(ENCODERS, "encode") as encoders:
        try:
            for group in photo_groups(todo.tasks, job.work, max_megapixels, batches.pixels if batches else 0):
                job.enhance(group, encoders)
            job.finish()
            for number in job.lost():
                job.enhance([(number, encoders.submit(read_photo, todo.tasks[number].source, max_megapixels))], encoders)
        except KeyboardInterrupt:
            job.summary.interrupted = True
            team.stop()
        job.finish()
    if record is not None and team.is_main:
        record.finish(todo.anew.intersection(job.summary.results))
    return job.summary


def _what_to_do(plan: Plan, overwrite: bool, record: JobRecord | None) -> Todo:
    """Of a plan, noted in the record before it begins: a job that is killed notes nothing."""
    kept, anew = _split_results(plan, overwrite, record)
    tasks = [task for task in plan.tasks if not kept.issuperset(task.targets())]
    targets = {target for task in tasks for target in task.targets()}
    if record is not None:
        record.begin(targets - kept - anew, anew)
    return Todo(tasks, kept & targets, anew, len(plan.tasks) - len(tasks), plan.quality)


class _Job:
    """The photos that this process takes, and on the first one what all have told."""

    def __init__(self, todo: Todo, team: Team, enhance_pixels: EnhancePixels, batches: Batches | None) -> None:
        self.todo, self.team, self.enhance_pixels, self.batches = todo, team, enhance_pixels, batches
        finished = None if todo.anew else self._is_finished  # of what is made anew, the disk cannot tell
        self.work = SharedWork(team, "photos", len(todo.tasks), finished)
        self.summary = Summary(skipped=todo.skipped if team.is_main else 0)
        self.bar = tqdm(total=len(todo.tasks), unit="photo", dynamic_ncols=True, disable=not team.is_main)
        self._writing: deque[tuple[int, Future[None]]] = deque()

    def _is_finished(self, number: int) -> bool:
        return all(is_there(target) for target in self.todo.tasks[number].targets())

    def enhance(self, group: list[Taken], encoders: ThreadPoolExecutor) -> None:
        """Photos that have been taken: through the network, and on to the encoders."""
        try:
            photos = [decoding.result() for _, decoding in group]
            pixels = [photo.pixels for photo in photos]
            bright = self.batches.enhance(pixels) if self.batches and len(pixels) > 1 else [self.enhance_pixels(*pixels)]
        except Exception as error:  # one photo's trouble, of whatever kind, is not the others'
            if len(group) == 1:
                self._report(group[0][0], why_it_failed(error))
                return
            for alone in group:
                self.enhance([alone], encoders)
            return
        for (number, _), photo, result in zip(group, photos, bright, strict=True):
            while self._writing and (len(self._writing) == ENCODERS or self._writing[0][1].done()):
                self._finish_writing()
            self.work.survive(number)
            task, made = self.todo.tasks[number], replace(photo, pixels=result)
            self._writing.append((number, encoders.submit(_write, task, photo, made, self.todo)))

    def finish(self) -> None:
        """What is being written, and on the first process what the others are doing."""
        while self._writing:
            self._finish_writing()
        for number, problem in self.work.rest():
            self._count(number, problem)
        self.summary.orphaned = self.team.is_orphaned()

    def lost(self) -> list[int]:
        """On the first process, in the end: photos that were computed by a process which died before they were written. Those
        during which one died have failed: they may have been the cause."""
        if not self.team.is_main:
            return []
        unknown = self.work.unknown()
        innocent = [number for number in unknown if self.work.survived(number)]
        for number in unknown:
            if number not in innocent:
                self._count(number, "the process that had it in hand died; the same command again makes it")
        return innocent

    def _finish_writing(self) -> None:
        """Wait for the first of the photos that are being written."""
        number, writing = self._writing[0]
        error = writing.exception()
        self._report(number, None if error is None else why_it_failed(error))
        self._writing.popleft()  # at last: Ctrl-C may come in between

    def _report(self, number: int, problem: str | None) -> None:
        """To the first process; this one counts its own photos, and the first one all that it has heard of."""
        self.work.report(number, problem)
        if not self.team.is_main and (problem is None or self.team.lost):
            self._count(number, problem)
        for told in self.work.outcomes():
            self._count(*told)

    def _count(self, number: int, problem: str | None) -> None:
        task = self.todo.tasks[number]
        if problem is None:
            self.summary.written += 1
            self.summary.results.extend(task.targets())
        else:
            self.summary.fail(task.source, problem)
        self.bar.update()


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


def _write(task: Task, photo: Photo, bright: Photo, todo: Todo) -> None:
    if task.output not in todo.kept:
        write_photo(task.output, bright, todo.quality)
    if task.compare is not None and task.compare not in todo.kept:
        write_photo(task.compare, side_by_side(photo, bright, longest_side(task.compare.suffix)), todo.quality)


def is_there(path: Path) -> bool:
    """A result; an empty file is none (a power cut may leave one)."""
    try:
        return path.is_file() and path.stat().st_size > 0
    except OSError:  # a name that the file system does not take, for one
        return False


def why_it_failed(error: BaseException) -> str:
    """One line for the user; errors that nobody foresaw come with their type."""
    lines = str(error).strip().splitlines() or ["no message"]
    return lines[0] if isinstance(error, FORESEEN) else f"{type(error).__name__}: {lines[0]}"
