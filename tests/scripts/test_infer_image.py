"""infer_image.py: every option through `main`, and the whole program in a process of its own."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import infer_image
from data.files.images import Photo, read_photo, write_photo
from engine.enhancing.enhancement import enhance
from exp_config import Config
from models import HVR, load_pretrained, save_weights

PROJECT = Path(infer_image.__file__).parent


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A small network with random weights, as options of the script."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    config = Config(z_dims=8, embed_dims=8, unet_init_features=8, swin_num_heads=[2, 2], hvr_t=1, hvr_c=1)
    save_weights(HVR.from_config(config), folder / "HVR.safetensors", config)
    return ["--config_path", str(folder / "config.json"), "--weights_path", str(folder / "HVR.safetensors")]


@pytest.fixture(scope="module")
def model(weights):
    return load_pretrained(weights[1], weights[3])


@pytest.fixture
def folder(tmp_path, make_photo):
    """A folder as a photographer's: formats, depths, alpha, gray, orientation, sub-folders, names in two scripts."""
    source = tmp_path / "my photos"
    small = make_photo(18, 26)
    write_photo(source / "plain.jpg", Photo(small))
    write_photo(source / "ночь/深い.TIF", Photo(small.astype(np.uint16) * 250 + 7))
    write_photo(source / "ночь/alpha.png", Photo(small, small[..., 0]))
    write_photo(source / "gray.bmp", Photo(np.repeat(small[..., :1], 3, 2), gray=True))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(small).save(source / "turned.webp", lossless=True, exif=exif.tobytes())
    return source


@pytest.fixture
def run(weights, tmp_path, capsys):
    """Call the script; -> (exit status, standard output, standard error)."""
    def call(*options):
        try:
            status = infer_image.main([*weights, "--device", "cpu", *map(str, options)])
        except SystemExit as end:
            status = end.code
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def test_folder(run, folder, tmp_path, model):
    out = tmp_path / "out"
    status, said, _ = run("--input_path", folder, "--output_dir", out)
    assert status == 0 and said.startswith("5 written, 0 skipped, 0 failed")
    for path in (p for p in folder.rglob("*") if p.is_file()):
        before, after = read_photo(path), read_photo(out / path.relative_to(folder))
        assert after.pixels.dtype == before.pixels.dtype and after.gray == before.gray
        wanted = Photo(enhance(model, before.pixels), before.alpha, before.gray, lossless=before.lossless)
        write_photo(tmp_path / "wanted" / path.name, wanted)
        np.testing.assert_array_equal(after.pixels, read_photo(tmp_path / "wanted" / path.name).pixels)
        if before.alpha is not None:
            np.testing.assert_array_equal(after.alpha, before.alpha)
    with Image.open(out / "turned.webp") as turned:
        assert turned.size == (18, 26) and turned.getexif().get(0x0112, 1) == 1
    status, said, _ = run("--input_path", folder, "--output_dir", out)
    assert status == 0 and said.startswith("0 written, 5 skipped (already there")


def test_results_of_other_options_are_told(run, folder, tmp_path, weights):
    out = tmp_path / "out"
    assert "settings" not in run("--input_path", folder, "--output_dir", out)[2]
    status, said, complaints = run("--input_path", folder, "--output_dir", out, "--strength", "0.5", "--hvr_t", "2")
    assert status == 0 and said.startswith("0 written, 5 skipped")
    assert complaints.count("other settings") == 1 and "strength 1.0 (now 0.5), T 1 (now 2); --overwrite" in complaints
    four = tmp_path / "four.json"  # the weights fit this network, too
    Config(**{**vars(Config.from_json(weights[1])), "unet_num_groups": 4}).to_json(four)
    assert "unet_num_groups 2 (now 4)" in run("--input_path", folder, "--output_dir", out, "--config_path", four)[2]
    status, said, _ = run("--input_path", folder / "plain.jpg", "--output_dir", out, "--strength", "0")
    assert status == 0 and said.startswith("1 written")
    np.testing.assert_allclose(read_photo(out / "plain.jpg").pixels, read_photo(folder / "plain.jpg").pixels, atol=9)


