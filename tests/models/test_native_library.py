"""Compiled kernels: cached, and silently absent where they cannot be had."""
import os
import stat

import pytest
import torch

from exp_config import Config
from models import HVR, fast, native_library


@pytest.fixture(autouse=True)
def anew(monkeypatch, tmp_path):
    """An empty cache, and no library remembered from before or for after."""
    native_library.library.cache_clear()
    monkeypatch.setenv("HVR_CACHE", str(tmp_path / "cache"))
    yield
    native_library.library.cache_clear()


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
    assert native_library.library() is None
    assert torch.isfinite(sampled()).all()


def test_no_compiler(monkeypatch):
    monkeypatch.setattr(native_library, "compiler", lambda: None)
    assert native_library.library() is None
    assert torch.isfinite(sampled()).all()


@pytest.mark.parametrize("script, reason", [
    ('case "$1" in --version) echo 1;; *) echo no such flag >&2; exit 1;; esac', "no such flag"),  # too old a compiler
    ('case "$1" in --version) echo 1;; *) for last; do :; done; echo junk > "$last";; esac', "do not load"),
])
def test_compiler_that_fails(monkeypatch, tmp_path, caplog, script, reason):
    monkeypatch.setenv("CXX", fake_compiler(tmp_path, script))
    assert native_library.library() is None
    assert reason in caplog.text and "plain PyTorch" in caplog.text
    with torch.no_grad():
        assert fast.Recursion.of(HVR.from_config(Config()), torch.zeros(1, 3, 8, 8)) is None


def test_folder_that_cannot_be_written(monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HVR_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setenv("CXX", fake_compiler(tmp_path, "echo 1"))
    assert native_library.library() is None
    assert "cannot be built" in caplog.text


def test_compiled_once_then_found(monkeypatch, tmp_path):
    count = tmp_path / "count"
    script = f'case "$1" in --version) echo 1;; *) echo x >> {count}; for last; do :; done; echo junk > "$last";; esac'
    monkeypatch.setenv("CXX", fake_compiler(tmp_path, script))
    first, second = native_library.build(), native_library.build()
    assert first == second and first.is_file() and count.read_text() == "x\n"
    assert os.listdir(first.parent) == [first.name]
    assert native_library.build(flags=("-O1", *native_library.FLAGS[1:])) != first
