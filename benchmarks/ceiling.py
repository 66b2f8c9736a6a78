"""The most multiply-adds per second that this machine does: the better of a large 3x3 convolution and a large matrix product.

    python -m benchmarks.ceiling [--device cpu|cuda]

What a program reaches divided by this is its efficiency. Where other programs use the same cores, both are slowed down
together, so the ceiling is taken in the same run, between the measurements.
"""
from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import torch
from torch.nn import functional as F

CONV = (96, 256, 256)  # channels in and out, height, width
MATRIX = 2048          # side of a square matrix
# Multiply-adds per pixel of one L and one H step with the published sizes (see the formulas in models/).
L_MACS, H_MACS = 99_072, 48_000


def seconds(work: Callable[[], object], device: str, repeats: int) -> list[float]:
    """Wall-clock time of each of `repeats` runs."""
    times = []
    for _ in range(repeats):
        synchronise(device)
        start = time.perf_counter()
        work()
        synchronise(device)
        times.append(time.perf_counter() - start)
    return times


def synchronise(device: str) -> None:
    """Wait for a GPU to finish; nothing on a CPU."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


@torch.no_grad()
def ceiling(device: str = "cpu", dtype: torch.dtype = torch.float32, repeats: int = 5) -> dict[str, float]:
    """Best multiply-adds per second, in units of 10^9, of a convolution, of a matrix product, and the better of them."""
    C, H, W = CONV
    x = torch.randn(1, C, H, W, device=device).to(dtype, memory_format=torch.channels_last)
    w = torch.randn(C, C, 3, 3, device=device).to(dtype, memory_format=torch.channels_last)
    a = torch.randn(MATRIX, MATRIX, device=device).to(dtype)
    best = {}
    for name, work, macs in (("convolution", lambda: F.conv2d(x, w, padding=1), C * C * 9 * H * W),
                             ("matrix product", lambda: a @ a, MATRIX**3)):
        seconds(work, device, 1)
        best[name] = macs / min(seconds(work, device, repeats)) / 1e9
    return {**best, "best": max(best.values())}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ceiling", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps (default: %(default)s)")
    device = parser.parse_args(arguments).device
    for dtype in (torch.float32, torch.bfloat16):
        found = ceiling(device, dtype)
        print(f"{device} {str(dtype)[6:]}: " + ", ".join(f"{name} {value:.1f} GMAC/s" for name, value in found.items()))


if __name__ == "__main__":
    main()
