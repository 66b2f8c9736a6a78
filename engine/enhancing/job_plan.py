"""What an enhancement of files reads and where it writes, decided and checked before anything is written."""
from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from data.files.clips import is_video
from data.files.folders import walk
from data.files.kinds import FORMATS, PHOTO_SUFFIXES, RAW_SUFFIXES, READ_ONLY, is_photo, result_suffix

logger = logging.getLogger(__name__)

COMPARE_FOLDER = "compare"  # below the output folder: input and output side by side


class JobError(ValueError):
    """Paths that cannot be worked with; nothing was written."""


@dataclass(frozen=True)
class Task:
    """One photo: `source` is enhanced into `output`, and side by side with its input into `compare` if there is one."""

    source: Path
    output: Path
    compare: Path | None = None

    def targets(self) -> list[Path]:
        return [self.output] if self.compare is None else [self.output, self.compare]


@dataclass
class Plan:
    """`ignored` counts other files by suffix; `unreadable` are folders that could not be looked into, with the reason.
    `single`: of one photo that was named itself, whose result is always made anew. `quality` is that of `write_photo`."""

    tasks: list[Task]
    ignored: Counter[str] = field(default_factory=Counter)
    unreadable: list[tuple[Path, str]] = field(default_factory=list)
    single: bool = False
    quality: int | None = None


def plan_job(input_path: Path, output_dir: Path, *, output_format: str | None = None, compare: bool = False,
             contact_sheet: Path | None = None, quality: int | None = None) -> Plan:
    """The tasks for a photo, or for a folder with all folders below it; outputs keep names and sub-folders.

    output_format: suffix of all outputs without its dot, "png" for example; None: each keeps its own, and what is not
    written in its own format (raw files) gets that of `result_suffix`.
    Raises JobError where there is no input, where an output would lie over an input, or where two photos have one output.
    """
    check_output_dir(output_dir)
    if output_dir.suffix.lower() in PHOTO_SUFFIXES and not output_dir.exists():
        raise JobError(f"--output_dir {output_dir} is named like a photo; it must be a folder: the result gets the name of its "
                       f"photo in it, for example --output_dir {output_dir.parent}")
    plan = Plan([], quality=quality)
    if input_path.is_dir():
        sources = _photos_below(input_path, output_dir, plan)
    elif input_path.is_file():
        if input_path.suffix.lower() not in PHOTO_SUFFIXES:
            if is_video(input_path):
                raise JobError(f"{input_path} is a clip by its name; python infer_video.py --input_path {input_path} enhances "
                               "it")
            raise JobError(f"{input_path} is no photo by its name; known suffixes: {', '.join(PHOTO_SUFFIXES)}")
        sources = {input_path: Path(input_path.name)}
        plan.single = True
    else:
        raise JobError(f"no file or folder {input_path} (current folder: {Path.cwd()})")
    names = set(sources.values())
    for source, name in sources.items():
        name = _name_of_result(name, names, output_format)
        plan.tasks.append(Task(source, output_dir / name, output_dir / COMPARE_FOLDER / name if compare else None))
    _check_targets(plan.tasks)
    if contact_sheet is not None:
        _check_contact_sheet(contact_sheet, plan.tasks, input_path, output_dir)
    return plan


def check_output_dir(folder: Path) -> None:
    """Raise JobError where `folder` is none, or where it (or what it would be made in) cannot be written to."""
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not place.is_dir():
        found = "is a file" if place == folder else f"lies below the file {place}"
        raise JobError(f"--output_dir {folder} {found}; expected a folder (it is made where it does not exist)")
    if not os.access(place, os.W_OK | os.X_OK):
        raise JobError(f"--output_dir {folder}: no permission to write to {place.absolute()}, or its file system is read-only; "
                       "choose another folder")


def check_pair_folders(low: Path, high: Path, scores: Path) -> None:
    """Raise JobError where --input_path and --target_path are not two folders, or where the folder for their scores holds
    those of other ones."""
    for option, path in (("--input_path", low), ("--target_path", high)):
        if not path.is_dir():
            found = "is a file" if path.is_file() else f"is not there (current folder: {Path.cwd()})"
            raise JobError(f"{option} {path} {found}; with --target_path both must be folders, whose pictures are compared by "
                           "name")
    if low.resolve() == high.resolve():
        raise JobError(f"--input_path and --target_path are the same folder {low}; expected dark pictures in the first and "
                       "their references in the second")
    try:
        earlier = json.loads((scores / "summary.json").read_bytes())["low"]
    except (OSError, ValueError, LookupError, TypeError):  # nothing of ours
        return
    if Path(earlier).resolve() != low.resolve():
        raise JobError(f"{scores} holds the scores of {earlier}, a folder of the same name; choose another --output_dir")


