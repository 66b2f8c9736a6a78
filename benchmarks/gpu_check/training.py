"""A supervision step: forward, L1 loss, backward, AdamW. Speed, and the losses of the first steps."""
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.gpu_check.common import DEVICE, SMOKE, golden_model, in_turns, precision, profile, say, verdict
from models import State
from tests.models.reference import Reference

LEARNING_RATE = 3.3e-5  # of the published recipe's first epoch


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
