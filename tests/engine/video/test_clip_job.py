"""Clips from file to file: what is kept, what is written, what an end in the middle leaves, and how it goes on."""
from __future__ import annotations

import errno
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from engine.video import clip_job
from engine.video.clip_job import enhance_clip
from engine.video.encoding import Encoding
from engine.video.errors import Unfinished, VideoError
from engine.video.orientation import matrix_of
from engine.video.part_file import PartFile
from tests.engine.video.clips import packets_of, read_clip

FAST = Encoding(preset="ultrafast", crf=8)


def twice(pixels):
    """Stands for the network: twice as bright."""
    return np.minimum(pixels.astype(np.uint32) * 2, np.iinfo(pixels.dtype).max).astype(pixels.dtype)


def run(path, output, enhance=twice, encoding=FAST, **options):
    return enhance_clip(path, output, enhance, encoding, **{"settings": {"seed": 0}, "steady": False, **options})


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out" / "clip.mp4"


def seconds(path):
    return [float(frame.pts * frame.time_base) for frame in read_clip(path)]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_everything_is_kept(clip, tmp_path, suffix):
    """Variable rate, aspect, sound, subtitles, languages, tags."""
    path = clip(f"clip{suffix}", 6, stamps=[0, 3600, 5400, 14400, 18000, 21600], aspect=Fraction(4, 3), sound=True,
                subtitle=True, tags={"title": "a walk", "location": "+52.5200+013.4050/"})
    output = tmp_path / "out" / path.name
    outcome = run(path, output)
    assert outcome.frames == 6 and outcome.part is None and outcome.damaged == 0
    assert list(output.parent.iterdir()) == [output]
    assert seconds(output) == seconds(path)
    for kind in ("audio", "subtitle"):
        wanted = packets_of(path, kind)
        assert packets_of(output, kind)[: len(wanted)] == wanted != []  # mp4 ends subtitles by an empty one
    with av.open(str(path)) as before, av.open(str(output)) as after:
        assert after.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
        languages = [[stream.metadata.get("language") for stream in container.streams][1:] for container in (before, after)]
        assert languages[0] == languages[1] and languages[1][1] == "fra"
        same = {key: value for key, value in before.metadata.items() if key.lower() in ("title", "location")}
        assert len(same) == 2 and same.items() <= after.metadata.items()
        if suffix != ".mkv":  # there streams have no length of their own
            ends = [container.streams.video[0].duration * container.streams.video[0].time_base for container in (before, after)]
            assert ends[1] - ends[0] in (0, Fraction(1, 25))  # PyAV's clip leaves the last frame's duration away
    for dark, bright in zip(read_clip(path), read_clip(output), strict=True):
        wanted = twice(dark.to_ndarray(format="rgb24", src_colorspace=1))
        assert np.abs(bright.to_ndarray(format="rgb24", src_colorspace=1).astype(int) - wanted).mean() < 6


@pytest.mark.parametrize(("colour", "pix_fmt"), [
    ((1, 1, 1, 1), "yuv420p"), ((6, 2, 6, 6), "yuv444p"), ((5, 1, 5, 6), "yuv420p"), ((9, 1, 9, 14), "yuv420p10le"),
    ((2, 0, 2, 2), "yuv420p")])
def test_colours_are_written_as_they_were_read(clip, output, colour, pix_fmt):
    """Matrix, range, primaries, transfer and depth; a picture that the network left alone comes out as it was."""
    path = clip(colour=colour, pix_fmt=pix_fmt)
    run(path, output, lambda pixels: pixels, Encoding(preset="ultrafast", crf=4, pix_fmt=pix_fmt))
    before, after = read_clip(path)[0], read_clip(output)[0]
    assert after.format.name.replace("yuvj", "yuv") == pix_fmt
    named = [int(value) for value in (after.colorspace, after.color_range, after.color_primaries, after.color_trc)]
    assert named == [colour[0] if colour[0] != 2 else 6, colour[1] or 1, *colour[2:]]
    kind = np.uint16 if pix_fmt.endswith("10le") else np.uint8
    for plane, other in zip(before.planes, after.planes, strict=True):
        levels = [np.frombuffer(p, kind).reshape(p.height, -1)[:, : p.width].astype(int) for p in (plane, other)]
        assert np.abs(levels[0] - levels[1]).mean() < (6 if kind is np.uint16 else 1.5)


