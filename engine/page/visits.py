"""The people on the page and their files, which stay only as long as they are needed: until the page is left, and no longer
than an hour."""
from __future__ import annotations

import contextlib
import secrets
import shutil
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from engine.page.job import Job

KEEP_SECONDS = 3600.0


@dataclass
class Visit:
    """One open page: the folder of its results, the uploads that it showed, and what it last asked for."""

    folder: Path
    uploads: set[Path] = field(default_factory=set)
    job: Job | None = None
    asked: float = field(default_factory=time.time)


class Visits:
    """The visits by their session, and their files below `root`.

    An upload lies in `root`/HASH/NAME, the hash being that of its content: two people who bring the same photo share it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._kept: set[Path] = set()
        self._visits: dict[str, Visit] = {}
        self._lock = threading.RLock()

    def keep(self, paths: Iterable[Path]) -> None:
        """These in `root` are the page's own, and stay as long as it does."""
        self._kept |= {*paths}

    def of(self, session: str) -> Visit:
        """That of the session, which begins by being asked for."""
        with self._lock:
            if session not in self._visits:
                self._visits[session] = Visit(self.root / f"visit-{secrets.token_hex(16)}")
            return self._visits[session]

    def begin(self, session: str, job: Job, uploads: Iterable[Path]) -> None:
        """Start `job` in place of what the visit asked for before; uploads that it shows no longer are deleted."""
        with self._lock:
            visit = self.of(session)
            self._end_job(visit)
            before, visit.uploads, visit.job, visit.asked = visit.uploads, set(uploads), job, time.time()
            self._delete_uploads(before - visit.uploads)
            job.start()

    def job(self, session: str) -> Job | None:
        """What the visit last asked for."""
        with self._lock:
            return self._visits[session].job if session in self._visits else None

    def running(self) -> int:
        """How many jobs are not done."""
        with self._lock:
            return sum(visit.job is not None and not visit.job.progress.done for visit in self._visits.values())

    def leave(self, session: str) -> None:
        """Forget the visit and delete its files."""
        with self._lock:
            visit = self._visits.pop(session, None)
            if visit is not None:
                self._clear(visit)

    def sweep(self) -> None:
        """Delete what is older than an hour: results and uploads, those too that no visit ever showed."""
        oldest = time.time() - KEEP_SECONDS
        with self._lock:
            for visit in self._visits.values():
                if visit.asked < oldest and (visit.job is None or visit.job.progress.done):
                    self._clear(visit)
            in_use = {visit.folder for visit in self._visits.values() if visit.job is not None}
            in_use |= {upload.parent for visit in self._visits.values() for upload in visit.uploads}
            for path in set(self.root.iterdir()) - self._kept - in_use:
                with contextlib.suppress(OSError):  # somebody else's upload may just be moved
                    if path.stat().st_mtime < oldest:
                        _delete(path)

    def close(self) -> None:
        """The page ends: everybody leaves."""
        with self._lock:
            for session in list(self._visits):
                self.leave(session)

    def _clear(self, visit: Visit) -> None:
        self._end_job(visit)
        _delete(visit.folder)
        uploads, visit.uploads = visit.uploads, set()
        self._delete_uploads(uploads)

    @staticmethod
    def _end_job(visit: Visit) -> None:
        if visit.job is not None:
            visit.job.end()
            visit.job = None

    def _delete_uploads(self, uploads: set[Path]) -> None:
        in_use = {upload for visit in self._visits.values() for upload in visit.uploads}
        for upload in uploads - in_use:
            if upload.is_relative_to(self.root):  # nothing else is ours to delete
                _delete(upload)
                with contextlib.suppress(OSError):  # the same photo under another name lies there as well
                    upload.parent.rmdir()


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
