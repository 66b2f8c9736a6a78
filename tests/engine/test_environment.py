"""The .env file: read when there is one, never stronger than the environment."""
import os
import subprocess
import sys

import pytest

from engine.environment import EnvironmentFileError, load_env_file, parse_env
from exp_config import PROJECT_ROOT


def test_lines():
    text = """
# a comment
WANDB_MODE=offline
export TORCH_HOME = /data/torch   # where the weights are
QUOTED="a # b"  # comment
SINGLE='x y'
EMPTY=
HASH=a#b
"""
    assert parse_env(text) == {"WANDB_MODE": "offline", "TORCH_HOME": "/data/torch", "QUOTED": "a # b", "SINGLE": "x y",
                               "EMPTY": "", "HASH": "a#b"}


def test_values_are_taken_as_they_stand():
    assert parse_env("A=${HOME}/x\nB='${A}'\nC=a=b\nD=\"two\nlines\"\n") == {
        "A": "${HOME}/x", "B": "${A}", "C": "a=b", "D": "two\nlines"}


@pytest.mark.parametrize("line", ["no setting", "1A=2", "=x", "NAME", "A-B=1", 'C="unfinished', "export", "D=x\0y"])
def test_no_setting(line):
    with pytest.raises(EnvironmentFileError, match="line 2"):
        parse_env(f"A=1\n{line}\n")


def test_environment_wins(tmp_path):
    (tmp_path / ".env").write_text("A=file\nB=file\n")
    environ = {"A": "own"}
    assert load_env_file(tmp_path / ".env", environ) == {"B": "file"}
    assert environ == {"A": "own", "B": "file"}


def test_absent_or_unreadable(tmp_path):
    assert load_env_file(tmp_path / ".env", {}) == {}
    (tmp_path / ".env").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EnvironmentFileError, match="UTF-8"):
        load_env_file(tmp_path / ".env", {})


def test_a_variable_that_tqdm_cannot_read_is_told(tmp_path):
    (tmp_path / "a.png").touch()
    done = subprocess.run([sys.executable, PROJECT_ROOT / "infer_image.py", "--input_path", "a.png"], cwd=tmp_path,
                          capture_output=True, text=True, env={**os.environ, "TQDM_MININTERVAL": "abc"})
    assert done.returncode == 2 and done.stderr.startswith("error: TQDM_MININTERVAL=abc: ") and done.stderr.count("\n") == 1
