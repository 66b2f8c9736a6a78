"""Programs whose output nobody reads."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PROGRAM = f"""
import logging, os, sys
sys.path.insert(0, {str(PROJECT)!r})
from exp_config.streams import open_standard_streams
open_standard_streams()
logging.basicConfig(format="%(message)s")
file = open(sys.argv[1], "w")
assert file.fileno() > 2
for number in range(2000):
    print("out", number)
    logging.warning("err %d", number)
print(os.fsdecode(b"caf\\xe9"))
sys.stdout.flush()
file.write("done")
sys.exit(3)
"""


@pytest.mark.parametrize("streams", ["| true", "2>&-", ">&-", ">&- 2>&-", "<&- >&- 2>&-", "> /dev/full", "> /dev/full 2>&1",
                                     "> /dev/null 2> >(true)"])
def test_closed_and_full(tmp_path, streams):
    if "/dev/full" in streams and not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    script, file = tmp_path / "program.py", tmp_path / "file"
    script.write_text(PROGRAM)
    done = subprocess.run(["bash", "-c", f'"$0" "$1" "$2" {streams}; exit "${{PIPESTATUS[0]}}"', sys.executable, script, file],
                          capture_output=True, text=True)
    assert done.returncode == 3 and file.read_text() == "done"
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


def test_open_ones_are_as_before(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run([sys.executable, tmp_path / "program.py", tmp_path / "file"], capture_output=True, text=True)
    assert done.stdout.splitlines() == [*(f"out {number}" for number in range(2000)), "caf\\udce9"]
    assert done.stderr.splitlines() == [f"err {number}" for number in range(2000)]
