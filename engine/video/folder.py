"""Which clips are to be enhanced, into which files; each one after the other, whatever becomes of those before it."""
from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tqdm.contrib.logging import logging_redirect_tqdm

from data.files.clips import VIDEO_SUFFIXES, is_video
from data.files.folders import walk
from data.files.kinds import PHOTO_SUFFIXES
from engine.enhancing.job_plan import check_output_dir
from engine.video.clip_job import Outcome, check_target
from engine.video.errors import VideoError
from engine.video.writing import CONTAINERS, suffix_of_result

logger = logging.getLogger(__name__)


@dataclass
class Clips:
    """Clip -> its result. `single`: of one clip that was named itself."""

    results: dict[Path, Path] = field(default_factory=dict)
    single: bool = True


@dataclass
class Tally:
    written: int = 0
    failed: int = 0
    skipped: int = 0
    interrupted: bool = False

    def __str__(self) -> str:
        there = " (already there; --overwrite makes them anew)" if self.skipped else ""
        return f"{self.written} written, {self.skipped} skipped{there}, {self.failed} failed"


def plan_clips(input_path: Path, output_dir: Path, output_format: str | None = None) -> Clips:
    """The clip at `input_path`, or those of that folder and all folders below it; results keep names and sub-folders, and
    suffixes where those are of containers that are written here.

    Raises VideoError or JobError where there is none, or two have one result.
    """
    check_output_dir(output_dir)
    if input_path.is_dir():
        clips = Clips({}, single=False)
        if output_dir.resolve() == input_path.resolve():
            raise VideoError(f"--output_dir is the input folder {input_path}; choose another one, so that no clip is written "
                             "over")
        for place, folders, files in walk(input_path):
            folders[:] = [name for name in folders if Path(place, name).resolve() != output_dir.resolve()]
            for clip in (Path(place, name) for name in sorted(files) if is_video(Path(name))):
                clips.results[clip] = _result(clip, output_dir / clip.relative_to(input_path).parent, output_format)
        if not clips.results:
            raise VideoError(f"no clips in {input_path}; looked for {', '.join(VIDEO_SUFFIXES)} in it and below")
    elif input_path.suffix.lower() in PHOTO_SUFFIXES:
        raise VideoError(f"{input_path} is a photo by its name; python infer_image.py --input_path {input_path} enhances it")
    elif not input_path.exists():
        raise VideoError(f"no file or folder {input_path} (current folder: {Path.cwd()})")
    else:
        clips = Clips({input_path: _result(input_path, output_dir, output_format)})
    for clip, output in clips.results.items():
        others = [other for other, theirs in clips.results.items() if theirs == output and other != clip]
        if others:
            raise VideoError(f"{clip} and {others[0]} would both become {output}; rename one of them"
                             f"{', or leave --output_format away' if output_format else ''}")
    return clips


def run_clips(clips: Clips, enhance: Callable[[Path, Path], Outcome], *, resume: bool, overwrite: bool) -> Tally:
    """`enhance` each clip into its result. In a folder a clip that fails is logged, and the rest goes on; results that are
    there are left, unless `overwrite`. Of a single clip the error is raised."""
    tally = Tally()
    if clips.single:
        for clip, output in clips.results.items():
            check_target(clip, output, resume, overwrite)
    for clip, output in clips.results.items():
        if not clips.single and output.exists() and not overwrite:
            tally.skipped += 1
            continue
        try:
            with logging_redirect_tqdm():
                outcome = enhance(clip, output)
        except (ValueError, RuntimeError, OSError) as error:
            tally.failed += 1
            if clips.single:
                raise
            logger.error("failed: %s: %s", clip, error)
            continue
        if outcome.part is not None:
            print(f"interrupted: {outcome.part}: {outcome}, and it plays; the same command with --resume goes on with it")
            tally.interrupted = True
            return tally
        tally.written += 1
        print(f"{output}: {outcome}")
    return tally


def _result(clip: Path, folder: Path, output_format: str | None) -> Path:
    return folder / clip.with_suffix(f".{output_format}" if output_format else suffix_of_result(clip)).name


FORMATS = tuple(suffix.removeprefix(".") for suffix in CONTAINERS if suffix != ".m4v")
