"""infer_video.py: through `main`, and the whole program in a process of its own."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import infer_image
import infer_video
from engine.enhancing.enhancement import enhance
from exp_config import Config
from models import HVR, load_pretrained, save_weights

pytest.importorskip("av", reason="needs PyAV: pip install -r requirements-video.txt")

from tests.engine.video.clips import make_clip, packets_of, read_clip

PROJECT = Path(infer_video.__file__).parent


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A small network with random weights, as options of the script."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    config = Config(z_dims=8, embed_dims=8, unet_init_features=8, swin_num_heads=[2, 2], hvr_t=1, hvr_c=1, hvr_n_supervision=2)
    save_weights(HVR.from_config(config), folder / "HVR.safetensors", config)
    return ["--config_path", str(folder / "config.json"), "--weights_path", str(folder / "HVR.safetensors")]


@pytest.fixture
def run(weights, capsys):
    """Call the script; -> (exit status, standard output, standard error)."""
    def call(*options):
        try:
            status = infer_video.main([*weights, "--device", "cpu", *map(str, options)])
        except SystemExit as end:
            status = end.code
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture
def frames(make_photo):
    scene = make_photo(32, 60, 3) // 3
    return [np.ascontiguousarray(scene[:, number : number + 40]) for number in range(4)]


def test_a_clip(run, tmp_path, frames, weights):
    """Frame by frame the pictures are those of infer_image.py with one supervision step; without that, later ones are drawn
    towards the first."""
    clip = make_clip(tmp_path / "night walk.mp4", frames, sound=True)
    model = load_pretrained(weights[1], weights[3])
    pictures = {}
    for name, options in (("single", ["--frame_by_frame"]), ("steady", [])):
        status, said, error = run("--input_path", clip, "--output_dir", tmp_path / name, "--crf", 0, "--pix_fmt", "yuv444p",
                                  *options)
        assert status == 0, error
        assert said.startswith(f"{tmp_path / name / clip.name}: 4 frames, ") and " frames/s" in said
        frames_written = read_clip(tmp_path / name / clip.name)
        pictures[name] = [frame.to_ndarray(format="rgb24", src_colorspace=1) for frame in frames_written]
        assert packets_of(tmp_path / name / clip.name, "audio") == packets_of(clip, "audio")
    for dark, bright in zip(read_clip(clip), pictures["single"], strict=True):
        one, two = (enhance(model, dark.to_ndarray(format="rgb24", src_colorspace=1), N=steps) for steps in (1, 2))
        assert np.abs(bright.astype(int) - one).mean() < 3 < np.abs(one.astype(int) - two).mean()
    assert np.array_equal(pictures["single"][0], pictures["steady"][0])
    assert not np.array_equal(pictures["single"][3], pictures["steady"][3])


def test_a_folder(run, tmp_path, frames, caplog):
    """Names and sub-folders are kept, a bad file stops nothing, a second run makes only what is missing."""
    folder, out = tmp_path / "in", tmp_path / "out"
    (folder / "car").mkdir(parents=True)
    make_clip(folder / "a.mp4", frames)
    make_clip(folder / "car" / "b.avi", frames)
    (folder / "bad.mov").write_bytes(b"nothing")
    (folder / "notes.txt").write_text("x")
    status, said, _ = run("--input_path", folder, "--output_dir", out)
    assert status == 1 and "2 written, 0 skipped, 1 failed" in said
    assert f"failed: {folder / 'bad.mov'}: not a clip that FFmpeg reads" in caplog.text
    assert sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file()) == [Path("a.mp4"), Path("car/b.mp4")]
    before = (out / "a.mp4").stat().st_mtime_ns
    (out / "car/b.mp4").unlink()
    assert "1 written, 1 skipped (already there; --overwrite makes them anew), 1 failed" in run(
        "--input_path", folder, "--output_dir", out)[1]
    assert (out / "a.mp4").stat().st_mtime_ns == before


@pytest.mark.parametrize(("options", "reason"), [
    (["--input_path", "{tmp}/none.mp4"], "no file or folder"), (["--input_path", "{tmp}/photo.jpg"], "python infer_image.py"),
    (["--input_path", "{tmp}/clip.mp4", "--codec", "none"], "no such video encoder"),
    (["--input_path", "{tmp}/clip.mp4", "--output_dir", "{tmp}"], "is the clip itself"),
    (["--input_path", "{tmp}", "--output_dir", "{tmp}"], "is the input folder"),
    (["--input_path", "{tmp}/empty"], "no clips in"), (["--input_path", "{tmp}/text.txt"], "not a clip that FFmpeg reads"),
    (["--input_path", "{tmp}/clip.mp4", "--resume", "--overwrite"], "give one of them"),
    (["--input_path", "{tmp}/two", "--output_format", "mkv"], "would both become")])
def test_wrong_usage(run, tmp_path, frames, options, reason):
    make_clip(tmp_path / "clip.mp4", frames[:1])
    for name in ("photo.jpg", "text.txt", "empty/x.txt", "two/a.mp4", "two/a.mov"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    status, _, error = run("--output_dir", tmp_path / "out", *[option.format(tmp=tmp_path) for option in options])
    assert status == 2 and error.startswith("error: ") and reason in error and len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_photos_and_clips_know_one_another(tmp_path, frames, capsys):
    clip = make_clip(tmp_path / "clip.MP4", frames[:1])
    assert infer_image.main(["--input_path", str(clip), "--output_dir", str(tmp_path / "out")]) == 2
    assert f"is a clip by its name; python infer_video.py --input_path {clip} enhances it" in capsys.readouterr().err


def test_without_pyav_the_line_to_install_is_named(run, tmp_path, monkeypatch):
    (tmp_path / "clip.mp4").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "av", None)
    status, _, error = run("--input_path", tmp_path / "clip.mp4", "--output_dir", tmp_path / "out")
    assert status == 2 and "pip install -r requirements-video.txt" in error
    assert (PROJECT / "requirements-video.txt").is_file()


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_sigterm_in_the_middle_and_resume(run, tmp_path, frames, weights):
    """A process that is told to end leaves a part that plays, and the same command with --resume ends the clip."""
    clip = make_clip(tmp_path / "clip.mp4", [frames[number % 4] for number in range(130)])
    options = ["--input_path", str(clip), "--output_dir", str(tmp_path / "out"), "--preset", "ultrafast", "--frame_by_frame"]
    process = subprocess.Popen([sys.executable, "infer_video.py", *weights, "--device", "cpu", *options], cwd=PROJECT,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    part = tmp_path / "out" / "clip.mp4.part"
    started = time.monotonic()
    while not (part.exists() and part.stat().st_size > 1000) and process.poll() is None and time.monotonic() < started + 120:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    said, error = process.communicate(timeout=120)
    assert process.returncode == 130, error
    assert f"interrupted: {part}: " in said and "--resume goes on with it" in said
    assert 0 < len(read_clip(part)) < 130
    status, _, error = run(*options, "--resume")
    assert status == 0, error
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["clip.mp4"]
    assert len(read_clip(tmp_path / "out" / "clip.mp4")) == 130
    assert "frame/s" in error  # progress