@pytest.mark.parametrize(("height", "width"), [(47, 63), (48, 63), (17, 32)])
def test_odd_sizes_get_their_last_line_twice(clip, output, pictures, height, width):
    path = clip("clip.mkv", pictures(3, height, width), codec="ffv1", pix_fmt="yuv444p")
    run(path, output, lambda pixels: pixels)
    frame = read_clip(output)[0]
    assert (frame.height, frame.width) == (height + height % 2, width + width % 2)
    wanted = np.pad(pictures(3, height, width)[0], ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    assert np.abs(frame.to_ndarray(format="rgb24", src_colorspace=1).astype(int) - wanted).mean() < 6


@pytest.mark.parametrize(("suffix", "turn", "hflip"), [(".mp4", 90, False), (".mkv", 180, False), (".mov", -90, False),
                                                       (".mp4", 0, True), (".mkv", 90, True), (".mp4", -90, True),
                                                       (".mp4", 30, False)])
def test_a_turned_clip_is_seen_upright_and_stays_turned(clip, tmp_path, pictures, suffix, turn, hflip):
    """The file says how its picture is to be shown, in all eight ways and by any angle, and so does the result."""
    path, seen = clip(f"clip{suffix}", 2, turn=turn, hflip=hflip, aspect=Fraction(4, 3)), []
    output = tmp_path / "out" / path.name
    run(path, output, lambda pixels: seen.append(pixels) or pixels)
    shown = np.rot90(pictures(2)[0], round(turn / 90))
    assert np.abs(seen[0].astype(int) - (shown[:, ::-1] if hflip else shown)).mean() < 6
    before, after = read_clip(path)[0], read_clip(output)[0]
    assert matrix_of(after) == matrix_of(before) != None  # noqa: E711 - there is one
    assert np.abs(after.to_ndarray(format="rgb24", src_colorspace=1).astype(int) - pictures(2)[0]).mean() < 6
    with av.open(str(output)) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)


def test_one_frame_without_sound(clip, output):
    assert run(clip(frames=1), output).frames == 1 and len(read_clip(output)) == 1


def test_ten_bits_go_through_the_network_and_stay_when_asked_for(clip, output, caplog):
    seen = []
    frames = [np.full((32, 32, 3), 20000 + 64 * number, np.uint16) for number in range(3)]
    path = clip("clip.mkv", frames, codec="ffv1", pix_fmt="yuv444p10le")
    run(path, output, lambda pixels: seen.append(pixels.dtype) or pixels, Encoding(pix_fmt="yuv420p10le", crf=4))
    assert set(seen) == {np.dtype(np.uint16)} and not caplog.messages
    levels = [frame.to_ndarray(format="rgb48le", src_colorspace=1)[16, 16, 1] for frame in read_clip(output)]
    assert np.abs(np.array(levels, int) - [frame[0, 0, 1] for frame in frames]).max() < 200
    run(path, output, encoding=FAST, overwrite=True)
    assert "--pix_fmt yuv420p10le keeps 10" in caplog.text and read_clip(output)[0].format.name == "yuv420p"


def test_streams_that_a_container_cannot_hold_are_told(clip, output, caplog):
    assert run(clip("clip.mkv", sound=True, subtitle=True), output).frames == 6
    assert "stream 2 (subtitle srt) is left out: a mp4 file cannot hold it; --output_format mkv can" in caplog.text
    assert packets_of(output, "audio") and not packets_of(output, "subtitle")


