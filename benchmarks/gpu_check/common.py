"""What all parts share: the device, precisions, times and verdicts, and the table of what was found."""
from __future__ import annotations

import contextlib
import functools
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from exp_config import Config
from models import HVR
from models.weights import load_state

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
TYPES = {"fp32": None, "tf32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
ALLOWED = {"fp32": 1e-4, "tf32": 5e-3, "bf16": 3e-2, "fp16": 1e-2}  # ||picture - exact|| / ||exact||, or 3x the modules' own
SMOKE = "--smoke" in sys.argv
DEVICE = torch.device("cpu" if SMOKE else "cuda")
table: list[str] = []


def say(text: str, keep: bool = False) -> None:
    print(text, flush=True)
    if keep:
        table.append(text)


@contextlib.contextmanager
def precision(kind: str, kernels: bool = True, graphs: bool = True) -> Iterator[None]:
    """Compute in fp32, tf32, bf16 or fp16, by the kernels or by the plain modules."""
    os.environ |= {"HVR_TRITON": str(int(kernels)), "HVR_CUDA_GRAPHS": str(int(graphs))}
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = kind == "tf32"
    with torch.autocast(DEVICE.type, TYPES[kind], enabled=TYPES[kind] is not None):
        yield


def synchronise() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def seconds(run: Callable[[], object], repeats: int = 3) -> float:
    """Mean time of a run, the queue empty before and after."""
    synchronise()
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    synchronise()
    return (time.perf_counter() - start) / repeats


def in_turns(ways: dict[str, Callable[[], object]], rounds: int, repeats: int = 3) -> dict[str, float]:
    """Median seconds of each way, taken in turns A B C A B C; a way that fails is reported and left out."""
    times: dict[str, list[float]] = {}
    for name, run in ways.items():
        try:
            for _ in range(0 if SMOKE else 4):  # kernels compile, algorithms are chosen, graphs are captured
                run()
            times[name] = []
        except Exception as error:
            say(f"FAIL {name}: {type(error).__name__}: {str(error)[:300]}", keep=True)
            torch.cuda.empty_cache()
    for _ in range(rounds):
        for name in times:
            times[name].append(seconds(ways[name], repeats))
    return {name: statistics.median(values) for name, values in times.items()}


def golden_model(device: torch.device = DEVICE) -> HVR:
    model = HVR.from_config(Config())
    load_state(model, load_file(GOLDEN / "hvr_random_weights.safetensors"), "golden")
    return model.to(device).eval().requires_grad_(False)


def ceilings() -> dict[str, float]:
    """Bytes/s of a copy, multiply-adds/s of a matrix product in each type."""
    n, values = (256, 2**16) if SMOKE else (8192, 2**30)
    source, target = torch.randn(values, device=DEVICE), torch.zeros(values, device=DEVICE)
    found = {"bytes": 2 * 4 * values / seconds(functools.partial(target.copy_, source), 10)}
    del source, target
    for kind in ("fp32", "tf32", "bf16"):
        a, b = (torch.randn(n, n, device=DEVICE, dtype=TYPES[kind] or torch.float32) for _ in range(2))
        with precision(kind):
            a @ b
            found[kind] = n**3 / seconds(lambda a=a, b=b: a @ b, 5)
    say(f"ceilings: copy {found['bytes'] / 1e12:.2f} TB/s; matrix products "
        + ", ".join(f"{kind} {2 * found[kind] / 1e12:.0f} TFLOP/s" for kind in ("fp32", "tf32", "bf16")), keep=True)
    return found


def relative(found: Tensor, expected: Tensor) -> float:
    return ((found.double() - expected.double()).norm() / expected.double().norm()).item()


def verdict(name: str, error: float, allowed: float, extra: str = "") -> None:
    good = error <= allowed  # NaN is not
    say(f"{'ok  ' if good else 'FAIL'} {name}: {error:.2g}, allowed {allowed:.2g} {extra}", keep=not good)


def profile(run: Callable[[], object]) -> None:
    """Where the GPU's time goes."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as found:
        run()
    say(found.key_averages().table(sort_by="self_cuda_time_total", row_limit=22, max_name_column_width=60))
