"""Time and memory of enhancing photos, against what the machine can do and against a plain transcription of the formulas.

    python -m benchmarks.inference [--sizes 256x256 600x400 ...] [--batches 1 8] [--precisions fp32 bf16]
                                   [--devices cpu cuda] [--rounds 3] [--reference 600x400]

One table row per case: seconds, megapixels/s, GMAC/s, efficiency (GMAC/s over the best convolution or matrix product of
the same precision in the same run), time per megapixel relative to the first row of the same kind, peak memory (of the
process on a CPU; allocated on a GPU). Then, float32, the transcription (tests/models/reference.py) and this program in turn,
A B A B. Each case runs in a process of its own. Weights and photos are random: neither changes the time.
"""
from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import resource
import statistics
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from benchmarks.ceiling import H_MACS, L_MACS, ceiling, seconds
from engine.device import autocast_dtype
from exp_config import Config
from models import HVR

MACS = 8 * L_MACS + 4 * H_MACS  # of a default inference, per pixel
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
REFERENCE = Path(__file__).resolve().parent.parent / "tests" / "models" / "reference.py"


def reference_module() -> ModuleType:
    """The plain transcription that the tests keep."""
    spec = importlib.util.spec_from_file_location("reference", REFERENCE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def photos(size: str, batch: int, device: str) -> torch.Tensor:
    width, height = map(int, size.split("x"))
    return torch.rand(batch, 3, height, width, device=device) * 2 - 1


def peak_gib(device: str) -> float:
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)


def measure(size: str, batch: int, precision: str, device: str, rounds: int, connection: Connection) -> None:
    """One row: the best of `rounds` runs (one, untimed, goes before them where it is cheap)."""
    model, x = HVR.from_config(Config()).to(device).eval(), photos(size, batch, device)
    dtype = PRECISIONS[precision]
    context = nullcontext() if dtype == torch.float32 else torch.autocast(device, dtype)

    def run() -> None:
        with context:
            model.sample(x)

    pixels = x.numel() / 3
    if pixels < 4e6 or device != "cpu":
        run()
    times = seconds(run, device, rounds if pixels < 4e6 else 1)
    peak = peak_gib(device)
    best = min(times)
    connection.send({"seconds": best, "GMAC/s": MACS * pixels / best / 1e9, "MP/s": pixels / best / 1e6, "GiB": peak,
                     "ceiling": ceiling(device, dtype)["best"]})


def compare(size: str, device: str, rounds: int, connection: Connection) -> None:
    """The transcription and the network in turn: seconds of each round, and the largest difference of the pictures."""
    model, x = HVR.from_config(Config()).to(device).eval(), photos(size, 1, device)
    plain = reference_module().Reference(dict(model.named_parameters()))
    state, pairs = model.initial_state(x), []
    model.sample(photos("64x64", 1, device))
    for _ in range(rounds):
        slow = seconds(lambda: plain.sample(x, *state), device, 1)[0]
        pairs.append((slow, seconds(lambda: model.sample(x, state), device, 1)[0]))
    difference = (plain.sample(x, *state)[2] - model.sample(x, state)[1]).abs().max() / 2
    connection.send((pairs, difference.item()))


def in_new_process(work: Callable[..., None], *arguments: Any) -> Any:
    """work(*arguments, connection) in a fresh process -> what it sends; None where it dies, for example of memory."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(*arguments, sender))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        return None
    finally:
        process.join()


def table(options: argparse.Namespace) -> None:
    print("| device | precision | size | batch | seconds | MP/s | GMAC/s | efficiency | s/MP relative | peak GiB |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for device in options.devices:
        for precision in options.precisions:
            if precision != "fp32" and autocast_dtype(precision, torch.device(device)) is None:
                print(f"| {device} | {precision} | computed in fp32 on this processor: see above |")
                continue
            for batch in options.batches:
                first = None
                for size in options.sizes:
                    row = in_new_process(measure, size, batch, precision, device, options.rounds)
                    if row is None:
                        print(f"| {device} | {precision} | {size} | {batch} | did not run: out of memory? |", flush=True)
                        continue
                    first = first or row["MP/s"]
                    print(f"| {device} | {precision} | {size} | {batch} | {row['seconds']:.2f} | {row['MP/s']:.3f} | "
                          f"{row['GMAC/s']:.1f} | {row['GMAC/s'] / row['ceiling']:.2f} | {first / row['MP/s']:.2f} | "
                          f"{row['GiB']:.2f} |", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inference", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", nargs="*", default=["256x256", "600x400", "1920x1080", "4000x3000"], help="width x height")
    parser.add_argument("--batches", nargs="*", type=int, default=[1, 8], help="pictures at once")
    parser.add_argument("--precisions", nargs="*", choices=PRECISIONS, default=list(PRECISIONS), help="numbers to compute with")
    parser.add_argument("--devices", nargs="*", default=["cpu"] + ["cuda"] * torch.cuda.is_available(),
                        help="default: cpu, and cuda where it is")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each case (default: %(default)s)")
    parser.add_argument("--reference", nargs="*", default=["600x400"], metavar="SIZE", help="sizes to run the transcription at")
    options = parser.parse_args(arguments)
    table(options)
    for size in options.reference:
        found = in_new_process(compare, size, "cpu", options.rounds)
        if found is None:
            print(f"transcription at {size}: did not run: out of memory?")
            continue
        pairs, difference = found
        ratios = [slow / fast for slow, fast in pairs]
        print(f"transcription at {size}, cpu, fp32: " + ", ".join(f"{slow:.2f} s | {fast:.2f} s" for slow, fast in pairs)
              + f"; ratio {statistics.median(ratios):.1f} (median), largest difference {difference:.1e} on [0, 1]")


if __name__ == "__main__":
    main()
