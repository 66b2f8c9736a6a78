"""Seconds and memory of a camera's photo, JPEG to JPEG: at the shipped working size, and whole.

    python -m benchmarks.sizes [--megapixels 12 24] [--rounds 3] [--whole] [--device cpu]

Each round is a run of the real script on one photo, from start to end, at the default working size and, with --whole, of the
whole photo, A B A B. Then, in this process and in the same way for each size, what part of the time goes into the network:
the rest is reading, the copy that the network sees, detail, size and writing. Memory is the largest resident set of a run.
"""
from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.files import scene
from benchmarks.recursion import SHIPPED
from data.files.images import Photo, read_photo, write_photo
from engine.enhancing.enhancer import Enhancer, load_enhancer
from engine.enhancing.sizes import shrunk, working_size

SCRIPT = Path(__file__).resolve().parent.parent / "infer_image.py"


def one_run(photo: Path, device: str, options: Sequence[str]) -> tuple[float, float]:
    """Seconds and GiB of one run of the script."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, str(SCRIPT), "--input_path", str(photo), "--output_dir", out, "--device", device, *options]
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {process.returncode}")
    return seconds, usage.ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)


def network_share(enhancer: Enhancer, photo: Path, folder: Path) -> float:
    """Time of the network on its copy of the photo over that of the whole way from file to file, median of two."""
    pixels = read_photo(photo).pixels
    size = working_size(*pixels.shape[:2], enhancer.settings.max_working_megapixels)
    small = shrunk(pixels, size, enhancer.device)[0].permute(1, 2, 0).cpu().numpy()

    def alone() -> None:
        enhancer(small)

    def whole_way() -> None:
        write_photo(folder / "out.jpg", Photo(enhancer(read_photo(photo).pixels)))

    def seconds(function: Callable[[], None]) -> float:
        begin = time.perf_counter()
        function()
        return time.perf_counter() - begin

    alone()
    times = [(seconds(alone), seconds(whole_way)) for _ in range(2)]
    return median(network / everything for network, everything in times)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sizes", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--megapixels", type=float, nargs="+", default=[12.0, 24.0], metavar="M", help="of the photos")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each kind (default: %(default)s)")
    parser.add_argument("--whole", action="store_true", help="the whole photo through the network, too: minutes on a CPU")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    options = parser.parse_args(arguments)
    enhancer = load_enhancer(SHIPPED / "config.json", SHIPPED / "HVR.safetensors", options.device)
    kinds: dict[str, list[str]] = {"default": []}
    if options.whole:
        kinds["whole"] = ["--max_working_megapixels", "0"]
    print(f"medians of {options.rounds}; the default is {enhancer.settings.max_working_megapixels:g} megapixels\n")
    print("| photo | " + " | ".join(f"{kind}: s | GiB" for kind in kinds) + " | whole / default | network's share |")
    print("|---" * (3 + 2 * len(kinds)) + "|")
    with tempfile.TemporaryDirectory() as folder:
        for megapixels in options.megapixels:
            photo = Path(folder) / f"{megapixels:g}.jpg"
            write_photo(photo, Photo(np.round(scene(megapixels)).astype(np.uint8)))
            runs: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
            for _ in range(options.rounds):
                for kind, more in kinds.items():
                    runs[kind].append(one_run(photo, options.device, more))
            medians = {kind: [median(values) for values in zip(*measured, strict=True)] for kind, measured in runs.items()}
            ratio = f"{medians['whole'][0] / medians['default'][0]:.1f}" if options.whole else ""
            cells = " | ".join(f"{seconds:.1f} | {memory:.2f}" for seconds, memory in medians.values())
            print(f"| {megapixels:g} megapixels | {cells} | {ratio} | {network_share(enhancer, photo, Path(folder)):.0%} |",
                  flush=True)


if __name__ == "__main__":
    main()
