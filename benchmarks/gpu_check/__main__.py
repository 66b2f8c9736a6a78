"""Whether the GPU kernels are right on this machine, and how fast: needs a CUDA GPU, torch, triton, numpy, safetensors.

    python -m benchmarks.gpu_check [--parts checks,times,kernels,training] [--compile] [--seed N] [--smoke]

checks    pictures of fresh random inputs in several sizes, by the kernels and by the plain modules, against float64;
          golden values; graph replay equals single launches, bit for bit
times     600x400 by the plain transcription (tests/models/reference.py), the plain modules and the kernels: A B C A B C,
          median, in fp32, tf32, bf16, with memory; 4000x3000 by the kernels; then the memory of 24 megapixels in bf16
kernels   the Swin block with other numbers of warps and stages, the convolutions, where an inference's time goes
training  a supervision step of 32 photos of 224x224 in bf16 by all of them, with --compile also compiled (a minute), and
          where the GPU's time goes in it; before that the losses of 20 steps of 4 photos in fp32
--smoke   tiny sizes on the CPU without the kernels: runs the script itself, its numbers mean nothing

Floors: bytes that must move over the bandwidth of a large copy, or multiply-adds over the rate of a large matrix product in
the same type, whichever takes longer. The table comes last; wherever something fails, the line says FAIL and the rest goes on.
"""
from __future__ import annotations

import argparse
import time
import traceback
from collections.abc import Callable

import torch

from benchmarks.gpu_check.checks import checks
from benchmarks.gpu_check.common import DEVICE, SMOKE, ceilings, say, table
from benchmarks.gpu_check.kernels import kernels
from benchmarks.gpu_check.times import times
from benchmarks.gpu_check.training import training


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_check", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="checks,times,kernels,training", help="which, separated by commas")
    parser.add_argument("--compile", action="store_true", help="time a compiled training step, too")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the random inputs; fresh by default")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes on the CPU")
    arguments = parser.parse_args()
    say(f"torch {torch.__version__}, seed {arguments.seed}, "
        + (torch.cuda.get_device_name() if DEVICE.type == "cuda" else "cpu, only to run the script"), keep=True)
    limits = ceilings()
    parts: dict[str, Callable[[], None]] = {"checks": lambda: checks(arguments.seed), "times": lambda: times(limits),
                                            "kernels": lambda: kernels(limits),
                                            "training": lambda: training(arguments.compile)}
    for name in arguments.parts.split(","):
        if SMOKE and name == "kernels":
            continue
        start = time.perf_counter()
        try:
            parts[name]()
        except Exception:
            say(f"FAIL {name}\n{traceback.format_exc()[-1500:]}", keep=True)
        say(f"-- {name}: {time.perf_counter() - start:.0f} s", keep=True)
    print("\n=== table ===\n" + "\n".join(table), flush=True)


if __name__ == "__main__":
    main()
