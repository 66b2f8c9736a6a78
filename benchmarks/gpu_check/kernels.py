"""The Swin block with other numbers of warps and stages, the convolutions, where an inference's time goes."""
from __future__ import annotations

import copy
import functools

import torch

from benchmarks.gpu_check.common import DEVICE, golden_model, precision, profile, relative, say, seconds


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
