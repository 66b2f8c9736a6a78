"""Clips read: time stamps, rotation, colours, other streams, and files that are none or damaged."""
from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from engine.video.errors import VideoError
from engine.video.reading import ClipReader
from tests.engine.video.clips import make_clip, packets_of

MATRICES = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}  # Kr, Kb: BT.709, 601, 601, 2020


def read(path, passed_on=frozenset(), **options):
    with ClipReader(path) as reader:
        return reader, list(reader.parts(set(passed_on), **options))


def pixels_of(parts):
    return [part.pixels for part in parts if part.pixels is not None]


@pytest.mark.parametrize("stamps", [[0, 3600, 7200, 10800], [0, 3000, 9000, 9600], [90000, 93600, 97200, 100800]])
def test_time_stamps_count_from_the_start(clip, stamps):
    reader, parts = read(clip("clip.ts" if stamps[0] else "clip.mp4", 4, stamps=stamps))
    got = [float(part.pts * reader.time_base) for part in parts if part.pixels is not None]
    assert got == pytest.approx([(stamp - stamps[0]) / 90000 for stamp in stamps], abs=1e-9)
    assert [part.number for part in parts if part.pixels is not None] == [0, 1, 2, 3]


@pytest.mark.parametrize(("matrix", "depth", "full"),
                         [(1, 8, False), (6, 8, True), (5, 10, False), (9, 10, True), (9, 8, False)])
