"""A training that is killed at any moment and resumed gives the numbers of an unbroken one."""
import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]


def test_twenty_kills(config_file, tmp_path):
    """20 SIGKILLs at random moments, many within a save: weights, optimizer, averages, logged losses bit for bit."""
    config = config_file(epochs=2, batch_size=4, save_every_steps=1, ema_decay=0.9, checkpoint_dir=str(tmp_path / "runs"))
    script = Path(__file__).with_name("killed_runs.py")
    done = subprocess.run([sys.executable, str(script), str(config), "20", "1"], capture_output=True, text=True, timeout=900,
                          env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT)}, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.startswith("20 kills"), done.stdout
