"""Swin blocks with gradients on a CUDA GPU: by the kernels of models/triton_gradient.py where they are right, else plain.

Before a block's sizes and type are used for the first time, output and gradients are compared with the plain block's on a
little noise; where they disagree or a kernel does not compile, a warning is logged and plain PyTorch computes everything.
HVR_TRITON=0 in the environment switches the kernels off; torch.compile does not see them and compiles the plain block.
"""
from __future__ import annotations

import copy
import os
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from models.gpu_trust import Trust

if TYPE_CHECKING:
    from models.swin2sr import SwinBlock

TOLERANCE = {torch.float32: 2e-3, torch.float16: 1e-2, torch.bfloat16: 5e-2}  # ||difference|| / ||exact||; more is
PLAIN_FACTOR = 3   # accepted up to so many times the difference that the plain block shows in the same type
_trust = Trust()


def block_with_gradients(block: SwinBlock, x: Tensor) -> Tensor | None:
    """The block on x (B, H, W, D) float32 of a GPU, differentiable; None where the plain block has to do it."""
    if torch.compiler.is_compiling() or x.dtype != torch.float32 or x.numel() == 0 or os.environ.get("HVR_TRITON", "1") == "0":
        return None
    dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else torch.float32
    if dtype not in TOLERANCE or not trusted(block, x.device, dtype):
        return None
    from models.triton_gradient import fused_block

    with torch.cuda.device(x.device), torch.autocast("cuda", enabled=False):
        return fused_block(block, x, dtype, precision_of(dtype))


def precision_of(dtype: torch.dtype) -> str:
    """Of the kernels' float32 products."""
    return "tf32" if dtype == torch.float32 and torch.backends.cuda.matmul.allow_tf32 else "ieee"


def trusted(block: SwinBlock, device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the kernels agree with the plain block here; found out once for given sizes, type and device."""
    sizes = (block.norm1.weight.numel(), block.attn.num_heads, block.mlp.fc1.out_features, block.attn.window, block.shift)
    key = (*sizes, device, dtype, precision_of(dtype))
    return _trust.given(key, lambda: disagreement(block, device, dtype),
                        f"the GPU kernels for Swin blocks with gradients are not used for {dtype} on {device}")


def disagreement(block: SwinBlock, device: torch.device, dtype: torch.dtype, dot_dtype: torch.dtype | None = None) -> str:
    """Output and gradients on noise by the kernels and by the plain block in float64: what is wrong, or nothing ("")."""
    from models.triton_gradient import fused_block
    from models.triton_swin import supported

    if not supported(block):
        return "blocks of these sizes are not known to them"
    generator = torch.Generator().manual_seed(0)
    side, D = block.attn.window, block.norm1.weight.numel()
    x, g_y = torch.randn(2, 1, 2 * side, 2 * side, D, generator=generator).to(device)
    own = copy.deepcopy(block).requires_grad_(True)
    for p in own.parameters():
        p.grad = None
    exact = copy.deepcopy(own).double()

    def results(net: SwinBlock, fused: bool) -> list[Tensor]:
        at = x.to(net.norm1.weight.dtype).requires_grad_()
        y = fused_block(net, at, dot_dtype or dtype, precision_of(dtype)) if fused else net.plain(at)
        gradients = torch.autograd.grad(y, (at, *net.parameters()), g_y.to(y.dtype))
        return [y.detach().double(), gradients[0].double(), torch.cat([g.double().flatten() for g in gradients[1:]])]

    with torch.enable_grad(), torch.autocast(device.type, enabled=False):
        expected, found = results(exact, False), results(own, True)
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            usual = results(own, False)
    for name, exactly, mine, theirs in zip(("output", "gradient of x", "gradients of the weights"), expected, found, usual,
                                           strict=True):
        error, usual_error = (((t - exactly).norm() / exactly.norm()).item() for t in (mine, theirs))
        allowed = max(TOLERANCE[dtype], PLAIN_FACTOR * usual_error)
        if not error <= allowed:  # NaN too
            return f"the {name} is off by {error:.2g}, where at most {allowed:.2g} is rounding"
    return ""
