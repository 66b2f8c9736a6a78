"""Which settings made the results in an output folder: a hidden file there, so that results which a later run would make
otherwise are not left standing unnoticed."""
from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from data.images import write_atomically

FILE = ".hvr_job.json"  # {"jobs": [settings, ..], "results": {path below the folder: index of its job}}
Settings = Mapping[str, Any]


def job_settings(input_path: Path, weights_path: Path, **others: Any) -> dict[str, Any]:
    """What decides on a result, apart from its photo's name: folder, weights, and `others` (strength, seed, T, ..)."""
    folder = input_path if input_path.is_dir() else input_path.parent
    return {"input": str(folder.resolve()), "weights (SHA-256)": hashlib.sha256(weights_path.read_bytes()).hexdigest()[:12],
            **others}


class JobRecord:
    """The record of `folder`, for a job with `settings`. A record that cannot be read or written is as good as none."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings = folder, dict(settings)

    def differences(self, results: Iterable[Path]) -> str | None:
        """What the settings behind these results have otherwise, "strength 0.5 (now 1.0), .."; None: nothing known."""
        made_by = self._read()
        jobs = [made_by[name] for name in map(self._name, results) if name in made_by]
        found = []
        for key, now in self.settings.items():
            others = dict.fromkeys(str(job.get(key, "unknown")) for job in jobs if job.get(key) != now)
            if others:
                found.append(f"{key} {' and '.join(others)} (now {now})")
        return ", ".join(found) or None

    def add(self, results: Iterable[Path]) -> None:
        """Note that this job makes them; what other processes have noted meanwhile stays."""
        mine: dict[str, Settings] = {self._name(result): self.settings for result in results}
        if not mine:
            return
        made_by = self._read() | mine
        keys = {name: json.dumps(job, sort_keys=True) for name, job in made_by.items()}
        numbers = {key: number for number, key in enumerate(dict.fromkeys(keys.values()))}
        content = {"jobs": [json.loads(key) for key in numbers], "results": {name: numbers[key] for name, key in keys.items()}}
        with contextlib.suppress(OSError):
            write_atomically(self.folder / FILE, json.dumps(content, indent=1).encode())

    def _name(self, result: Path) -> str:
        return result.relative_to(self.folder).as_posix()

    def _read(self) -> dict[str, Settings]:
        """Result -> the settings that made it."""
        try:
            content = json.loads((self.folder / FILE).read_bytes())
            jobs = [dict(job) for job in content["jobs"]]
            return {name: jobs[number] for name, number in content["results"].items()}
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return {}
