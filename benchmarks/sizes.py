"""Seconds and memory of a camera's photo, JPEG to JPEG: at the shipped working size and at others.

    python -m benchmarks.sizes [--megapixels 12 24] [--rounds 3] [--working 0.25 1 2 0] [--folder 5] [--device cpu]

Each round is a run of the real script on one photo, from start to end, at the default working size and at each of --working
(0: the whole photo), A B C A B C. A run on a folder of --folder such photos tells what each further one takes, for which
nothing has to start. Then, in this process, what part of the time from file to file goes into the network: the rest is
reading, the copy that the network sees, detail, size and writing. Memory is the largest resident set of a run.
"""
from __future__ import annotations

import argparse
import os
import shutil
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


def one_run(photos: Path, device: str, options: Sequence[str]) -> tuple[float, float]:
    """Seconds and GiB of one run of the script on a photo or a folder."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, str(SCRIPT), "--input_path", str(photos), "--output_dir", out, "--device", device, *options]
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {process.returncode}")
    return seconds, usage.ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)


def network_share(enhancer: Enhancer, photo: Path, folder: Path) -> float:
    """Time of the network on its copy of the photo over that of the whole way from file to file, median of five."""
    pixels = read_photo(photo).pixels
    size = working_size(pixels.shape[0], pixels.shape[1], enhancer.settings.max_working_megapixels)
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
    times = [(seconds(alone), seconds(whole_way)) for _ in range(5)]
    return median(network / everything for network, everything in times)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sizes", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--megapixels", type=float, nargs="+", default=[12.0, 24.0], metavar="M", help="of the photos")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each kind (default: %(default)s)")
    parser.add_argument("--folder", type=int, default=5, help="photos of the folder, 2 or more (default: %(default)s)")
    parser.add_argument("--working", type=float, nargs="+", default=[], metavar="M",
                        help="further working sizes in megapixels; 0, the whole photo, takes minutes on a CPU")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    options = parser.parse_args(arguments)
    enhancer = load_enhancer(SHIPPED / "config.json", SHIPPED / "HVR.safetensors", options.device)
    default = f"{enhancer.settings.max_working_megapixels:g} (default)"
    kinds: dict[str, list[str]] = {default: []}
    kinds |= {f"{size:g}": ["--max_working_megapixels", f"{size:g}"] for size in options.working}
    print(f"medians of {options.rounds}\n")
    print("| photo | megapixels that the network sees | s | GiB | times the default |")
    print("|---" * 5 + "|")
    further = {}
    with tempfile.TemporaryDirectory() as folder:
        for megapixels in options.megapixels:
            photo = Path(folder) / f"{megapixels:g}.jpg"
            write_photo(photo, Photo(np.round(scene(megapixels)).astype(np.uint8)))
            runs: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
            for _ in range(options.rounds):
                for kind, more in kinds.items():
                    runs[kind].append(one_run(photo, options.device, more))
            medians = {kind: [median(values) for values in zip(*measured, strict=True)] for kind, measured in runs.items()}
            for kind, (seconds, memory) in medians.items():
                ratio = seconds / medians[default][0]
                print(f"| {megapixels:g} megapixels | {kind} | {seconds:.1f} | {memory:.2f} | {ratio:.2f} |", flush=True)
            many = Path(folder) / f"{megapixels:g}"
            many.mkdir()
            for number in range(options.folder):
                shutil.copy(photo, many / f"{number}.jpg")
            each = (one_run(many, options.device, [])[0] - medians[default][0]) / (options.folder - 1)
            further[megapixels] = each, network_share(enhancer, photo, Path(folder))
    print("\n| photo | each further photo of a folder: s | network's share |\n|---|---|---|")
    for megapixels, (seconds, share) in further.items():
        print(f"| {megapixels:g} megapixels | {seconds:.1f} | {share:.0%} |")


if __name__ == "__main__":
    main()
