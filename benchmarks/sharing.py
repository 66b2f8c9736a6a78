"""Two processes of one thread each against one, on a folder of photos.

    python -m benchmarks.sharing [--photos 40] [--size 600x400] [--rounds 2] [--processes 2] [--device cpu]

Each round runs the real script on the folder with one process and with several under torchrun, A B A B, into empty folders.
Both are timed from start to end, and less the time of the same launch with a single photo, which is what starting costs.
The photos are random pictures; neither they nor the weights change the time.
"""
from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.files.images import Photo, write_photo

SCRIPT = Path(__file__).resolve().parent.parent / "infer_image.py"


def make_photos(folder: Path, count: int, width: int, height: int) -> None:
    """Dark, and smooth enough to be files of a photo's size."""
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = rng.integers(0, 60, (height // 8 + 1, width // 8 + 1, 3))
        pixels = coarse.repeat(8, 0).repeat(8, 1)[:height, :width] + rng.integers(0, 4, (height, width, 3))
        write_photo(folder / f"{number:04}.jpg", Photo(pixels.astype(np.uint8)))


def run_seconds(source: Path, processes: int, device: str) -> float:
    """Of one launch on all photos of `source`, from start to end."""
    launcher = [] if processes == 1 else ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, *launcher, str(SCRIPT), "--input_path", str(source), "--output_dir", out, "--device", device]
        begin = time.perf_counter()
        done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
        seconds = time.perf_counter() - begin
        wanted = len(list(source.iterdir()))
        if done.returncode or not done.stdout.startswith(f"{wanted} written"):
            raise SystemExit(f"the launch failed with status {done.returncode}:\n{done.stdout}{done.stderr}")
    return seconds


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sharing", description="Two processes against one.")
    parser.add_argument("--photos", type=int, default=40, help="in the folder (default: %(default)s)")
    parser.add_argument("--size", default="600x400", help="width x height of each (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="A B, so often (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="of B (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="of infer_image.py (default: %(default)s)")
    options = parser.parse_args(arguments)
    width, height = map(int, options.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        many, one = Path(folder) / "many", Path(folder) / "one"
        make_photos(many, options.photos, width, height)
        make_photos(one, 1, width, height)
        start = {count: run_seconds(one, count, options.device) for count in (1, options.processes)}
        print(f"one photo: 1 process {start[1]:.1f} s, {options.processes} processes {start[options.processes]:.1f} s")
        ratios, without_start = [], []
        for _ in range(options.rounds):
            alone, shared = (run_seconds(many, count, options.device) for count in (1, options.processes))
            ratios.append(alone / shared)
            without_start.append((alone - start[1]) / (shared - start[options.processes]))
            print(f"{options.photos} photos of {options.size}: 1 process {alone:.1f} s, {options.processes} processes "
                  f"{shared:.1f} s, {ratios[-1]:.2f} times as fast; without the start {without_start[-1]:.2f}", flush=True)
    print(f"medians: {statistics.median(ratios):.2f}, without the start {statistics.median(without_start):.2f}")


if __name__ == "__main__":
    main()
