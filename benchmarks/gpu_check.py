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
import contextlib
import copy
import functools
import os
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from exp_config import Config
from models import HVR, State
from models.weights import load_state
from tests.models.reference import Reference

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden"
MACS_PER_PIXEL = 8 * 99_100 + 4 * 48_000  # ../shared/spec/1: 8 L steps, 4 H steps
PASSES = 8 * 55 + 4 * 27                  # over maps of 24 channels at full resolution (models/kernels/gpu/steps.py)
TYPES = {"fp32": None, "tf32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
ALLOWED = {"fp32": 1e-4, "tf32": 5e-3, "bf16": 3e-2, "fp16": 1e-2}  # ||picture - exact|| / ||exact||, or 3x the modules' own
LEARNING_RATE = 3.3e-5  # of the published recipe's first epoch
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


# --- checks ---

def relative(found: Tensor, expected: Tensor) -> float:
    return ((found.double() - expected.double()).norm() / expected.double().norm()).item()


def verdict(name: str, error: float, allowed: float, extra: str = "") -> None:
    good = error <= allowed  # NaN is not
    say(f"{'ok  ' if good else 'FAIL'} {name}: {error:.2g}, allowed {allowed:.2g} {extra}", keep=not good)


def checks(seed: int) -> None:
    model = golden_model()
    exact = copy.deepcopy(model).double()
    generator = torch.Generator().manual_seed(seed)
    for B, H, W in [(2, 9, 8)] if SMOKE else [(1, 8, 8), (2, 21, 29), (3, 40, 96), (1, 251, 333), (2, 400, 600)]:
        x = (torch.rand(B, 3, H, W, generator=generator) * 2 - 1).to(DEVICE)
        zH, zL = torch.randn(2, B, 24, H, W, generator=generator).to(DEVICE)
        expected = exact.sample(x.double(), State(zH.double(), zL.double()))[1]
        for kind in TYPES:
            with precision(kind, kernels=False):
                own = relative(model.sample(x, State(zH, zL))[1], expected)
            with precision(kind):
                found = relative(model.sample(x, State(zH, zL))[1], expected)
            verdict(f"{B}x{H}x{W} {kind} picture", found, max(ALLOWED[kind], 3 * own), f"(plain modules {own:.2g})")
    cases = load_file(GOLDEN / "hvr_cases.safetensors", device=str(DEVICE))
    for case in ("default_40x32", "odd_21x29"):
        with precision("fp32"):
            out = model.sample(cases[f"{case}.x"], State(cases[f"{case}.zH"], cases[f"{case}.zL"]))[1]
        verdict(f"golden {case} largest difference", (out - cases[f"{case}.out"]).abs().max().item(), 1e-4)
    x = (torch.rand(1, 3, 64, 96, generator=generator) * 2 - 1).to(DEVICE)
    for kind in () if SMOKE else ("fp32", "bf16"):
        with precision(kind, graphs=False):
            single = model.sample(x)[1]
        with precision(kind):
            replayed = [model.sample(x)[1] for _ in range(5)]
        verdict(f"graphs {kind}: difference from single launches", max((r - single).abs().max().item() for r in replayed), 0.0)
    gradients(seed)
    from models.kernels.gpu import prepared, training
    for name, trust in (("kernels with gradients", training.trust), ("kernels", prepared.trust)):
        verdicts = [f"{next(part for part in key if isinstance(part, torch.dtype))} {'yes' if good else 'NO'}"
                    for key, good in trust.verdicts.items()]
        say(f"{name} in use: " + (", ".join(verdicts) or "none"), keep=True)


def gradients(seed: int) -> None:
    """Of a training call, by the kernels and by the plain modules, against float64."""
    torch.manual_seed(seed)
    x = torch.rand(2, 3, 16, 24) if SMOKE else torch.rand(4, 3, 64, 96)
    x, state = x.to(DEVICE) * 2 - 1, State(*torch.randn(2, len(x), 24, *x.shape[-2:], device=DEVICE))

    def of(model: HVR, dtype: torch.dtype = torch.float32) -> Tensor:
        out = model(x.to(dtype), State(*(z.to(dtype) for z in state)))[1]
        loss = (out.to(dtype) - 0.8 * x.to(dtype)).square().mean()
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])

    model = golden_model().train().requires_grad_(True)
    expected = of(copy.deepcopy(model).double(), torch.float64)
    for kind in ("fp32", "tf32", "bf16"):
        found = []
        for use_kernels in (False, True):
            with precision(kind, use_kernels):
                found.append(relative(of(model), expected))
        own, ours = found
        verdict(f"training call {kind} gradients", ours, max(ALLOWED[kind], 3 * own), f"(plain modules {own:.2g})")


# --- times ---

