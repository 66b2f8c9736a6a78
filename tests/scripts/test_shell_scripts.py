"""infer_image.sh, tests/run.sh and .ci/run: what they hand over, from anywhere, and the exit status they give back."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from data.files.images import Photo, read_photo, write_photo

PROJECT = Path(__file__).resolve().parents[2]
SCRIPTS = ("infer_image.sh", "setup_env.sh", "tests/run.sh", ".ci/run")
PRINT_ARGUMENTS = 'printf "%s\\n" "$@"'
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


@pytest.fixture
def run(tmp_path):
    """`run(script, *arguments, python=BODY)`: a script of a copy of the project, with a stand-in for python."""
    copy, tools, elsewhere = tmp_path / "the copy", tmp_path / "bin", tmp_path / "elsewhere"
    for folder in (tools, elsewhere):
        folder.mkdir()
    for script in SCRIPTS:
        (copy / script).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / script, copy / script)

    def runner(script: str, *arguments: str, python: str = PRINT_ARGUMENTS) -> subprocess.CompletedProcess[str]:
        (tools / "python").write_text(f"#!/usr/bin/env bash\n{python}\n")
        (tools / "python").chmod(0o755)
        env = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "HVR_SKIP_SETUP": "1"}
        return subprocess.run(["bash", str(copy / script), *arguments], capture_output=True, text=True, timeout=60,
                              cwd=elsewhere, stdin=subprocess.DEVNULL, env=env)

    runner.copy, runner.elsewhere = copy, elsewhere
    return runner


def options(result: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """What infer_image.py was given, by name."""
    script, *rest = result.stdout.splitlines()
    assert script.endswith("/infer_image.py")
    return dict(zip(rest[::2], rest[1::2], strict=True))


def test_samples_with_the_shipped_weights_by_default(run):
    given = options(run("infer_image.sh"))
    assert given == {
        "--config_path": f"{run.copy}/checkpoint/zeros/config.json",
        "--weights_path": f"{run.copy}/checkpoint/zeros/HVR.safetensors",
        "--input_path": f"{run.copy}/img/samples", "--output_dir": f"{run.copy}/results/samples", "--device": "auto",
    }


def test_input_output_and_options(run):
    given = options(run("infer_image.sh", "my photos", "out dir", "--strength", "0.5"))
    assert (given["--input_path"], given["--output_dir"], given["--strength"]) == ("my photos", "out dir", "0.5")


def test_results_of_a_folder_and_of_a_photo_go_below_results(run):
    (run.elsewhere / "night walk").mkdir()
    assert options(run("infer_image.sh", "night walk/"))["--output_dir"] == f"{run.copy}/results/night walk"
    assert options(run("infer_image.sh", "photo.jpg"))["--output_dir"] == f"{run.copy}/results"


def test_options_alone_keep_the_samples(run):
    given = options(run("infer_image.sh", "--seed", "3"))
    assert given["--input_path"] == f"{run.copy}/img/samples" and given["--seed"] == "3"


def test_a_third_place_is_refused(run):
    result = run("infer_image.sh", "a.jpg", "b.jpg", "c d.jpg", "--compare")
    assert (result.returncode, result.stdout) == (2, "") and result.stderr.count("\n") == 1
    assert "'c d.jpg': the photo or folder and the result folder come first, then the options" in result.stderr


def test_benchmarks_bring_their_own_photos(run):
    given = options(run("infer_image.sh", "--benchmark", "LOLv1"))
    assert "--input_path" not in given and given["--benchmark"] == "LOLv1"
    assert options(run("infer_image.sh", "mine", "--benchmark", "LOLv1"))["--input_path"] == "mine"  # refused by infer_image.py


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_tells_of_both(run, option):
    result = run("infer_image.sh", option)
    assert result.returncode == 0
    assert "bash infer_image.sh INPUT [OUTPUT_DIR]" in result.stdout and option in result.stdout.splitlines()


def test_exit_status_of_infer_image_is_handed_back(run):
    assert run("infer_image.sh", python="exit 1").returncode == 1


def test_a_failed_set_up_starts_nothing(run):
    (run.copy / "setup_env.sh").write_text("echo no python here >&2; exit 2\n")
    for script in SCRIPTS:
        result = run(script)
        assert (result.returncode, result.stdout) == (2, "") and "no python here" in result.stderr


def test_arguments_of_the_test_runner_go_to_pytest(run):
    result = run("tests/run.sh", "tests/models", "-k", "two words", python=f"pwd; {PRINT_ARGUMENTS}")
    folder, *arguments = result.stdout.splitlines()
    assert folder == str(run.copy) and arguments[:2] == ["-m", "pytest"]
    assert arguments[-3:] == ["tests/models", "-k", "two words"]  # last, so that they win over the script's own


@pytest.mark.parametrize("failing, status", [("", 0), ("ruff", 1), ("mypy", 1), ("pytest", 1)])
def test_continuous_integration_fails_with_any_check_and_runs_them_all(run, failing, status):
    result = run(".ci/run", python=f'echo "ran $2"; [[ "$2" != "{failing}" ]]')
    assert [line[4:] for line in result.stdout.splitlines() if line.startswith("ran ")] == ["ruff", "mypy", "pytest"]
    assert result.returncode == status


def test_shellcheck_finds_nothing():
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed (requirements-dev.txt brings it)")
    result = subprocess.run([shellcheck, *SCRIPTS], cwd=PROJECT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_enhances_a_folder_for_real(tmp_path, make_photo):
    """infer_image.sh with the python at hand, the shipped weights and two small photos."""
    for name in ("a b.png", "sub/c.jpg"):
        write_photo(tmp_path / "dark ones" / name, Photo(make_photo(24, 40) // 6))
    env = {**os.environ, "HVR_SKIP_SETUP": "1", "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    result = subprocess.run(["bash", str(PROJECT / "infer_image.sh"), "dark ones", "bright ones", "--device", "cpu"],
                            cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)
    assert result.returncode == 0, result.stderr
    for name in ("a b.png", "sub/c.jpg"):
        dark, bright = (read_photo(tmp_path / folder / name).pixels for folder in ("dark ones", "bright ones"))
        assert bright.shape == dark.shape and bright.mean() > dark.mean()
