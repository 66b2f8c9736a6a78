"""The example changes of CONTRIBUTING.md fit the code as it is and do what they are said to do."""
from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
DIFFS = re.findall(r"```diff\n(.*?)```", (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8"), flags=re.DOTALL)
USE_THEM = """
import numpy as np
import torch
from exp_config import Config
from losses.total import TotalLoss
from metrics.suite import MetricSuite

config = Config.named("robust", loss_weight={"charbonnier": 1.0})
ones, zeros = torch.ones(1, 3, 16, 16), torch.zeros(1, 3, 16, 16)
total, parts = TotalLoss(config.loss_weight)(zeros, ones, zeros)
assert abs(float(total) - 1) < 1e-3, total
black, gray = np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 7, np.uint8)
assert MetricSuite(["mae"]).score(gray, black)["mae"] == 7
assert set(config.eval_dataset["Night"]) == {"low", "high"}
"""


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_examples_apply_and_work(tmp_path):
    for folder in ("exp_config", "losses", "metrics"):
        shutil.copytree(PROJECT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    assert len(DIFFS) == 3
    for diff in DIFFS:
        subprocess.run(["git", "apply", "-p1", "-"], input=diff, text=True, cwd=tmp_path, check=True)
        assert len(re.findall(r"^\+\+\+ ", diff, flags=re.MULTILINE)) <= 3, "at most three places"
    result = subprocess.run([sys.executable, "-c", USE_THEM], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
