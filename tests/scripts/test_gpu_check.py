"""benchmarks/gpu_check runs from end to end where there is no GPU, at least: `--smoke`."""
from __future__ import annotations

import subprocess
import sys

from exp_config import PROJECT_ROOT


def test_smoke():
    found = subprocess.run([sys.executable, "-m", "benchmarks.gpu_check", "--smoke", "--parts", "checks,times,training"],
                           cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stderr
    assert "ok   golden default_40x32" in found.stdout
    assert "FAIL" not in found.stdout
    assert all(f"-- {part}: " in found.stdout for part in ("checks", "times", "training"))
