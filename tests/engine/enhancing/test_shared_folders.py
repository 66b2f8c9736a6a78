"""Folders of photos on several processes, through the real script under torchrun and with SLURM's variables."""
from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from data.files.images import Photo, read_photo, write_photo
from engine.enhancing.enhancement import enhance
from engine.enhancing.job_record import FILE
from exp_config import Config
from models import HVR, load_pretrained, save_weights

PROJECT = Path(__file__).resolve().parents[3]
SCRIPT = Path(__file__).with_name("launches.py")
DEADLY, DEADLY_FOR_GUARDS, INTERRUPTING = 31, 33, 35  # heights, see launches.py


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A small network with random weights, as options of the script."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    config = Config(z_dims=4, embed_dims=4, unet_init_features=4, swin_depths=[1], swin_num_heads=[2], hvr_t=1, hvr_c=1,
                    hvr_n_supervision=1)
    save_weights(HVR.from_config(config), folder / "HVR.safetensors", config)
    return ["--config_path", str(folder / "config.json"), "--weights_path", str(folder / "HVR.safetensors")]


@pytest.fixture
def photos(tmp_path, make_photo):
    """`photos(5, {2: 31})` -> a folder of 5 small photos, the third of another height; it takes a while with each."""
    def call(count, heights=None, name="slow"):
        for number in range(count):
            height = (heights or {}).get(number, 16)
            write_photo(tmp_path / name / f"{number:02}.png", Photo(make_photo(height, 24, number) // 4))
        return tmp_path / name
    return call


def environment(**others):
    return {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(PROJECT), **others}


def torchrun(processes, *options):
    """-> the finished launch."""
    return subprocess.run([sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes), "--rdzv_backend",
                           "c10d", "--rdzv_endpoint", "localhost:0", SCRIPT, *map(str, options), "--device", "cpu"],
                          env=environment(), capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def launcher():
    process = subprocess.Popen([sys.executable, SCRIPT], env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True)
    yield process
    process.stdin.close()
    assert process.wait(60) == 0


@pytest.fixture
def srun(launcher, tmp_path):
    """`srun(2, options ..)`: so many processes with SLURM's variables -> exit statuses, outputs, errors."""
    def call(processes, *options, **variables):
        launch = {"processes": processes, "arguments": [*map(str, options), "--device", "cpu"], "folder": str(tmp_path),
                  "environment": variables}
        print(json.dumps(launch), file=launcher.stdin, flush=True)
        statuses = json.loads(launcher.stdout.readline())
        return (statuses, *([(tmp_path / f"{name}{rank}").read_text() for rank in range(processes)] for name in ("out", "err")))
    return call


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_two_processes_make_what_one_makes(photos, weights, tmp_path):
    """A file that is broken fails, and a process that is killed costs its photo, the first of the first process."""
    source, out, sheet = photos(9, {0: DEADLY}), tmp_path / "out", tmp_path / "sheet.png"
    (source / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    done = torchrun(2, *weights, "--input_path", source, "--output_dir", out, "--contact_sheet", sheet)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [f"8 written, 0 skipped, 2 failed; results in {out}", f"contact sheet: {sheet}"]
    assert done.stderr.count(f"failed: {source / 'bad.png'}") == 1 and "process 0 was ended by SIGKILL" in done.stderr
    assert f"failed: {source / '00.png'}: the process that had it in hand died" in done.stderr
    assert len(re.findall(r"\b0/10 \[", done.stderr)) <= 2 and "10/10 [" in done.stderr  # the bar of the first process
    model = load_pretrained(weights[1], weights[3])
    assert names(out) == [FILE, *(f"{n:02}.png" for n in range(1, 9))]
    for n in range(1, 9):
        wanted = enhance(model, read_photo(source / f"{n:02}.png").pixels)
        np.testing.assert_array_equal(read_photo(out / f"{n:02}.png").pixels, wanted)
    record = json.loads((out / FILE).read_text())
    assert len(record["jobs"]) == 1 and len(record["results"]) == 10
    assert read_photo(sheet).pixels.shape[0] > 100


def test_of_three_processes_two_go_on_when_torchrun_hears_that_one_died(photos, weights, tmp_path):
    source, out = photos(18, {12: DEADLY_FOR_GUARDS}), tmp_path / "out"
    done = torchrun(3, *weights, "--input_path", source, "--output_dir", out)
    assert done.returncode == 1 and done.stdout.startswith("17 written, 0 skipped, 1 failed")
    assert "its launcher asks the others to stop; they go on" in done.stderr
    assert names(out) == [FILE, *(f"{n:02}.png" for n in range(18) if n != 12)]


@pytest.mark.parametrize("effect", [DEADLY, DEADLY_FOR_GUARDS])
def test_one_that_dies_costs_its_photo_and_the_next_run_makes_it(photos, weights, tmp_path, srun, effect):
    source, out = photos(8, {4: effect}), tmp_path / "out"
    statuses, said, complaints = srun(2, *weights, "--input_path", source, "--output_dir", out)
    assert statuses == [1, 0 if effect == DEADLY else -9], complaints
    assert said[0].startswith("7 written, 0 skipped, 1 failed") and said[1] == ""
    assert f"failed: {source / '04.png'}: the process that had it in hand died" in complaints[0]
    statuses, said, complaints = srun(2, *weights, "--input_path", source, "--output_dir", out)
    assert statuses == [0, 0], complaints
    assert said[0].startswith("1 written, 7 skipped (already there") and said[1] == ""
    assert names(out) == [FILE, *(f"{n:02}.png" for n in range(8))]


def test_without_the_first_process_of_srun_the_others_go_on(photos, weights, tmp_path, srun):
    source, out = photos(8, {0: DEADLY_FOR_GUARDS}), tmp_path / "out"
    statuses, _, complaints = srun(2, *weights, "--input_path", source, "--output_dir", out)
    assert statuses == [-9, 1] and "the first process is gone; this one has gone on" in complaints[1]
    assert [path.name for path in sorted(out.glob("*.png"))] == [f"{n:02}.png" for n in range(8)]


def test_ctrl_c_ends_all(photos, weights, tmp_path, srun):
    source, out = photos(60, {33: INTERRUPTING}), tmp_path / "out"
    statuses, said, complaints = srun(2, *weights, "--input_path", source, "--output_dir", out)
    assert statuses == [130, 130] and "Traceback" not in "".join(complaints), complaints
    assert "the same command again goes on from here" in said[0] and said[1] == ""
    written = int(said[0].split(" written")[0])
    assert 0 < written < 50 and len(list(out.glob("*.png"))) == written


@pytest.mark.parametrize(("processes", "count"), [(3, 2), (2, 1)])
def test_more_processes_than_photos(photos, weights, tmp_path, srun, processes, count):
    source = photos(count, name="photos") / ("" if count > 1 else "00.png")
    statuses, said, complaints = srun(processes, *weights, "--input_path", source, "--output_dir", tmp_path / "out")
    assert statuses == [0] * processes, complaints
    assert said[0].startswith(f"{count} written, 0 skipped, 0 failed") and not any(said[1:])
    assert names(tmp_path / "out") == [FILE, *(f"{n:02}.png" for n in range(count))]


def test_overwrite_makes_each_anew_once(photos, weights, tmp_path, srun):
    source, out = photos(4, name="photos"), tmp_path / "out"
    for options, expected in (((), "4 written, 0 skipped"), (("--overwrite", "--strength", "0"), "4 written, 0 skipped")):
        statuses, said, _ = srun(2, *weights, "--input_path", source, "--output_dir", out, *options)
        assert statuses == [0, 0] and said[0].startswith(expected)
    np.testing.assert_array_equal(read_photo(out / "03.png").pixels, read_photo(source / "03.png").pixels)
    record = json.loads((out / FILE).read_text())
    assert record["pending"] == {} and [job["strength"] for job in record["jobs"]] == [0]


def test_paths_that_are_wrong_end_all(weights, tmp_path, srun):
    statuses, _, complaints = srun(2, *weights, "--input_path", tmp_path / "none", "--output_dir", tmp_path / "out")
    assert statuses == [2, 2] and all("no file or folder" in said for said in complaints)
    assert not (tmp_path / "out").exists()


def test_a_rank_out_of_range_is_told(photos, weights, tmp_path, srun):
    statuses, _, complaints = srun(1, *weights, "--input_path", photos(1), SLURM_NTASKS="3", SLURM_PROCID="3")
    assert statuses == [2] and complaints[0].startswith("error: SLURM_PROCID=3 of SLURM_NTASKS=3 processes")