def test_frames_enhanced_at_once_stay_in_order(clip, output, tmp_path):
    """In threads that share the cores; what is drawn from the frame before is so in order, too."""
    threads, seen = torch.get_num_threads(), set()

    def slow(pixels):
        seen.add(torch.get_num_threads())
        time.sleep(0.02 * (int(pixels.sum()) % 3))  # later frames are done before earlier ones
        return twice(pixels)

    path, alone = clip(frames=9), tmp_path / "alone" / "clip.mp4"
    run(path, output, slow, at_once=lambda height, width: 3 if (height, width) == (48, 64) else 1, steady=True)
    run(path, alone, steady=True)
    assert seen == {max(threads // 3, 1)} and torch.get_num_threads() == threads
    assert [frame.to_ndarray().tolist() for frame in read_clip(output)] == [frame.to_ndarray().tolist()
                                                                            for frame in read_clip(alone)]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_sound_of_a_transport_stream(clip, tmp_path, suffix):
    """Its AAC has a header of 7 bytes before each packet, which other containers keep once for all."""
    path, output = clip("clip.ts", sound=True, pix_fmt="yuv420p"), tmp_path / f"out{suffix}"
    run(path, output)
    wanted, got = packets_of(path, "audio"), packets_of(output, "audio")
    assert wanted and [data for data, _, _ in got] == [data[7:] for data, _, _ in wanted]
    with av.open(str(output)) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) == 1024 * len(wanted)


def test_nothing_is_written_over(clip, output, tmp_path):
    path = clip()
    before = path.read_bytes()
    for target in (path, tmp_path / "link.mp4"):
        if target != path:
            target.symlink_to(path)
        with pytest.raises(VideoError, match="is the clip itself"):
            run(path, target, overwrite=True)
    assert path.read_bytes() == before
    run(path, output)
    with pytest.raises(VideoError, match="is there already; --overwrite"):
        run(path, output)
    part = Path(f"{output}.part")
    part.write_bytes(b"x")
    with pytest.raises(VideoError, match="is there already; --overwrite"):
        run(path, output)
    output.unlink()
    with pytest.raises(VideoError, match="--resume goes on with it, --overwrite starts anew"):
        run(path, output)
    assert part.read_bytes() == b"x"
    run(path, output, overwrite=True)
    assert len(read_clip(output)) == 6 and not part.exists()


class StopAfter:
    """The network of somebody who presses Ctrl-C, or whose machine fails, at a frame."""

    def __init__(self, frames, error=KeyboardInterrupt):
        self.left, self.error = frames, error

    def __call__(self, pixels):
        self.left -= 1
        if self.left < 0:
            raise self.error
        return twice(pixels)


@pytest.fixture
def short_gops(monkeypatch):
    monkeypatch.setattr("engine.video.encoding.SECONDS_PER_KEY_FRAME", Fraction(4, 25))


@pytest.mark.usefixtures("short_gops")
@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "libx264"), (".mkv", "libx264"), (".mp4", "libx265"),
                                               (".mkv", "libvpx-vp9")])
def test_ctrl_c_leaves_what_was_done_and_resume_goes_on(clip, tmp_path, suffix, codec):
    encoding = Encoding(codec, preset=None if "vpx" in codec else "ultrafast", crf=8)
    path = clip(f"clip{suffix}", 20, sound=True, stamps=[3600 * number + 700 * (number % 3) for number in range(20)])
    output = tmp_path / "out" / path.name
    outcome = run(path, output, StopAfter(14), encoding)
    part = Path(f"{output}.part")
    assert outcome.part == part and outcome.frames == 14 and not output.exists()
    assert len(read_clip(part)) == 14 and packets_of(part, "audio")
    seen = []
    outcome = run(path, output, lambda pixels: seen.append(1) or twice(pixels), encoding, resume=True)
    assert outcome.frames == 20 and len(seen) == outcome.made == 8  # from the last key frame, the 12th, on
    assert list(output.parent.iterdir()) == [output]
    whole = tmp_path / "whole" / path.name
    run(path, whole, encoding=encoding)
    assert seconds(output) == seconds(whole) == seconds(path)
    assert packets_of(output, "audio") == packets_of(whole, "audio")
    for ours, theirs in zip(read_clip(output), read_clip(whole), strict=True):
        assert np.abs(ours.to_ndarray(format="gray").astype(int) - theirs.to_ndarray(format="gray")).mean() < 1


class FullDisk(PartFile):
    """A disk with room for so many bytes."""

    room = 0

    def write(self, data):
        if self.failure is None and self.tell() + len(data) > self.room:
            self.failure = OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


