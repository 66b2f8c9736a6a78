"""Names, links and permissions as found in the wild, through the real script: one of them never stops the others."""
from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

import infer_image
from data.files.folders import walk
from data.files.images import Photo, read_photo, write_atomically, write_photo
from data.overlap.__main__ import main as overlap_main
from exp_config import Config
from models import HVR, save_weights

PROJECT = Path(infer_image.__file__).parent


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    config = Config(z_dims=4, embed_dims=4, unet_init_features=4, swin_depths=[1], swin_num_heads=[1], hvr_t=1, hvr_c=1,
                    hvr_n_supervision=1)
    save_weights(HVR.from_config(config), folder / "HVR.safetensors", config)
    return ["--config_path", str(folder / "config.json"), "--weights_path", str(folder / "HVR.safetensors"), "--device", "cpu"]


@pytest.fixture
def source(tmp_path, make_photo):
    write_photo(tmp_path / "in/good.png", Photo(make_photo(18, 26)))
    return tmp_path / "in"


def enhance(weights, source, *options) -> int:
    return infer_image.main([*weights, "--input_path", str(source), "--output_dir", str(source.parent / "out"), *options])


def test_links_that_lead_nowhere(weights, source, capsys):
    (source / "gone.png").symlink_to("/nowhere/x.png")
    (source / "loop.png").symlink_to("loop.png")
    assert enhance(weights, source) == 1
    printed = capsys.readouterr()
    assert "1 written, 0 skipped, 2 failed" in printed.out
    assert "gone.png: cannot be read" in printed.err and "loop.png: cannot be read" in printed.err


def test_linked_folders_are_looked_into_once(weights, source, make_photo, capsys):
    write_photo(source.parent / "elsewhere/far.png", Photo(make_photo(18, 26, 1)))
    (source / "linked").symlink_to(source.parent / "elsewhere")
    (source.parent / "elsewhere/back").symlink_to(source)
    assert enhance(weights, source) == 0
    assert "2 written" in capsys.readouterr().out
    assert (source.parent / "out/linked/far.png").is_file()
    assert len(list(walk(source))) == 2


def test_similar_names_written_at_once_do_not_meet(tmp_path, monkeypatch):
    """Four threads encode; what they write before renaming must not be the same file."""
    def slow_replace(a, b, replace=os.replace):
        time.sleep(0.01)
        replace(a, b)

    monkeypatch.setattr(os, "replace", slow_replace)
    names = [f"{'a screenshot with a long name that goes on and on '}{i}.png" for i in range(12)] + ["a.jpg", "a.png"]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: write_atomically(tmp_path / name, name.encode() * 1000), names))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {name: name.encode() * 1000 for name in names}


def test_lines_in_names_and_names_of_other_encodings(weights, source, make_photo, capsys):
    for name in ("two\nlines.png", os.fsdecode(b"caf\xe9.png")):
        try:
            write_photo(source / name, Photo(make_photo(18, 26)))
        except OSError:
            pytest.skip("this file system takes no such names")
    assert enhance(weights, source, "--contact_sheet", str(source.parent / "sheet.png")) == 0
    assert "3 written" in capsys.readouterr().out and (source.parent / "sheet.png").is_file()
    scores, references = source.parent / "scores", source.parent / "references"
    shutil.copytree(source, references)
    assert infer_image.main([*weights, "--input_path", str(source), "--target_path", str(references), "--output_dir",
                             str(scores)]) == 0
    assert "caf\\udce9" in next(scores.rglob("scores.csv")).read_text()
    overlap_main(["--train", str(source), "--test", str(source), "--output_dir", str(source.parent / "overlap")])
    assert "caf\\udce9" in (source.parent / "overlap/matrix.csv").read_text()


def test_a_name_that_grows_too_long(weights, source, make_photo, capsys):
    write_photo(source / "short.png", Photo(make_photo(18, 26)))
    (source / "short.png").rename(source / ("x" * 251 + ".png"))
    assert enhance(weights, source, "--output_format", "jpeg") == 1
    assert "1 written, 0 skipped, 1 failed" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--input_path", "--output_dir"])
def test_paths_that_the_system_refuses(weights, source, option, capsys):
    paths = {"--input_path": str(source), "--output_dir": str(source.parent / "out"), option: "y" * 300}
    assert infer_image.main([*weights, *(word for item in paths.items() for word in item)]) in (1, 2)
    assert "y" * 300 in capsys.readouterr().err


def test_sigterm_ends_a_job_as_ctrl_c_does(weights, source, make_photo):
    for number in range(400):
        write_photo(source / f"{number}.png", Photo(make_photo(40, 40, number % 5)))
    command = [sys.executable, str(PROJECT / "infer_image.py"), *weights, "--input_path", str(source),
               "--output_dir", str(source.parent / "out")]
    job = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                           env={**os.environ, "OMP_NUM_THREADS": "1"})
    while not list((source.parent / "out").glob("*.png")) and job.poll() is None:
        time.sleep(0.02)
    job.send_signal(signal.SIGTERM)
    printed, _ = job.communicate(timeout=120)
    assert job.returncode == infer_image.INTERRUPTED and "written" in printed and "Traceback" not in printed
    left = [path for path in (source.parent / "out").iterdir() if path.suffix == ".tmp"]
    assert not left
    for path in (source.parent / "out").glob("[!.]*.png"):
        assert np.ptp(read_photo(path).pixels) > 0
