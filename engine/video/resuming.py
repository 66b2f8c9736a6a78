"""Going on with a clip whose enhancement was ended: what of the part that is there stays, and whether it may."""
from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.files.images import write_atomically
from engine.video.errors import VideoError
from engine.video.reading import open_clip

if TYPE_CHECKING:
    import av

FILTERS = {"h264": "h264_mp4toannexb", "hevc": "hevc_mp4toannexb"}  # from how containers keep packets to how encoders make them


def record_of(part: Path) -> Path:
    """The file beside a part that tells what makes it."""
    return part.with_name(part.name + ".json")


def note(part: Path, settings: Mapping[str, Any]) -> None:
    """Write down what makes this part. Raises OSError."""
    write_atomically(record_of(part), json.dumps(settings, indent=1).encode())


def check_settings(part: Path, settings: Mapping[str, Any]) -> None:
    """Raise VideoError where a part was made with others, or nothing is known of it: its two halves would not fit."""
    try:
        before = dict(json.loads(record_of(part).read_bytes()))
    except (OSError, ValueError, TypeError):
        raise VideoError(f"--resume: {record_of(part)}, which tells what made {part.name}, is not there or damaged; start anew "
                         "with --overwrite") from None
    now = json.loads(json.dumps(settings))
    differ = [f"{key} {before.get(key)} (now {now.get(key)})" for key in sorted({*before, *now})
              if before.get(key) != now.get(key)]
    if differ:
        raise VideoError(f"--resume: {part.name} was made with other settings: {', '.join(differ)}; give the same ones, or "
                         "start anew with --overwrite")


@dataclass(frozen=True)
class Earlier:
    """What an earlier run left in `path`. From its last key frame on, which shows at `time` seconds, its frames are made
    anew; the `frames` before it stay. tick: how exact its time stamps are, in seconds."""

    path: Path
    frames: int
    time: Fraction
    tick: Fraction

    @classmethod
    def of(cls, path: Path) -> Earlier | None:
        """None where the part holds no key frame but its first, so that nothing can stay."""
        if not path.exists() or not path.stat().st_size:
            return None
        latest, found = None, None
        for frames, packet in enumerate(_packets(path)):
            # A key frame after which frames before it come would leave holes.
            if packet.is_keyframe and packet.pts is not None and latest is not None and packet.pts > latest:
                tick = Fraction(packet.time_base)
                found = cls(path, frames, packet.pts * tick, tick)
            latest = packet.pts if latest is None else max(latest, packet.pts or latest)
        return found

    def packets(self) -> Iterator[av.Packet]:
        """Those that stay, in order, as the encoder gave them."""
        import av

        unpack = None
        for number, packet in enumerate(_packets(self.path)):
            if number == self.frames:
                return
            if number == 0 and (name := FILTERS.get(packet.stream.codec_context.name)):
                unpack = av.BitStreamFilterContext(name, packet.stream)
            yield from [packet] if unpack is None else unpack.filter(packet)


def _packets(path: Path) -> Iterator[av.Packet]:
    """Of the picture; a file that is cut short ends where it does, one without a beginning holds none."""
    import av

    try:
        container = open_clip(path)
    except VideoError:
        return
    with container:
        if not container.streams.video:
            return
        packets = container.demux(container.streams.video[0])
        while True:
            try:
                packet = next(packets)
            except (StopIteration, av.error.FFmpegError):
                return
            if packet.dts is None:
                return
            yield packet
