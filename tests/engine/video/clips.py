"""Small clips made by PyAV, of pictures that are known, and what is in a clip's file."""
from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

X264 = {"crf": "12", "preset": "ultrafast"}
TICK = Fraction(1, 90000)


def make_clip(path: Path, frames: list[np.ndarray], *, codec: str = "libx264", pix_fmt: str = "yuv444p",
              stamps: list[int] | None = None, colour: tuple[int, int, int, int] = (1, 1, 1, 1), turn: int = 0,
              hflip: bool = False, aspect: Fraction = Fraction(1), sound: bool = False, subtitle: bool = False,
              tags: dict[str, str] | None = None, gop: int = 12) -> Path:
    """Write RGB frames, (H, W, 3) uint8 or uint16, with time stamps in ticks of 1/90000 s (default: 25 frames a second).

    colour: matrix, range, primaries and transfer by their numbers. turn, hflip: degrees of the display matrix, and whether it
    mirrors after that.
    """
    stamps = stamps or [number * 3600 for number in range(len(frames))]
    with av.open(str(path), "w") as container:
        container.metadata.update(tags or {})
        stream = container.add_stream(codec, rate=25, options=X264 if codec == "libx264" else {})
        context = stream.codec_context
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, context.time_base, context.sample_aspect_ratio, context.gop_size = pix_fmt, TICK, aspect, gop
        context.colorspace, context.color_range, context.color_primaries, context.color_trc = colour
        if turn or hflip:
            stream.set_display_rotation(turn, hflip=hflip)
        track = container.add_stream("aac", rate=48000, layout="mono") if sound else None
        text = container.add_mux_stream("subrip" if path.suffix == ".mkv" else "mov_text") if subtitle else None
        for other, language in ((track, "deu"), (text, "fra")):
            if other is not None:
                other.metadata["language"] = language
        container.start_encoding()
        if text is not None:
            container.mux_one(_words(text, path.suffix != ".mkv"))
        for pixels, stamp in zip(frames, stamps, strict=True):
            container.mux(stream.encode(frame_of(pixels, pix_fmt, colour, stamp)))
            if track is not None:
                container.mux(track.encode(_tone(stamp)))
        for coded in filter(None, (stream, track)):
            container.mux(coded.encode(None))
    return path


def frame_of(pixels: np.ndarray, pix_fmt: str, colour: tuple[int, int, int, int], stamp: int = 0) -> Any:
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24" if pixels.dtype == np.uint8 else "rgb48le")
    matrix = {1: 1, 5: 5, 6: 5, 9: 9, 2: 5}[colour[0]]
    frame = frame.reformat(format=pix_fmt, dst_colorspace=matrix, src_color_range=2, dst_color_range=colour[1] or 1)
    frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc = colour
    frame.pts, frame.time_base = stamp, TICK
    return frame


def read_clip(path: Path, damaged: bool = False) -> list[Any]:
    """The frames of a clip, as PyAV decodes them; of a `damaged` one those that can be, as players do."""
    frames = []
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            try:
                frames += packet.decode()
            except av.error.InvalidDataError:
                if not damaged:
                    raise
    return frames


def packets_of(path: Path, kind: str) -> list[tuple[bytes, int, int]]:
    """(bytes, time stamp, duration) of the packets of all streams of a kind."""
    with av.open(str(path)) as container:
        return [(bytes(packet), packet.pts, packet.duration) for packet in container.demux() if packet.stream.type == kind
                and packet.dts is not None]


def _tone(stamp: int) -> Any:
    samples = np.sin(np.arange(1920, dtype=np.float32) / 20)[None] * 0.2
    sound = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
    sound.sample_rate, sound.pts, sound.time_base = 48000, stamp * 48000 // 90000, Fraction(1, 48000)
    return sound


def _words(stream: Any, counted: bool) -> Any:
    words = b"bonsoir"
    packet = av.Packet(len(words).to_bytes(2, "big") + words if counted else words)
    packet.stream, packet.pts, packet.dts, packet.duration, packet.time_base = stream, 0, 0, 500, Fraction(1, 1000)
    return packet