def _photos_below(folder: Path, output_dir: Path, plan: Plan) -> dict[Path, Path]:
    """Photo -> its path relative to `folder`, sorted. Results of an earlier run below `folder` and hidden names are left
    out."""
    if output_dir.resolve() == folder.resolve():
        raise JobError(f"--output_dir is the input folder {folder}; choose another one, so that no photo is written over")
    earlier = output_dir.resolve()
    if earlier.is_relative_to(folder.resolve()):
        logger.warning("--output_dir %s lies in the input folder %s: this run leaves it out, but one into another place would "
                       "take the results in it for photos", output_dir, folder)
    found: list[Path] = []

    def note(error: OSError) -> None:
        plan.unreadable.append((Path(error.filename or folder), error.strerror or str(error)))

    for place, folders, files in walk(folder, onerror=note):
        here = Path(place)
        folders[:] = [f for f in folders if (here / f).resolve() != earlier]
        for file in sorted(files):
            if is_photo(here / file):
                found.append(here / file)
            elif not file.startswith("."):
                plan.ignored[Path(file).suffix.lower() or "without suffix"] += 1
    if not found and not plan.unreadable:
        others = f"; other files in it: {describe_ignored(plan.ignored)}" if plan.ignored else ""
        raise JobError(f"no photos in {folder}; looked for {', '.join(PHOTO_SUFFIXES)} in it and below{others}")
    return {path: path.relative_to(folder) for path in found}


def _name_of_result(name: Path, names: set[Path], output_format: str | None) -> Path:
    """That of the photo with the suffix of what is written. A raw file a.nef becomes a.tif, or a.nef.tif where there is another
    photo a.tif or a.dng: cameras write a.nef and a.jpg of one picture."""
    def result(photo: Path) -> Path:
        return photo.with_suffix(f".{output_format}" if output_format else result_suffix(photo.suffix))

    renamed = result(name)
    if name.suffix.lower() not in (RAW_SUFFIXES if output_format else READ_ONLY):
        return renamed
    others = {result(other) for other in names if other != name and other.stem == name.stem}
    return name.with_name(name.name + renamed.suffix) if renamed in others else renamed


def describe_ignored(ignored: Counter[str]) -> str:
    """For example "3 .heic, 1 .txt"."""
    return ", ".join(f"{count} {suffix}" for suffix, count in ignored.most_common())


def _check_targets(tasks: Iterable[Task]) -> None:
    """No target twice, none over an input: compared by what the file system says a path is, not by its spelling."""
    inputs = {identity: task.source for task in tasks if (identity := _identity(task.source)) is not None}
    owner: dict[Path, Path] = {}
    for task in tasks:
        for target in task.targets():
            if owner.setdefault(target, task.source) != task.source:
                raise JobError(f"{owner[target]} and {task.source} would both become {target}; rename one of them, or leave "
                               "--output_format away")
            if (identity := _identity(target)) in inputs:
                raise JobError(f"{target} is the input {inputs[identity]} itself (by another path or a link); choose another "
                               "--output_dir")


def _check_contact_sheet(sheet: Path, tasks: Iterable[Task], input_path: Path, output_dir: Path) -> None:
    """It is written over no photo or result, and not where the next run would take it for a photo."""
    if sheet.suffix.lower() not in FORMATS or sheet.is_dir():
        raise JobError(f"--contact_sheet {sheet}: expected a file name that ends in {', '.join(FORMATS)}")
    photos = [path for task in tasks for path in (task.source, *task.targets())]
    place, identity = sheet.resolve(), _identity(sheet)
    if any(path.resolve() == place or (identity is not None and _identity(path) == identity) for path in photos):
        raise JobError(f"--contact_sheet {sheet} would be written over a photo; choose another name")
    folder, results = (input_path if input_path.is_dir() else input_path.parent).resolve(), output_dir.resolve()
    left_out = results != folder and results.is_relative_to(folder) and place.is_relative_to(results)
    if place.is_relative_to(folder) and not left_out:
        raise JobError(f"--contact_sheet {sheet} lies in the input folder {folder}, where a run over it would take the sheet "
                       "for a photo; choose another place")


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of what `path` leads to; None where nothing is there."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
