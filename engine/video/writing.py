"""A clip written: its picture encoded, everything else passed through, in a container that stays playable if cut short."""
from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.video.colour import even, from_rgb
from engine.video.encoding import Encoding
from engine.video.errors import VideoError
from engine.video.orientation import as_stored
from engine.video.part_file import PartFile
from engine.video.reading import ClipReader

if TYPE_CHECKING:
    import av

logger = logging.getLogger(__name__)

# Suffix -> FFmpeg's name of its container. All of them hold exact or (Matroska) millisecond time stamps.
CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
OTHERWISE = {".webm": ".mkv", ".ogv": ".mkv"}  # suffix of a clip -> that of its result; of all others: .mp4
# Fragments as it goes, so that a file that is cut short plays; a plain file once it is whole. Without delay_moov the time
# stamps would be shifted by the encoder's delay; use_metadata_tags keeps tags that the format has no place for.
MOVFLAGS = "hybrid_fragmented+frag_keyframe+delay_moov+use_metadata_tags"
NOT_KEPT = ("major_brand", "minor_version", "compatible_brands", "encoder", "duration", "vendor_id",
            "number_of_bytes", "number_of_frames", "_statistics")  # tags that tell how the input was stored


def suffix_of_result(clip: Path) -> str:
    """The clip's own where it is a container that this writes, else one that holds nearly everything."""
    suffix = clip.suffix.lower()
    return clip.suffix if suffix in CONTAINERS else OTHERWISE.get(suffix, ".mp4")


