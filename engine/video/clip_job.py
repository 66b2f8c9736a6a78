"""One clip from its file to its result, or to a part of it that can be gone on with."""
from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from engine.enhancing.enhancement import EnhancementError, ImageError
from engine.video import pipeline
from engine.video.encoding import Encoding
from engine.video.errors import Unfinished, VideoError
from engine.video.part_file import part_of
from engine.video.reading import ClipReader, Part
from engine.video.resuming import Earlier, check_settings, note, record_of
from engine.video.steadiness import WARM_UP, Steady
from engine.video.writing import ClipWriter

logger = logging.getLogger(__name__)

FORESEEN = (VideoError, ImageError, EnhancementError)
BEFORE = ".before"                     # a part whose start is being copied into a new one
EnhancePixels = Callable[[np.ndarray], np.ndarray]
AtOnce = Callable[[int, int], int]


@dataclass
class Outcome:
    """frames: in the result now. made: of them, by this run, in `seconds`. damaged: packets passed over. part: where the frames
    are if Ctrl-C ended it."""

    frames: int = 0
    made: int = 0
    seconds: float = 0.0
    damaged: int = 0
    part: Path | None = None

    def __str__(self) -> str:
        speed = f", {self.made / self.seconds:.2f} frames/s" if self.made and self.seconds > 0 else ""
        damage = f", {self.damaged} damaged packet{'s' * (self.damaged != 1)} passed over" if self.damaged else ""
        return f"{self.frames} frame{'s' * (self.frames != 1)}{speed}{damage}"


def enhance_clip(clip: Path, output: Path, enhance_pixels: EnhancePixels, encoding: Encoding, *,
                 settings: Mapping[str, Any], at_once: AtOnce = lambda height, width: 1, steady: bool = True,
                 resume: bool = False, overwrite: bool = False) -> Outcome:
    """Enhance every frame of `clip` into `output`, by way of a part beside it that becomes it when all is done.

    at_once: how many frames of a height and width are enhanced at the same time, in as many threads.
    settings: what decides on the result, beside the clip and the encoding; kept beside a part, for `resume`.
    Raises VideoError before anything is written, where the clip or the paths are wrong; Unfinished, with what was done left
    in the part, where a clip goes wrong later or the disk is full.
    """
    part = part_of(output)
    check_target(clip, output, resume, overwrite)
    with ClipReader(clip) as reader:
        steadying = Steady() if steady else None
        record = {"clip": [clip.name, clip.stat().st_size], "steady": steady, **encoding.record(), **settings,
                  "encoder": _versions()}
        earlier = _take_over(part, record) if resume else None
        _warn(reader, encoding)
        output.parent.mkdir(parents=True, exist_ok=True)
        writer = ClipWriter(part, output.suffix, reader, encoding)
        outcome = _run(reader, writer, enhance_pixels, at_once(*reader.size[::-1]), steadying, earlier, record)
    outcome.damaged = reader.damaged
    if outcome.part is None:
        os.replace(part, output)
        for left in (record_of(part), _before(part)):
            left.unlink(missing_ok=True)
    return outcome


def check_target(clip: Path, output: Path, resume: bool, overwrite: bool) -> None:
    """Raise VideoError where writing would harm a file: the clip itself, an earlier result, an earlier part."""
    part = part_of(output)
    for target in (output, part):
        if target.exists() and clip.exists() and target.samefile(clip):
            raise VideoError(f"{target} is the clip itself; choose another --output_dir")
    if output.exists() and not overwrite:
        raise VideoError(f"{output} is there already; --overwrite makes it anew (nothing was written)")
    if any(path.exists() for path in (part, _before(part))) and not (resume or overwrite):
        raise VideoError(f"{part} is there: a run that was ended left it; --resume goes on with it, --overwrite starts anew")


def _run(reader: ClipReader, writer: ClipWriter, enhance_pixels: EnhancePixels, at_once: int, steadying: Steady | None,
         earlier: Earlier | None, record: Mapping[str, Any]) -> Outcome:
    begin = earlier.time - earlier.tick if earlier else Fraction(-1)
    warm_up = Fraction(WARM_UP) / reader.rate if steadying else Fraction(0)
    copying = iter(earlier.packets()) if earlier else iter(())
    started, kept = time.monotonic(), earlier.frames if earlier else 0
    bar = tqdm(total=max(reader.frames, kept) or None, initial=kept, unit="frame", dynamic_ncols=True)

    def enhance(part: Part) -> np.ndarray | None:
        return None if part.pixels is None else enhance_pixels(part.pixels)

    def steady(part: Part, bright: np.ndarray | None) -> np.ndarray | None:
        return bright if bright is None or steadying is None else steadying(part.pixels, bright)

    def write(part: Part, bright: np.ndarray | None) -> None:
        writer.pass_on(part.packets)
        if bright is None or part.pts * reader.time_base < begin:
            return
        finish_copying()
        writer.write(bright, part.pts, part.duration)
        bar.update()

    def finish_copying() -> None:
        nonlocal copying
        if copying is not None:
            writer.copy(copying)
            copying = None
            _before(writer.part).unlink(missing_ok=True)

    try:
        note(writer.part, record)
        with bar:
            interrupted = pipeline.run(reader.parts(writer.passed_on, begin - warm_up), enhance, steady, write, at_once)
        finish_copying()
        writer.close()
    except KeyboardInterrupt:  # a second one: the encoder's thread may still be at work
        writer.stop()
        raise
    except BaseException as error:
        writer.end(whole=not isinstance(error, OSError))
        if isinstance(error, (OSError, *FORESEEN)):
            reason = getattr(error, "strerror", None) or error
            raise Unfinished(f"{reason}; the {writer.frames} frames done are in {writer.part}, which plays: once that is "
                             "mended, --resume goes on with it") from error
        raise
    return Outcome(writer.frames, writer.frames - kept, time.monotonic() - started, part=writer.part if interrupted else None)


def _take_over(part: Path, record: Mapping[str, Any]) -> Earlier | None:
    """What of an earlier run stays; its file is put aside, where the new part is filled from it."""
    before = _before(part)
    candidates = [path for path in (before, part) if path.exists()]
    if not candidates:
        return None
    check_settings(part, record)
    found = [earlier for earlier in map(Earlier.of, candidates) if earlier is not None]
    if not found:
        return None
    best = max(found, key=lambda earlier: earlier.frames)
    if best.path != before:
        os.replace(best.path, before)
    return Earlier(before, best.frames, best.time, best.tick)


def _before(part: Path) -> Path:
    return part.with_name(part.name + BEFORE)


def _versions() -> str:
    import av

    return f"PyAV {av.__version__}, libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}"


def _warn(reader: ClipReader, encoding: Encoding) -> None:
    """What the result will not have."""
    if reader.deep and "10" not in encoding.pix_fmt and "12" not in encoding.pix_fmt and "16" not in encoding.pix_fmt:
        logger.warning("%s: its more than 8 bits become the 8 of %s; --pix_fmt yuv420p10le keeps 10", reader.path,
                       encoding.pix_fmt)
    if reader.interlaced:
        logger.warning("%s: interlaced; its frames are enhanced and written as whole pictures. Deinterlacing first (ffmpeg's "
                       "bwdif) gives the better picture", reader.path)