def times(limits: dict[str, float]) -> None:
    model = golden_model()
    weights = dict(model.named_parameters())
    for H, W in [(8, 8)] if SMOKE else [(400, 600), (3000, 4000)]:
        x = torch.rand(1, 3, H, W, device=DEVICE) * 2 - 1
        state = model.initial_state(x)
        reference: dict[str, Tensor] = {}
        say(f"latents drawn: {W}x{H} {seconds(lambda x=x: model.initial_state(x)) * 1e3:.2f} ms")
        for kind in ("fp32", "bf16") if SMOKE else ("fp32", "tf32", "bf16"):
            def plain(x: Tensor = x, kind: str = kind, state: State = state) -> Tensor:
                with precision(kind), torch.device(DEVICE):  # the masks of every call are made on the GPU
                    return Reference(weights).sample(x, *state)[2]

            def ours(kernels: bool, graphs: bool, x: Tensor = x, kind: str = kind, state: State = state) -> Tensor:
                with precision(kind, kernels, graphs):
                    return model.sample(x, state)[1]

            ways: dict[str, Callable[[], object]] = {
                "transcription": plain, "plain modules": lambda ours=ours: ours(False, False),
                "kernels, no graphs": lambda ours=ours: ours(True, False), "kernels": lambda ours=ours: ours(True, True)}
            if H > 1000:  # the others take seconds there
                ways = {"kernels": ways["kernels"]}
            found = in_turns(ways, *((3, 1) if H > 1000 else (1, 1) if SMOKE else (5, 3)))
            size = 2 if kind == "bf16" else 4
            floor = max(H * W * 24 * size * PASSES / limits["bytes"], H * W * MACS_PER_PIXEL / limits[kind])
            for name, value in found.items():
                if DEVICE.type == "cuda":
                    torch.cuda.empty_cache()
                    torch.cuda.reset_peak_memory_stats()
                picture = ways[name]()
                memory = torch.cuda.max_memory_allocated() / 2**30 if DEVICE.type == "cuda" else 0.0
                reference.setdefault("fp32", picture.float())  # type: ignore[union-attr]
                error = (picture.float() - reference["fp32"]).square().mean().item() / 4  # type: ignore[union-attr]
                psnr = -10 * torch.tensor(error).log10().item()
                say(f"{W}x{H} {kind} {name:18} {value * 1e3:9.2f} ms {found.get('transcription', 0) / value:5.1f}x, floor "
                    f"{floor * 1e3:7.2f} ms = {floor / value:4.2f}, {memory:5.1f} GiB, {psnr:5.1f} dB from fp32", keep=True)
    large(model)


