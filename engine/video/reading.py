"""A clip read from its start: frames upright in RGB, and the packets of all that is not its picture."""
from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from data.files.photo import upright
from engine.video.colour import Colour, colour_of, to_rgb
from engine.video.errors import VideoError, require_pyav
from engine.video.orientation import matrix_of, orientation_of

if TYPE_CHECKING:
    import av

logger = logging.getLogger(__name__)

ATTACHED_PICTURE = 0x0400      # a stream's disposition: one picture, a cover
WAITING_PACKETS = 256          # of sound, handed on together at the latest then, with or without a frame
GIVE_UP = 100                  # damaged packets one after another, from the container itself


@dataclass
class Part:
    """What comes next in a clip: packets that go through as they are, then a frame, if there is one.

    pixels: (H, W, 3) RGB, upright, uint8 or uint16. pts, duration: in the clip's `time_base`, counted from its start;
    duration 0: unknown. number: of the frame, from 0.
    """

    packets: list[av.Packet] = field(default_factory=list)
    pixels: np.ndarray | None = None
    pts: int = 0
    duration: int = 0
    number: int = 0


class ClipReader:
    """An open clip. `parts()` goes through it once.

    size: (width, height) of its frames as they are stored. orientation: 1..8 as in EXIF, how these are turned upright; matrix:
    FFmpeg's display matrix, which says so, or None. colour, aspect (of a stored pixel), time_base, rate (frames a second; of a
    clip of variable rate the mean): of its picture. frames: how many there are, if the file knows or can be told from
    its length, else 0. damaged: packets passed over so far.
    """

    def __init__(self, path: Path) -> None:
        """Raises VideoError with the reason: not there, no clip, no picture in it, HDR, colours of an unknown kind."""
        self.path, self.damaged = path, 0
        self.container = open_clip(path)
        try:
            self.stream = self._picture_stream()
            first = self._first_frame()
            self.colour: Colour = colour_of(first)
            self.deep = any(component.bits > 8 for component in first.format.components)
            self.size = first.width, first.height
            self.matrix = matrix_of(first)
            self.orientation = orientation_of(self.matrix)
            self.interlaced = bool(first.interlaced_frame)
        except BaseException:
            self.container.close()
            raise
        self.time_base = Fraction(self.stream.time_base)
        self.rate = Fraction(self.stream.average_rate or self.stream.guessed_rate or 25)
        self.aspect = Fraction(self.stream.sample_aspect_ratio or 1) or Fraction(1)
        self.frames = self.stream.frames or round(float(self._seconds() * self.rate))

    def __enter__(self) -> ClipReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.container.close()

    @property
    def others(self) -> list[Any]:
        """The streams beside the picture: sound, subtitles, further pictures, data, attachments."""
        return [stream for stream in self.container.streams if stream.index != self.stream.index]

    def parts(self, passed_on: set[int], first_time: Fraction = Fraction(0)) -> Iterator[Part]:
        """Everything from the start on; packets of the streams with the indices `passed_on` go with the frames.

        Frames before `first_time`, in seconds, come without pixels. Damaged packets are counted and passed over. Time
        stamps rise: a frame that has none, or one that is not later than the frame's before, gets the next one.
        """
        last, number, packets = None, 0, []
        step = max(round(1 / self.rate / self.time_base), 1)
        for packet in self._packets():
            if packet.stream.index in passed_on and packet.dts is not None:
                packets.append(self._from_start(packet))
                if len(packets) == WAITING_PACKETS:
                    yield Part(packets)
                    packets = []
            if packet.stream.index != self.stream.index:
                continue
            for frame in self._decoded(packet):
                pts = (last or 0) + (step if last is not None else 0) if frame.pts is None else frame.pts - self._start
                pts = pts if last is None else max(pts, last + 1)
                seen = pts * self.time_base >= first_time
                yield Part(packets, self._pixels(frame) if seen else None, pts, frame.duration or 0, number)
                last, number, packets = pts, number + 1, []
        if packets:
            yield Part(packets)

    # --- the file ---

    def _picture_stream(self) -> av.VideoStream:
        moving = [stream for stream in self.container.streams.video if not int(stream.disposition) & ATTACHED_PICTURE]
        if not moving:
            kinds = ", ".join(sorted({stream.type for stream in self.container.streams})) or "nothing"
            raise VideoError(f"no moving picture in it, only {kinds}; expected a clip with a video stream")
        if moving[0].codec_context is None:
            raise VideoError("its video codec is none that this PyAV can decode; convert the clip first")
        moving[0].thread_type = "AUTO"
        return moving[0]

    def _first_frame(self) -> av.VideoFrame:
        """Decoded to know the clip's size and colours; the clip stands at its start again afterwards."""
        import av

        failed = 0
        for packet in self._packets():
            if packet.stream.index == self.stream.index:
                for frame in self._decoded(packet):
                    self._rewind()
                    return frame
                failed = self.damaged
        raise VideoError(f"no frame of its video could be decoded ({failed} damaged packets; codec "
                         f"{self.stream.codec_context.name}, PyAV {av.__version__}); play it to see if it is whole")

    def _rewind(self) -> None:
        """Open the file anew: seeking to the start is not exact in every container."""
        index = self.stream.index
        self.container.close()
        self.container, self.damaged = open_clip(self.path), 0
        self.stream = self.container.streams[index]
        self.stream.thread_type = "AUTO"

    def _packets(self) -> Iterator[av.Packet]:
        """All of the file's; at a place that cannot be read one is counted as damaged."""
        import av

        packets, failed = self.container.demux(), 0
        while failed < GIVE_UP:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.error.FFmpegError as error:
                failed += 1
                self.damaged += 1
                logger.warning("%s: a place that cannot be read: %s", self.path, error.strerror)
                packets = self.container.demux()
                continue
            failed = 0
            yield packet

    def _decoded(self, packet: av.Packet) -> list[av.VideoFrame]:
        import av

        if packet.is_corrupt:
            self.damaged += 1
        try:
            frames = packet.decode()
            self.damaged += sum(bool(frame.is_corrupt) for frame in frames)  # mended by the decoder as well as it can
            return frames
        except av.error.EOFError:
            return []
        except av.error.FFmpegError:
            self.damaged += not packet.is_corrupt
            return []

    @property
    def _start(self) -> int:
        """What the clip's clock shows at its start, in the picture's time base; a clock that starts before 0 is kept."""
        return max(round((self.container.start_time or 0) / Fraction(1_000_000) / self.time_base), 0)

    def _from_start(self, packet: av.Packet) -> av.Packet:
        shift = max(round((self.container.start_time or 0) / Fraction(1_000_000) / Fraction(packet.time_base)), 0)
        if shift:
            packet.pts = None if packet.pts is None else packet.pts - shift
            packet.dts = packet.dts - shift
        return packet

    def _seconds(self) -> Fraction:
        if self.stream.duration:
            return self.stream.duration * Fraction(self.stream.time_base)
        return Fraction(self.container.duration or 0, 1_000_000)

    def _pixels(self, frame: av.VideoFrame) -> np.ndarray:
        """Upright RGB; a frame of another size than the first is brought to that. Raises VideoError where HDR begins."""
        return np.ascontiguousarray(upright(to_rgb(frame, colour_of(frame), *self.size), self.orientation))


def open_clip(path: Path) -> av.container.InputContainer:
    """Raises VideoError where it is no file that FFmpeg reads, or PyAV is missing."""
    require_pyav()
    import av

    if not path.is_file():
        raise VideoError(f"no file {path} (current folder: {Path.cwd()})")
    try:
        return av.open(str(path), metadata_errors="ignore")
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(f"not a clip that FFmpeg reads, or damaged at its start: {error.strerror}") from None