def test_a_config_of_a_class_with_more_fields_will_do(run, folder, tmp_path, weights, caplog):
    more = tmp_path / "more.json"
    more.write_text(json.dumps({**json.loads(Path(weights[1]).read_text()), "extra": 3}))
    status, said, _ = run("--input_path", folder, "--output_dir", tmp_path / "out", "--config_path", more)
    assert status == 0 and said.startswith("5 written") and caplog.text.count("unknown fields, left out: 'extra'") == 1


def test_single_file_with_every_option_of_the_result(run, folder, tmp_path, model):
    source, out = folder / "ночь/alpha.png", tmp_path / "out"
    before = read_photo(source)
    for options, settings in (
        (("--strength", "0.5"), {"strength": 0.5}), (("--seed", "9"), {"seed": 9}), (("--hvr_t", "2"), {"T": 2}),
        (("--hvr_c", "3"), {"C": 3}), (("--hvr_n_supervision", "1"), {"N": 1}), (("--hvr_n_sup_factor", "1.9"), {"N": 3}),
        (("--hvr_n_supervision", "0"), {"N": 1}), (("--precision", "bf16"), {"precision": "bf16"}),
        (("--average",), {"average": True}), (("--border", "8"), {"border": 8}),
        (("--brightness", "-0.5"), {"brightness": -0.5}),
        (("--saturation", "1.4"), {"saturation": 1.4}), (("--detail", "0.7"), {"detail": 0.7}),
        (("--light_order", "0.7"), {"light_order": 0.7}), (("--white_balance", "0.7"), {"white_balance": 0.7}),
        (("--detail", "1", "--max_working_megapixels", "0.0002"), {"detail": 1, "max_working_megapixels": 0.0002}),
    ):
        status, _, _ = run("--input_path", source, "--output_dir", out, *options)
        assert status == 0
        wanted = enhance(model, before.pixels, **settings)
        np.testing.assert_array_equal(read_photo(out / "alpha.png").pixels, wanted, err_msg=str(options))


def test_initial_latents_of_zero_know_no_seed(run, folder, tmp_path, weights):
    source, out = folder / "ночь/alpha.png", tmp_path / "out"
    zeros = load_pretrained(weights[1], weights[3])
    zeros.z_distribution = "zeros"
    wanted = enhance(zeros, read_photo(source).pixels)
    for seed in ("0", "9"):
        status, _, _ = run("--input_path", source, "--output_dir", out, "--z_distribution", "zeros", "--seed", seed)
        assert status == 0
        np.testing.assert_array_equal(read_photo(out / "alpha.png").pixels, wanted)
    run("--input_path", source, "--output_dir", out, "--z_distribution", "normal")
    assert not np.array_equal(read_photo(out / "alpha.png").pixels, wanted)


def test_format_compare_and_contact_sheet(run, folder, tmp_path):
    out, sheet = tmp_path / "out", tmp_path / "sheet.png"
    status, said, _ = run("--input_path", folder, "--output_dir", out, "--output_format", "png", "--compare",
                          "--contact_sheet", sheet)
    assert status == 0 and f"contact sheet: {sheet}" in said
    assert {p.suffix for p in out.rglob("[!.]*.*")} == {".png"} and len(list((out / "compare").rglob("*.png"))) == 5
    assert read_photo(out / "compare/turned.png").pixels.shape == (26, 36, 3)
    assert read_photo(sheet).pixels.std() > 5


def test_bad_files_are_named_and_the_rest_is_written(run, folder, tmp_path):
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.jpg").write_text("no picture")
    (folder / "large.png").write_bytes((folder / "ночь/alpha.png").read_bytes())
    (folder / "list.txt").write_text("other")
    status, said, complaints = run("--input_path", folder, "--output_dir", tmp_path / "out")
    assert status == 1 and said.startswith("6 written, 0 skipped, 2 failed") and "1 .txt" in said
    assert "empty.png: the file is empty" in complaints and "text.jpg: it is a text file" in complaints
    status, said, complaints = run("--input_path", folder, "--output_dir", tmp_path / "two", "--max_megapixels", "1e-4")
    assert status == 1 and said.startswith("0 written") and "the limit is 0.0001" in complaints