def test_numbers_become_rgb_by_the_matrix_and_range_that_the_file_names(tmp_path, matrix, depth, full):
    """Frames whose Y, Cb and Cr are given, in a codec without loss, against the matrices' own formulas."""
    kr, kb = MATRICES[matrix]
    colour = np.random.default_rng(0).uniform(0.1, 0.9, 3)  # R, G, B
    y = kr * colour[0] + (1 - kr - kb) * colour[1] + kb * colour[2]
    chroma = (colour[2] - y) / (2 * (1 - kb)), (colour[0] - y) / (2 * (1 - kr))
    top, unit = 2**depth - 1, 2 ** (depth - 8)
    levels = [y * (top if full else 219 * unit) + (0 if full else 16 * unit)]
    levels += [c * (top if full else 224 * unit) + 128 * unit for c in chroma]
    frame = av.VideoFrame(32, 16, "yuv444p10le" if depth == 10 else "yuv444p")
    kind = np.dtype(np.uint16 if depth == 10 else np.uint8)
    for plane, level in zip(frame.planes, levels, strict=True):
        plane.update(np.full(plane.buffer_size // kind.itemsize, round(level), kind).tobytes())
    frame.pts, frame.time_base = 0, Fraction(1, 25)
    path = tmp_path / "levels.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 16, frame.format.name
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, 2 if full else 1
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    pixels = pixels_of(read(path)[1])[0]
    assert pixels.dtype == kind
    assert pixels[8, 8] / np.iinfo(kind).max == pytest.approx(colour, abs=2.5 / 255)


@pytest.mark.parametrize(("height", "matrix"), [(48, 6), (720, 1)])
def test_an_unnamed_matrix_goes_by_size(tmp_path, height, matrix):
    path = make_clip(tmp_path / "clip.mp4", [np.full((height, 32, 3), 90, np.uint8)], colour=(2, 0, 2, 2))
    with ClipReader(path) as reader:
        assert (reader.colour.matrix, reader.colour.range) == (matrix, 1)


@pytest.mark.parametrize("turn", [0, 90, 180, -90])
def test_frames_are_upright(clip, pictures, turn):
    """The camera was turned; its file says so."""
    reader, parts = read(clip(turn=turn, aspect=Fraction(4, 3)))
    assert reader.size == (64, 48) and reader.aspect == Fraction(4, 3)  # as they are stored
    wanted = np.rot90(pictures(6)[0], turn // 90)  # np.rot90 and display matrices turn against the clock
    assert np.abs(pixels_of(parts)[0].astype(int) - wanted).mean() < 3


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused_by_name(clip, transfer, name):
    with pytest.raises(VideoError, match=f"HDR: {name}.*expected standard dynamic range"):
        ClipReader(clip(pix_fmt="yuv420p10le", colour=(9, 1, 9, transfer)))


def test_other_streams_come_with_the_frames(clip):
    path = clip("clip.mkv", sound=True, subtitle=True)
    with ClipReader(path) as reader:
        others = {stream.type: stream.index for stream in reader.others}
        assert set(others) == {"audio", "subtitle"}
        parts = list(reader.parts({others["audio"]}))
    got = [bytes(packet) for part in parts for packet in part.packets]
    assert got == [data for data, _, _ in packets_of(path, "audio")]


def test_frames_before_a_time_come_without_pixels(clip):
    _, parts = read(clip(frames=6), first_time=Fraction(3, 25))
    assert [part.pixels is None for part in parts] == [True] * 3 + [False] * 3


@pytest.mark.parametrize("name", ["clip.mp4", "clip.avi", "clip.mkv", "clip.ts"])
def test_damaged_packets_are_counted_and_passed_over(tmp_path, pictures, name):
    """The middle of the file is overwritten with noise: frames before and after are there."""
    frames = [picture + np.uint8(number) for number, picture in enumerate(pictures(40))]
    path = make_clip(tmp_path / name, frames, gop=5, pix_fmt="yuv420p")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + len(data) // 12] = np.random.default_rng(0).bytes(len(data) // 12)
    path.write_bytes(data)
    reader, parts = read(path)
    if name in ("clip.mp4", "clip.avi"):  # the others' containers lose whole packets, of which FFmpeg does not tell
        assert reader.damaged > 0
    got = pixels_of(parts)
    assert 20 <= len(got) <= 40
    assert np.abs(got[0].astype(int) - frames[0]).mean() < 4 and np.abs(got[-1].astype(int) - frames[-1]).mean() < 4


def test_a_file_that_ends_early_gives_what_is_there(clip):
    path = clip("clip.mkv", 40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert 8 <= len(pixels_of(read(path)[1])) < 40


@pytest.mark.parametrize("content", [b"", b"no clip at all " * 99])
def test_no_clip(tmp_path, content):
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError, match="not a clip that FFmpeg reads"):
        ClipReader(path)


def test_no_picture_in_it(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        track = container.add_stream("aac", rate=48000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 48000
        container.mux(track.encode(sound))
        container.mux(track.encode(None))
    with pytest.raises(VideoError, match="no moving picture in it, only audio"):
        ClipReader(path)
    with pytest.raises(VideoError, match="no file"):
        ClipReader(tmp_path / "missing.mp4")


@pytest.mark.parametrize(("name", "codec", "pix_fmt", "tolerance"), [
    ("a.mov", "png", "rgb24", 0.1), ("b.mkv", "ffv1", "bgr0", 0.1), ("c.mkv", "libx264", "yuv422p10le", 4),
    ("d.avi", "mjpeg", "yuvj420p", 6), ("e.mpg", "mpeg2video", "yuv420p", 8), ("f.webm", "libvpx-vp9", "yuv420p", 6),
    ("g.mkv", "ffv1", "yuva420p", 6), ("h.gif", "gif", "rgb8", 25)])
def test_kinds_of_pixels(tmp_path, pictures, name, codec, pix_fmt, tolerance):
    """RGB of several orders, with alpha, of full range by its name, by codecs of many containers."""
    path, wanted = tmp_path / name, pictures(1)[0]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 64, 48, pix_fmt, 4_000_000
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(wanted, format="rgb24").reformat(format=pix_fmt)
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    got = pixels_of(read(path)[1])
    assert len(got) == 3
    assert np.abs(got[0] / np.iinfo(got[0].dtype).max * 255 - wanted).mean() < tolerance
