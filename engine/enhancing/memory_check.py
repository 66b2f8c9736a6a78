"""What a dummy photo costs: memory and time, for `infer_image.py --check_gpu_mem`."""
from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from models import HVR

MIB = 2**20
SIDES = {"cuda": (1024, 2048)}  # of the dummy photos, in pixels; elsewhere:
SMALL_SIDES = (256, 512)
MOST_MEGAPIXELS = 4  # working sizes up to it are measured on photos of two and four times as many
SAMPLING_SECONDS = 0.002
FORECAST_MEGAPIXELS = (12, 24)


@dataclass
class Peak:
    """Bytes held at the start, and at most until the end."""

    before: int
    highest: int


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Peak]:
    """Measure the block: memory that PyTorch allocated on a CUDA GPU, resident memory of this process elsewhere."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        peak = Peak(torch.cuda.memory_allocated(device), 0)
        yield peak
        torch.cuda.synchronize(device)
        peak.highest = torch.cuda.max_memory_allocated(device)
        return
    peak, done = Peak(resident_memory(), 0), threading.Event()

    def watch() -> None:
        while not done.wait(SAMPLING_SECONDS):
            peak.highest = max(peak.highest, resident_memory())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        peak.highest = max(peak.highest, resident_memory())
        done.set()
        watcher.join()


def resident_memory() -> int:
    """Bytes of this process in main memory."""
    import psutil

    return psutil.Process(os.getpid()).memory_info().rss


def memory_report(model: HVR, enhance_pixels: Callable[[np.ndarray], np.ndarray], working_megapixels: float = 0.0) -> str:
    """Enhance two noise pictures; the model's size, peaks, and what a megapixel and large photos take at that rate.

    working_megapixels: what `enhance_pixels` shows the network of a larger photo; 0: the whole.
    """
    device = next(model.parameters()).device
    parameters = sum(p.numel() for p in model.parameters())
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    where = f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else f"{device} (resident memory)"
    lines = [f"device: {where}", f"model: {parameters:,} parameters, {size / MIB:.2f} MiB"]
    extra: list[tuple[float, float]] = []  # (megapixels, MiB beyond what was held before)
    seconds = 0.0
    if working_megapixels:
        lines.append(f"larger photos are computed at {working_megapixels:g} megapixels (--max_working_megapixels)")
    for side in dummy_sides(device, working_megapixels):
        noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
        enhance_pixels(noise[:64, :64])  # what is set up once is not this photo's
        with peak_memory(device) as peak:
            start = time.perf_counter()
            enhance_pixels(noise)
            seconds = time.perf_counter() - start
        extra.append((side * side / 1e6, (peak.highest - peak.before) / MIB))
        lines.append(f"{side}x{side} photo ({extra[-1][0]:.2f} megapixels): peak {peak.highest / MIB:,.0f} MiB, of which "
                     f"{extra[-1][1]:,.0f} MiB for the photo; {seconds:.2f} s")
    (small, low), (large, high) = extra
    slope = max(high - low, 0) / (large - small)
    most = working_megapixels if working_megapixels > MOST_MEGAPIXELS else math.inf
    forecast = ", ".join(f"{m} megapixels {(high + slope * (min(m, most) - large)) / 1024:.1f} GiB"
                         for m in FORECAST_MEGAPIXELS)
    lines.append(f"per megapixel: {slope:,.0f} MiB, {seconds / large:.2f} s; at that rate {forecast}")
    return "\n".join(lines)


def dummy_sides(device: torch.device, working_megapixels: float) -> tuple[int, ...]:
    """Sides of two square photos that tell what larger ones take: both computed at the working size, where there is one."""
    if 0 < working_megapixels <= MOST_MEGAPIXELS:
        return tuple(math.ceil(math.sqrt(times * working_megapixels * 1e6)) for times in (2, 4))
    return SIDES.get(device.type, SMALL_SIDES)
