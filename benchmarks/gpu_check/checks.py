"""Whether the kernels' pictures and gradients are right, against float64, golden values and single launches."""
from __future__ import annotations

import copy

import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.gpu_check.common import ALLOWED, DEVICE, GOLDEN, SMOKE, TYPES, golden_model, precision, relative, say, verdict
from models import HVR, State


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