@pytest.mark.usefixtures("short_gops")
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_a_full_disk_leaves_a_file_that_plays(clip, tmp_path, monkeypatch, suffix):
    path = clip(f"clip{suffix}", 40)
    output = tmp_path / "out" / path.name
    run(path, tmp_path / "whole" / path.name)
    FullDisk.room = (tmp_path / "whole" / path.name).stat().st_size * 2 // 3
    monkeypatch.setattr("engine.video.writing.PartFile", FullDisk)
    with pytest.raises(Unfinished, match=f"No space left on device; the .* frames done are in .*{suffix}.part, .*--resume"):
        run(path, output)
    part = Path(f"{output}.part")
    assert not output.exists() and 8 <= len(read_clip(part, damaged=True)) < 40
    monkeypatch.setattr("engine.video.writing.PartFile", PartFile)
    outcome = run(path, output, resume=True)
    assert outcome.frames == 40 and 0 < outcome.made < 40 and seconds(output) == seconds(path)


@pytest.mark.usefixtures("short_gops")
def test_a_fault_of_the_network_leaves_what_was_done(clip, output):
    from engine.enhancing.enhancement import EnhancementError

    with pytest.raises(Unfinished, match="too little memory; the 9 frames done are in"):
        run(clip(frames=12), output, StopAfter(9, EnhancementError("too little memory")))
    assert len(read_clip(Path(f"{output}.part"))) == 9


def test_resume_with_other_settings_is_refused(clip, output):
    path = clip(frames=8)
    run(path, output, StopAfter(4))
    before = Path(f"{output}.part").read_bytes()
    with pytest.raises(VideoError, match=r"made with other settings: crf 8 \(now 30\), seed 0 \(now 1\)"):
        run(path, output, encoding=Encoding(preset="ultrafast", crf=30), resume=True, settings={"seed": 1})
    assert Path(f"{output}.part").read_bytes() == before
    assert run(path, output, resume=True).frames == 8  # no key frame but the first: from the start


def test_resume_without_a_part_starts(clip, output):
    assert run(clip(), output, resume=True).made == 6


@pytest.mark.usefixtures("short_gops")
def test_an_end_while_the_old_part_is_copied_loses_nothing(clip, output, monkeypatch):
    """The first frames come from the part before; it stays until they are all in the new one."""
    path = clip(frames=20)
    run(path, output, StopAfter(14))
    assert run(path, output, StopAfter(0), resume=True).frames >= 12
    assert run(path, output, resume=True).made <= 12 and len(read_clip(output)) == 20


def test_memory_does_not_grow_with_length(clip, output):
    """At no time are more frames between decoder and encoder than the channels hold."""
    path = clip("long.mkv", [np.full((16, 16, 3), 40, np.uint8)] * 120)
    given, most = [], 0

    class Counting(clip_job.ClipWriter):
        def write(self, *arguments):
            nonlocal most
            most = max(most, len(given) - self.frames)
            super().write(*arguments)

    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr(clip_job, "ClipWriter", Counting)
        run(path, output, lambda pixels: given.append(1) or pixels)
    assert len(given) == 120 and most <= 6


@pytest.mark.parametrize(("options", "reason"), [
    (("libx26", None, None, "yuv420p"), "--codec libx26: this PyAV has no such video encoder"),
    (("aac", None, None, "yuv420p"), "no such video encoder"),
    (("h264", None, None, "yuv421p"), "--pix_fmt yuv421p: FFmpeg knows no such format"),
    (("mpeg4", None, None, "yuv444p"), "--pix_fmt yuv444p: mpeg4 takes: yuv420p"),
    (("ffv1", 20.0, None, "yuv420p"), "--crf 20.0: ffv1 has no such option"),
    (("ffv1", None, "fast", "yuv420p"), "--preset fast: ffv1 has no such option")])
def test_wrong_encodings(options, reason):
    with pytest.raises(VideoError, match=reason):
        Encoding.of(*options)


def test_an_encoder_that_cannot_be_opened_leaves_no_part(clip, output):
    with pytest.raises(VideoError, match="libx264 cannot be opened for 64x48 yuv420p with preset quick"):
        run(clip(), output, encoding=Encoding(preset="quick"))


@pytest.mark.parametrize(("codec", "name"), [("h265", "hevc"), ("vp9", "vp9"), ("ffv1", "ffv1")])
def test_codecs(clip, tmp_path, codec, name):
    output = tmp_path / "out" / "clip.mkv"
    run(clip(), output, encoding=Encoding.of(codec, None, None, "yuv420p"))
    with av.open(str(output)) as container:
        assert container.streams.video[0].codec_context.name == name and len(list(container.decode(video=0))) == 6
