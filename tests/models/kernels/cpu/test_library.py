"""Compiled kernels: cached, and silently absent where they cannot be had."""
import os
import pwd
import stat
import tempfile

import pytest
import torch

from exp_config import Config
from models import HVR
from models.kernels import choice
from models.kernels.cpu import library


@pytest.fixture(autouse=True)
def anew(monkeypatch, tmp_path):
    """An empty cache, and no library remembered from before or for after."""
    library.library.cache_clear()
    monkeypatch.setenv("HVR_CACHE", str(tmp_path / "cache"))
    yield
    library.library.cache_clear()


def fake_compiler(folder, script: str) -> str:
    path = folder / "c++"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def sampled() -> torch.Tensor:
    torch.manual_seed(0)
    return HVR.from_config(Config()).eval().sample(torch.zeros(1, 3, 8, 8), T=1, C=1, N=1)[1]


def test_switched_off(monkeypatch):
    monkeypatch.setenv("HVR_NATIVE", "0")
    assert library.library() is None
    assert torch.isfinite(sampled()).all()


def test_no_compiler(monkeypatch):
    monkeypatch.setattr(library, "compiler", lambda: None)
    assert library.library() is None
    assert torch.isfinite(sampled()).all()


@pytest.mark.parametrize("script, reason", [
    ('case "$1" in --version) echo 1;; *) echo no such flag >&2; exit 1;; esac', "no such flag"),  # too old a compiler
    ('case "$1" in --version) echo 1;; *) for last; do :; done; echo junk > "$last";; esac', "do not load"),
])
def test_compiler_that_fails(monkeypatch, tmp_path, caplog, script, reason):
    monkeypatch.setenv("CXX", fake_compiler(tmp_path, script))
    assert library.library() is None
    assert reason in caplog.text and "plain PyTorch" in caplog.text
    with torch.no_grad():
        assert choice.fast_recursion(HVR.from_config(Config()), torch.zeros(1, 3, 8, 8)) is None


def test_folder_that_cannot_be_written(monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HVR_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setenv("CXX", fake_compiler(tmp_path, "echo 1"))
    assert library.library() is None
    assert "cannot be built" in caplog.text


def test_compiled_once_then_found(monkeypatch, tmp_path):
    count = tmp_path / "count"
    script = f'case "$1" in --version) echo 1;; *) echo x >> {count}; for last; do :; done; echo junk > "$last";; esac'
    monkeypatch.setenv("CXX", fake_compiler(tmp_path, script))
    first, second = (library.build(tmp_path / "cache") for _ in range(2))
    assert first == second and first.is_file() and count.read_text() == "x\n"
    assert os.listdir(first.parent) == [first.name]
    assert library.build(tmp_path / "cache", flags=("-O1", *library.FLAGS[1:])) != first


@pytest.fixture
def no_home(monkeypatch):
    """A user without passwd entry and HOME, as of system services and in some containers."""
    for name in ("HOME", "XDG_CACHE_HOME", "HVR_CACHE"):
        monkeypatch.delenv(name, raising=False)

    def nobody(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", nobody)


def test_no_home_folder(no_home, monkeypatch, tmp_path, caplog):
    """One warning, a compilation for this process alone, and nothing is left behind."""
    assert library.cache_folder() is None
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(library, "FLAGS", ("-O0", *library.FLAGS[1:]))   # compiles sooner
    lib = library.library()
    assert library.library() is lib and caplog.text.count("no home folder") == 1
    assert list(tmp_path.iterdir()) == []
    assert lib is None or lib.hvr_lanes() in (4, 8, 16)
    assert torch.isfinite(sampled()).all()


def test_no_home_folder_and_no_compiler(no_home, monkeypatch, caplog):
    monkeypatch.setattr(library, "compiler", lambda: None)
    assert library.library() is None and caplog.text == ""