@pytest.mark.parametrize(("options", "message"), [
    ([], "--input_path PHOTO_OR_FOLDER is missing"),
    (["--input_path", "/no/such/place"], "no file or folder /no/such/place"),
    (["--input_path", PROJECT / "img/samples", "--output_dir", PROJECT / "img/samples"], "is the input folder"),
    (["--input_path", PROJECT / "img/samples", "--strength", "2"], "'2'; expected a number from 0 to 1"),
    (["--input_path", PROJECT / "img/samples", "--hvr_t", "-1"], "expected a whole number from 0 to 100"),
    (["--input_path", PROJECT / "img/samples", "--hvr_n_sup_factor", "nan"], "expected a number from 0 to 100"),
    (["--input_path", PROJECT / "img/samples", "--seed", "x"], "'x'; expected a whole number"),
    (["--input_path", PROJECT / "img/samples", "--output_format", "gif"], "invalid choice: 'gif'"),
    (["--input_path", PROJECT / "img/samples", "--device", "tpu"], "device 'tpu'; expected auto, cpu"),
    (["--input_path", PROJECT / "img/samples", "--config_path", "/none.json"], "no config file /none.json"),
    (["--input_path", PROJECT / "img/samples", "--weights_path", "/none.safetensors"], "no weights file"),
    (["--input_path", "a.jpg", "b.jpg"], "unexpected argument 'b.jpg'; one photo or folder at a time: --input_path PATH"),
    (["--compare", "b.jpg"], "with infer_image.sh both first and the options after them"),
    (["--brighter", "2"], "unrecognized arguments: --brighter 2"),
    (["--brightness", "9"], "'9'; expected a number from -8 to 8"),
    (["--detail", "1.5"], "'1.5'; expected a number from 0 to 1"),
    (["--input_path", PROJECT / "img/samples", "--output_dir", "/no/a.JPG"], "is named like a photo; it must be a folder"),
    (["--target_path", "/x"], "--target_path needs --input_path"),
    (["--input_path", PROJECT / "img/samples/rocket.jpg", "--target_path", PROJECT / "img"], "rocket.jpg is a file; with"),
    (["--input_path", PROJECT / "img", "--target_path", PROJECT / "img/samples/rocket.jpg"], "both must be folders"),
    (["--input_path", PROJECT / "img", "--target_path", "/no/such"], "--target_path /no/such is not there (current folder: "),
    (["--benchmark", "LOLv1", "--input_path", "/x"], "brings its own photos"),
    (["--benchmark", "LOLv1", "--compare"], "--compare has no part in scoring"),
    (["--benchmark", "LOLv9"], "unknown benchmark LOLv9"),
    (["--benchmark", "all", "LOLv9"], "unknown benchmark LOLv9"),
    (["--benchmark", "all", "--output_dir", PROJECT / "README.md"], "README.md is a file; expected a folder"),
    (["--input_path", PROJECT / "img", "--target_path", PROJECT / "img/../img"], "are the same folder"),
    (["--input_path", ""], "an empty text; expected a path"),
])
def test_wrong_usage_is_one_line_and_status_2(run, options, message):
    status, _, complaints = run(*options)
    assert status == 2 and message in complaints
    assert complaints.startswith("error: ") and complaints.count("\n") == 1


def test_memory_check(run):
    status, said, _ = run("--check_gpu_mem")
    assert status == 0
    assert "parameters" in said and "per megapixel:" in said and "24 megapixels" in said and "computed at" not in said
    status, said, _ = run("--check_gpu_mem", "--max_working_megapixels", "0.02")
    assert status == 0 and "larger photos are computed at 0.02 megapixels" in said
    assert "200x200 photo" in said and "283x283 photo" in said


