"""Which settings made the results in an output folder: a hidden file there, so that results which a later run would make
otherwise are not left standing unnoticed."""
from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from data.files.images import write_atomically

# {"jobs": [settings, ..], "results": {path below the folder: index of its job}, "pending": the same}
FILE = ".hvr_job.json"
Settings = Mapping[str, Any]


def job_settings(input_path: Path, weights_path: Path, **others: Any) -> dict[str, Any]:
    """What decides on a result, apart from its photo's name: folder, weights, and `others` (strength, seed, T, ..)."""
    folder = input_path if input_path.is_dir() else input_path.parent
    return {"input": str(folder.resolve()), "weights (SHA-256)": hashlib.sha256(weights_path.read_bytes()).hexdigest()[:12],
            **others}


class JobRecord:
    """The record of `folder`, for a job with `settings`. A record that cannot be read or written is as good as none.

    A result is pending while a job makes it anew: which settings made it is not known until that job is done with it.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings = folder, dict(settings)

    def differences(self, results: Iterable[Path]) -> str | None:
        """What the settings behind these results have otherwise, "strength 0.5 (now 1.0), .."; None: nothing known."""
        made_by, _ = self._read()
        jobs = [made_by[name] for name in map(self._name, results) if name in made_by]
        found = []
        for key, now in self.settings.items():
            others = dict.fromkeys(str(job[key]) for job in jobs if key in job and job[key] != now)
            if others:
                found.append(f"{key} {' and '.join(others)} (now {now})")
        return ", ".join(found) or None

    def inputs(self, results: Iterable[Path]) -> dict[Path, str | None]:
        """Result -> the input folder that it is of; None: it is on no record."""
        made_by, _ = self._read()
        return {result: made_by[name].get("input") if (name := self._name(result)) in made_by else None for result in results}

    def pending(self, results: Iterable[Path]) -> set[Path]:
        """Those of `results` that a job on the same input folder was to make anew, and was not done with."""
        _, pending = self._read()
        mine = {name for name, job in pending.items() if job.get("input") == self.settings.get("input")}
        return {result for result in results if self._name(result) in mine}

    def begin(self, new: Iterable[Path], anew: Iterable[Path]) -> None:
        """Note, before the job, which results it makes, and which ones that are there it makes anew."""
        self._note(made=new, pending=anew)

    def finish(self, anew: Iterable[Path]) -> None:
        """Note that the job has made these anew."""
        self._note(made=anew, pending=())

    def _name(self, result: Path) -> str:
        return result.relative_to(self.folder).as_posix()

    def _note(self, made: Iterable[Path], pending: Iterable[Path]) -> None:
        done, waiting = ({self._name(result): self.settings for result in results} for results in (made, pending))
        if not done and not waiting:
            return
        with contextlib.suppress(OSError), _alone(self.folder):  # what other processes note meanwhile stays
            self._add(done, waiting)

    def _add(self, done: Mapping[str, Settings], waiting: Mapping[str, Settings]) -> None:
        made_by, wanted_by = self._read()
        results = {**made_by, **done}
        unfinished = {name: job for name, job in wanted_by.items() if name not in done}
        unfinished.update(waiting)
        keys = dict.fromkeys(map(_key, [*results.values(), *unfinished.values()]))
        numbers = {key: number for number, key in enumerate(keys)}
        content = {"jobs": [json.loads(key) for key in keys],
                   "results": {name: numbers[_key(job)] for name, job in results.items()},
                   "pending": {name: numbers[_key(job)] for name, job in unfinished.items()}}
        write_atomically(self.folder / FILE, json.dumps(content, indent=1).encode())

    def _read(self) -> tuple[dict[str, Settings], dict[str, Settings]]:
        """Result -> the settings that made it, and pending result -> the settings that are to make it."""
        try:
            content = json.loads((self.folder / FILE).read_bytes())
            jobs = [dict(job) for job in content["jobs"]]
            made_by, pending = ({name: jobs[number] for name, number in content.get(part, {}).items()}
                                for part in ("results", "pending"))
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return {}, {}
        return made_by, pending


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """While it holds, no other process is in here for this folder, where the file system has locks."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _key(job: Settings) -> str:
    """One text for equal settings."""
    return json.dumps(job, sort_keys=True)