def large(model: HVR) -> None:
    """Memory of 24 megapixels, and whether its convolutions in strips give a picture at all."""
    H, W = (16, 8) if SMOKE else (4000, 6000)
    x = torch.rand(1, 3, H, W, device=DEVICE) * 2 - 1
    if DEVICE.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    with precision("bf16"):
        out = model.sample(x)[1]
        small = model.sample(x[..., : H // 2, :])[1]
    memory = torch.cuda.max_memory_allocated() / 2**30 if DEVICE.type == "cuda" else 0.0
    verdict(f"{W}x{H} bf16 peak GiB", memory, 16.0, f"finite {bool(out.isfinite().all())}, spread {out.std().item():.3f}, "
            f"upper half alone {small.std().item():.3f}")
    say(f"{W}x{H} bf16: {memory:.1f} GiB", keep=True)


# --- kernels ---

def kernels(limits: dict[str, float]) -> None:
    from models.kernels.gpu.steps import conv3x3
    from models.kernels.gpu.swin import SwinBlockWeights, swin_block

    model = golden_model()
    block = model.H_net_model.layers[0].residual_group.blocks[1]  # type: ignore[union-attr,index]
    H, W = 3000, 4000
    for dtype, kinds in ((torch.bfloat16, ("ieee",)), (torch.float32, ("ieee", "tf32", "tf32x3"))):
        x, weights = torch.randn(1, H, W, 24, device=DEVICE).to(dtype), SwinBlockWeights.of(block.tensors(), block.sizes, dtype)
        small = x[:, :64, :64].contiguous()
        expected = copy.deepcopy(block).double().plain(small.double())
        for kind in kinds:
            for warps, stages in ((4, 1), (4, 2), (4, 3), (8, 2)):
                run = functools.partial(swin_block, x, weights, x, precision=kind, warps=warps, stages=stages)
                try:
                    error = relative(swin_block(small, weights, precision=kind, warps=warps, stages=stages), expected)
                    run()
                    took = seconds(run, 10)
                except Exception as failure:
                    say(f"FAIL block {dtype} {kind} {warps} warps {stages} stages: {str(failure)[:200]}", keep=True)
                    continue
                floor = 2 * x.numel() * x.element_size() / limits["bytes"]
                say(f"Swin block 12 MP {dtype} {kind:6} {warps} warps {stages} stages {took * 1e3:7.2f} ms, bytes' floor "
                    f"{floor * 1e3:.2f} ms, error {error:.1g}", keep=True)
    for C, out in ((48, 24), (24, 24), (96, 24), (48, 48), (96, 96)):
        side = {24: (H, W), 48: (H // 2, W // 2), 96: (H // 4, W // 4)}[out]
        x, weight = torch.randn(1, *side, C, device=DEVICE).bfloat16(), torch.randn(out, C, 3, 3, device=DEVICE).bfloat16()
        weight = weight.contiguous(memory_format=torch.channels_last)
        took = []
        for search in (False, True):
            torch.backends.cudnn.benchmark = search
            conv3x3(x, weight)
            took.append(seconds(lambda x=x, weight=weight: conv3x3(x, weight), 5) * 1e3)
        torch.backends.cudnn.benchmark = False
        pixels = side[0] * side[1]
        floor = max(pixels * 2 * (C + out) / limits["bytes"], pixels * 9 * C * out / limits["bf16"]) * 1e3
        say(f"convolution {C}->{out} of 12 MP's maps, bf16: {took[0]:.2f} ms ({took[1]:.2f} with cudnn.benchmark), floor "
            f"{floor:.2f}", keep=True)
    x = torch.rand(1, 3, H, W, device=DEVICE) * 2 - 1
    state = model.initial_state(x)
    with precision("bf16"):
        profile(lambda: model.sample(x, state))


def profile(run: Callable[[], object]) -> None:
    """Where the GPU's time goes."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as found:
        run()
    say(found.key_averages().table(sort_by="self_cuda_time_total", row_limit=22, max_name_column_width=60))


# --- training ---

def training(compiled: bool) -> None:
    """A supervision step: forward, L1 loss, backward, AdamW. Speed, and the losses of the first steps."""
    B, side = (1, 8) if SMOKE else (32, 224)
    losses = {name: [step().item() for _ in range(2 if SMOKE else 20)]
              for name, step in training_steps("fp32", min(B, 4), side, compiled=False).items()}
    for name in ("plain modules", "with kernels"):
        pairs = zip(losses[name], losses["transcription"], strict=True)
        verdict(f"training fp32, first 20 losses, {name}", max(abs(a - b) / b for a, b in pairs), 1e-3)
    ways = training_steps("bf16", B, side, compiled=compiled)
    found = in_turns(ways, 1 if SMOKE else 5, 1 if SMOKE else 2)
    for name, took in found.items():
        say(f"training step {B}x{side}x{side} bf16 {name:28} {took * 1e3:8.1f} ms {B / took:8.0f} images/s "
            f"{found.get('transcription', 0) / took:5.1f}x", keep=True)
    if DEVICE.type == "cuda":
        torch.cuda.set_sync_debug_mode("warn")  # names the line of any wait for the GPU
        ways["with kernels"]()
        torch.cuda.set_sync_debug_mode("default")
        profile(ways["with kernels"])


def training_steps(kind: str, B: int, side: int, compiled: bool) -> dict[str, Callable[[], Tensor]]:
    """Each way to take a step of B photos of side x side, from the same weights."""
    low = torch.rand(B, 3, side, side, device=DEVICE, generator=torch.Generator(DEVICE).manual_seed(0)) * 2 - 1
    normal = (low * 1.4).clamp(-1, 1)
    state = golden_model().initial_state(low)

    def step_of(network: Callable[..., tuple[State, Tensor]], parameters: list[Tensor],
                use_kernels: bool) -> Callable[[], Tensor]:
        optimizer = torch.optim.AdamW(parameters, LEARNING_RATE, fused=True)

        def step() -> Tensor:
            with precision(kind, use_kernels):
                _, out = network(low, state)
            loss = (out.float() - normal).abs().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            return loss.detach()
        return step

    weights = {name: p.detach().clone().requires_grad_() for name, p in golden_model().named_parameters()}

    def transcription(x: Tensor, state: State) -> tuple[State, Tensor]:
        with torch.device(DEVICE):
            zH, zL, out = Reference(weights).train_call(x, *state)
        return State(zH, zL), out

    ways = {"transcription": step_of(transcription, list(weights.values()), False)}
    for name, use_kernels, is_compiled in (("plain modules", False, False), ("with kernels", True, False),
                                           ("compiled", False, True)):
        if is_compiled and not compiled:
            continue
        model = golden_model().train().requires_grad_(True)
        ways[name] = step_of(torch.compile(model) if is_compiled else model, list(model.parameters()), use_kernels)
    return ways


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