class ClipWriter:
    """The result of a clip, in `part`; `write` its frames in order, `pass_on` the packets of other streams, then `close`.

    passed_on: indices of the clip's streams that go through. frames: encoded so far.
    """

    def __init__(self, part: Path, suffix: str, clip: ClipReader, encoding: Encoding) -> None:
        """Raises VideoError where the container or the encoder cannot be set up, OSError where the file cannot be made."""
        import av

        container = CONTAINERS[suffix.lower()]
        self.part, self.encoding, self.colour, self.frames = part, encoding, clip.colour, 0
        self._orientation = clip.orientation
        self._unpacked: dict[int, Any] = {}   # index of a stream of the clip -> what takes its packets' own headers off
        self._durations: dict[int, int] = {}  # of frames that the encoder has not given back yet
        self.time_base = clip.time_base
        self._file = PartFile(part)
        try:
            self.container = av.open(self._file, "w", format=container, metadata_errors="ignore",
                                     container_options={"movflags": MOVFLAGS} if container in ("mp4", "mov") else {})
            self._stream = self.container.add_stream(encoding.codec, rate=clip.rate, options=encoding.options())
            width, height = (even(np.empty((*clip.size[::-1], 3), np.uint8), encoding.pix_fmt).shape[i] for i in (1, 0))
            encoding.open(self._stream, (width, height), clip.time_base, clip.rate, clip.aspect, clip.colour)
            if clip.matrix is not None:
                self._stream.set_display_matrix(clip.matrix)
            _copy_names(clip.stream, self._stream)
            self._others = self._add_others(clip, container)
            self.container.metadata.update(_kept(clip.container.metadata))
            if chapters := clip.container.chapters():
                self.container.set_chapters(chapters)
            self.container.start_encoding()
        except BaseException as error:
            self.end(whole=False)
            if isinstance(error, av.error.FFmpegError):
                raise VideoError(f"a {container} file with {encoding.codec} cannot be begun: {error.strerror}; choose another "
                                 "--output_format or --codec") from None
            raise

    @property
    def passed_on(self) -> set[int]:
        return set(self._others)

    def write(self, pixels: np.ndarray, pts: int, duration: int) -> None:
        """Encode an upright frame, (H, W, 3) RGB uint8 or uint16. Raises OSError once the disk has failed."""
        frame = from_rgb(even(as_stored(pixels, self._orientation), self.encoding.pix_fmt), self.encoding.pix_fmt, self.colour)
        frame.pts, frame.time_base = pts, self.time_base
        if duration:
            self._durations[pts] = frame.duration = duration
        self._mux(self._stream.encode(frame))
        self.frames += 1

    def pass_on(self, packets: Iterable[av.Packet]) -> None:
        """Packets of the clip's other streams."""
        for packet in packets:
            index = packet.stream.index
            for one in self._unpacked[index].filter(packet) if index in self._unpacked else [packet]:
                one.stream = self._others[index]
                self.container.mux_one(one)
        self._check()

    def copy(self, packets: Iterable[av.Packet]) -> None:
        """Packets of an earlier result with the same encoding."""
        for packet in packets:
            packet.stream = self._stream
            self.container.mux_one(packet)
            self.frames += 1
        self._check()

    def close(self) -> None:
        """Encode what waits and finish the file. Raises OSError where the disk has failed."""
        self.end()
        self._check()

    def stop(self) -> None:
        """Leave the file as it is on the disk, without a word to the encoder or the muxer."""
        self._file.stop()

    def end(self, whole: bool = True) -> None:
        """Finish the file as well as it can be: whole, or as it is on the disk, which plays as far as its last fragment."""
        try:
            if whole:
                self._mux(self._stream.encode(None))
        except OSError:
            whole = False
        if not whole:
            self._file.stop()
        import av

        try:
            if hasattr(self, "container"):
                self.container.close()
        except av.error.FFmpegError:  # the muxer fails once more at what it failed at before
            if whole:
                raise
        finally:
            self._file.close()

    # --- inside ---

    def _mux(self, packets: Iterable[Any]) -> None:
        for packet in packets:
            if (duration := self._durations.pop(packet.pts, 0)) and not packet.duration:
                packet.duration = duration
            self.container.mux_one(packet)
        self._check()

    def _check(self) -> None:
        if self._file.failure is not None:
            raise self._file.failure

    def _add_others(self, clip: ClipReader, container: str) -> dict[int, Any]:
        """Index of the clip's stream -> the output's; streams that this container cannot hold are told and left out."""
        import av

        added = {}
        for stream in clip.others:
            if stream.type == "attachment":  # fonts of subtitles
                self._attach(stream, container)
            elif holds(container, stream):
                ours = self.container.add_stream_from_template(stream)
                _copy_names(stream, ours)
                added[stream.index] = ours
                sound = stream.codec_context if stream.type == "audio" else None
                if container in ("mp4", "mov") and sound is not None and sound.name == "aac" and not sound.extradata:
                    # Of .ts and .aac files. FFmpeg would see to it by itself, but not in fragments.
                    self._unpacked[stream.index] = av.BitStreamFilterContext("aac_adtstoasc", stream)
            elif stream.type in ("video", "audio", "subtitle"):  # data: a camera's own, or chapters, which go another way
                logger.warning("%s: stream %d (%s) is left out: a %s file cannot hold it%s", clip.path, stream.index,
                               describe(stream), container, "" if container == "matroska" or not holds("matroska", stream)
                               else "; --output_format mkv can")
        return added

    def _attach(self, stream: Any, container: str) -> None:
        if container == "matroska" and stream.data is not None:
            self.container.add_attachment(stream.name, stream.mimetype, stream.data)


def holds(container: str, stream: Any) -> bool:
    """Whether a container can hold a stream as it is: by beginning a file with it in memory."""
    import av

    if stream.type not in ("video", "audio", "subtitle", "data"):
        return False
    trial = av.open(io.BytesIO(), "w", format=container)
    try:
        trial.add_stream_from_template(stream)
        trial.start_encoding()
    except (av.error.FFmpegError, ValueError, AttributeError):
        return False
    finally:
        with contextlib.suppress(av.error.FFmpegError, ValueError):
            trial.close()
    return True


def describe(stream: Any) -> str:
    """For example "subtitle subrip"."""
    return f"{stream.type} {stream.codec_context.name}" if getattr(stream, "codec_context", None) else stream.type


def _copy_names(source: Any, target: Any) -> None:
    """Language, title and disposition of a stream."""
    target.metadata.update(_kept(source.metadata))
    target.disposition = int(source.disposition)


def _kept(tags: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in tags.items() if not name.lower().startswith(NOT_KEPT)}
