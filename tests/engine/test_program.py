"""How the scripts end where nothing can be done."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


def test_a_folder_that_is_gone(tmp_path):
    """Told at once: torch's own libraries would fail there with other words."""
    folder = tmp_path / "gone"
    folder.mkdir()
    done = subprocess.run(["bash", "-c", 'rmdir "$1"; exec "$2" "$3" --input_path /x', "bash", folder, sys.executable,
                           PROJECT / "infer_image.py"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: the current folder has been deleted")


@pytest.mark.parametrize(("script", "options"), [("infer_image.py", ["--input_path", "a.png"]), ("train.py", [])])
def test_a_package_that_does_not_load(script, options, tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('libtorch_cpu.so: cannot open shared object file')")
    (tmp_path / "a.png").write_bytes(b"x")
    done = subprocess.run([sys.executable, PROJECT / script, *options], cwd=tmp_path, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert done.returncode == 2 and done.stderr.startswith("error: a package does not load: libtorch_cpu.so: cannot open")
    assert done.stderr.count("\n") == 1