def test_scoring_is_handed_to_the_evaluation(run, folder, tmp_path, monkeypatch, model):
    calls = []

    def evaluate(sets, enhance_pixels, output_dir, device, **options):
        pixels = np.zeros((8, 8, 3), np.uint8)
        np.testing.assert_array_equal(enhance_pixels(pixels), enhance(model, pixels, T=3, seed=5))
        calls.append(([(s.name, s.low, s.high) for s in sets], output_dir, device.type, options["required"]))
        assert options["settings"]["T"] == 3 and options["settings"]["seed"] == 5
        return 1

    (folder / "high").mkdir()
    monkeypatch.setattr("engine.scoring.evaluation.run", evaluate)
    common = ("--output_dir", tmp_path, "--hvr_t", 3, "--seed", 5)
    assert run("--input_path", folder, "--target_path", folder / "high", *common)[0] == 1
    assert run("--benchmark", "DICM", "LOLv1", *common)[0] == run("--benchmark", "all", *common)[0] == 1
    assert calls[0] == ([("my photos", folder, folder / "high")], tmp_path, "cpu", True)
    assert [s[0] for s in calls[1][0]] == ["DICM", "LOLv1"] and calls[1][3]
    assert len(calls[2][0]) == len(Config().eval_dataset) and not calls[2][3]  # of all sets, those present are scored


def test_scores_of_a_folder_of_the_same_name_stay(run, tmp_path, make_photo):
    for name in ("one/low", "one/high", "two/low", "two/high"):
        write_photo(tmp_path / name / "a.png", Photo(make_photo(24, 24)))

    def score(name):
        return run("--input_path", tmp_path / name / "low", "--target_path", tmp_path / name / "high", "--output_dir",
                   tmp_path / "scores")

    assert score("one")[0] == score("one")[0] == 0
    before = (tmp_path / "scores/low/scores.csv").read_bytes()
    status, _, complaints = score("two")
    assert status == 2 and f"scores/low holds the scores of {tmp_path / 'one/low'}, a folder of the same name" in complaints
    assert (tmp_path / "scores/low/scores.csv").read_bytes() == before


def test_export_gets_the_numbers_of_steps(run, tmp_path, monkeypatch):
    calls = []
    export = types.SimpleNamespace(export_onnx=lambda model, path, **steps: calls.append((path, steps)))
    monkeypatch.setitem(sys.modules, "engine.enhancing.export", export)
    status, said, _ = run("--export_onnx", tmp_path / "net.onnx", "--hvr_c", "2", "--hvr_n_sup_factor", "0.5",
                          "--average")
    assert status == 0 and "net.onnx" in said
    assert calls == [(tmp_path / "net.onnx", {"T": 1, "C": 2, "N": 1, "average": True})]


