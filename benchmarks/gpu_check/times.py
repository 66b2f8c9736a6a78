"""Seconds and memory of an inference, by the transcription, the plain modules and the kernels."""
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.gpu_check.common import DEVICE, SMOKE, golden_model, in_turns, precision, say, seconds, verdict
from models import HVR, State
from tests.models.reference import Reference

MACS_PER_PIXEL = 8 * 99_100 + 4 * 48_000  # ../shared/spec/1: 8 L steps, 4 H steps
PASSES = 8 * 55 + 4 * 27                  # over maps of 24 channels at full resolution (models/kernels/gpu/steps.py)


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