def test_the_env_file_is_read(run, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("engine.environment.PROJECT_ROOT", tmp_path)
    monkeypatch.setenv("TORCH_HOME", "")  # so that it is put back afterwards
    monkeypatch.delenv("TORCH_HOME")
    (tmp_path / ".env").write_text("TORCH_HOME=/weights/of/metrics\n")
    assert run("--input_path", "/no/such/place")[0] == 2 and os.environ["TORCH_HOME"] == "/weights/of/metrics"
    (tmp_path / ".env").write_text("no setting\n")
    status, _, complaints = run("--input_path", folder)
    assert status == 2 and complaints.startswith("error: ") and "line 1: 'no setting' is no setting" in complaints


def test_interruption_gives_130(run, folder, tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("engine.enhancing.enhancement.enhance", stop)
    status, said, _ = run("--input_path", folder, "--output_dir", tmp_path / "out")
    assert status == 130 and "the same command again goes on" in said


# --- the whole program ---

def start(weights, *options, **settings):
    command = [sys.executable, str(PROJECT / "infer_image.py"), *weights, "--device", "cpu", *map(str, options)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8", **settings)


def test_program_from_another_folder_imports_only_what_it_needs(weights, folder, tmp_path):
    """Also under the C locale, where file names in other scripts are bytes to Python's default."""
    env = {**os.environ, "LC_ALL": "C", "PYTHONPROFILEIMPORTTIME": "1"}
    process = start(weights, "--input_path", folder.name, "--output_dir", "out put", cwd=tmp_path, env=env)
    said, complaints = process.communicate(timeout=300)
    assert process.returncode == 0, complaints
    assert said.startswith("5 written") and (tmp_path / "out put/ночь/深い.TIF").is_file()
    imported = {line.rsplit("|", 1)[1].strip().split(".")[0] for line in complaints.splitlines() if "|" in line}
    assert {"torch", "PIL", "numpy"} <= imported
    assert not imported & {"pyiqa", "wandb", "matplotlib", "pycocotools", "torchvision", "accelerate", "onnx", "skimage"}


def test_help_is_quick_and_needs_no_torch():
    seconds = []
    for _ in range(3):  # the quickest counts: others may use this machine
        begin = time.perf_counter()
        done = subprocess.run([sys.executable, "-X", "importtime", str(PROJECT / "infer_image.py"), "--help"], text=True,
                              capture_output=True, timeout=60)
        seconds.append(time.perf_counter() - begin)
    assert done.returncode == 0 and min(seconds) < 1
    assert "torch" not in done.stderr and "numpy" not in done.stderr
    for option in ("--config_path", "--weights_path", "--input_path", "--output_dir", "--device", "--check_gpu_mem",
                   "--hvr_t", "--hvr_c", "--hvr_n_supervision", "--hvr_n_sup_factor", "--z_distribution", "--border",
                   "--average", "--detail", "--max_working_megapixels", "--brightness", "--saturation"):
        assert option in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_ctrl_c_keeps_what_is_written(weights, tmp_path, make_photo):
    source, out = tmp_path / "in", tmp_path / "out"
    for i in range(40):
        write_photo(source / f"{i:02}.png", Photo(make_photo(300, 300, i)))
    process = start(weights, "--input_path", source, "--output_dir", out)
    deadline = time.monotonic() + 120
    while not list(out.glob("*.png")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said, complaints = process.communicate(timeout=120)
    assert process.returncode == 130 and "Traceback" not in complaints, complaints
    assert "the same command again goes on" in said
    written = sorted(p.name for p in out.iterdir() if p.name != ".hvr_job.json")
    assert 0 < len(written) < 40 and all(name.endswith(".png") for name in written)
    for name in written:
        assert read_photo(out / name).pixels.shape == (300, 300, 3)


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize(("number", "scored"), [(signal.SIGTERM, False), (signal.SIGHUP, True)])
def test_a_signal_within_one_photo_is_heard(weights, tmp_path, make_photo, number, scored):
    """The photo would take many minutes (100 supervision steps of 7 megapixels); nothing half-written is left."""
    source, out = tmp_path / "in", tmp_path / "out"
    for folder in (source, tmp_path / "bright"):
        write_photo(folder / "large.png", Photo(np.tile(make_photo(200, 320), (12, 9, 1))))
    process = start(weights, "--input_path", source, "--output_dir", out, "--hvr_n_supervision", "100", "--hvr_t", "20",
                    *(["--target_path", tmp_path / "bright"] if scored else []))
    heard = ""
    while "0/1" not in heard:  # the progress bar
        heard += (more := process.stderr.read(1))
        assert more, heard
    time.sleep(3)  # decoded by now, or nearly
    begin = time.monotonic()
    process.send_signal(number)
    _, complaints = process.communicate(timeout=120)
    assert process.returncode == 130 and time.monotonic() - begin < 60
    assert "Traceback" not in complaints
    assert not [path for path in out.rglob("*") if path.suffix in (".png", ".tmp")]


def test_output_that_nobody_reads(weights, folder, tmp_path):
    """A pipe that has closed and no standard error: the photos decide on the exit status."""
    command = [sys.executable, str(PROJECT / "infer_image.py"), *weights, "--device", "cpu", "--input_path", str(folder),
               "--output_dir", str(tmp_path / "out")]
    done = subprocess.run(["bash", "-c", '"$@" 2>&- | true; exit "${PIPESTATUS[0]}"', "bash", *command], capture_output=True)
    assert done.returncode == 0 and (tmp_path / "out/plain.jpg").is_file() and not done.stderr


@pytest.mark.parametrize("script", ["infer_image.py", "train.py"])
def test_without_docstrings(script):
    """python -OO takes them away."""
    done = subprocess.run([sys.executable, "-OO", str(PROJECT / script), "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "--config_path" in done.stdout, done.stderr
