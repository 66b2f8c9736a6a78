"""A Swin block with gradients in GPU kernels (Triton), for training.

The forward is swin.py; kept for the backward pass are its input and what its two norms read. Back go the two kernels of
swin_gradient_kernels.py; the products that the attention's own matrices take are PyTorch's.

Letters as in swin.py; g_x is the loss's gradient with respect to x.
"""
from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import triton
from torch import Tensor

from models.kernels.contract import EPS, BlockSizes
from models.kernels.gpu.swin import MATRICES, TRITON_TYPES, SwinBlockWeights, packed, pad, swin_block
from models.kernels.gpu.swin_gradient_kernels import attention_gradient_kernel, mlp_gradient_kernel

NAMES = ("qkv", "qkv_bias", "scale", "position_bias", "proj", "fc1", "fc1_bias", "fc2", "vectors")  # in this order everywhere
PROGRAMS = 264           # two for each multiprocessor of a large GPU
PIXELS = 64              # of a block of the MLP's kernel
SWITCH = "DISABLE_MMA_V3"  # of Triton's compiler, which looks at it anew for every kernel


def block_gradients(x: Tensor, g_y: Tensor, kept: tuple[Tensor, Tensor], weights: SwinBlockWeights,
                    precision: str) -> list[Tensor]:
    """g_x and the gradients of the tensors of `packed`, in the order of NAMES, float32. kept: see swin_block."""
    t, sizes, (B, H, W, D), heads = weights, weights.sizes, x.shape, len(weights.scale)
    windows, pixels, d = B * (H // sizes.window) * (W // sizes.window), B * H * W, D // heads
    Dp, dp, dot_dtype = t.vectors.shape[1], t.qkv.shape[-1], t.qkv.dtype
    common = {"D": D, "Dp": Dp, "DOT": TRITON_TYPES[dot_dtype], "PRECISION": precision}

    past, g_attention = torch.empty_like(x), torch.empty_like(x, dtype=dot_dtype)
    by_mlp = [t.fc1, t.fc1_bias, t.fc2, t.vectors]
    sums = torch.zeros(min(PROGRAMS, triton.cdiv(pixels, PIXELS)), sum(p.numel() for p in by_mlp), device=x.device)
    mlp_gradient_kernel[(len(sums),)](
        x, *kept, g_y.contiguous(), g_attention, past, *by_mlp, sums, pixels, HIDDEN=len(t.fc1_bias), EPS=EPS, BLOCK=PIXELS,
        **common, num_warps=4, num_stages=1)
    g_mlp = split_like(sums, by_mlp)

    g_qkv, attended = x.new_empty(pixels, 3 * D, dtype=dot_dtype), x.new_empty(pixels, D, dtype=dot_dtype)
    by_attention = [t.qkv_bias, t.scale, t.position_bias]
    sums = torch.empty(min(max(PROGRAMS // heads, 1), windows), sum(p.numel() for p in by_attention), device=x.device)
    with without_warp_group_products():
        attention_gradient_kernel[(len(sums), heads)](
            x, g_attention, g_qkv, attended, t.qkv, *by_attention, t.proj, sums, windows, H, W, SHIFT=sizes.shift,
            w=sizes.window, HEADS=heads, dp=dp, **common, num_warps=4, num_stages=1)
    weight = t.qkv[:, :, :D, :d].transpose(2, 3).reshape(3 * D, D)
    g_weight = (g_qkv.t() @ x.view(pixels, D).to(dot_dtype)).view(heads, 3, d, D).transpose(2, 3)
    g_proj = (attended.t() @ g_attention.view(pixels, D)).view(heads, d, D)
    return [past.add_((g_qkv @ weight).view_as(x)), pad(g_weight, Dp, dp).float(), *split_like(sums, by_attention),
            pad(g_proj, dp, Dp).float(), *g_mlp]


@contextlib.contextmanager
def without_warp_group_products() -> Iterator[None]:
    """What is compiled here multiplies as on GPUs before Hopper: a warp's products instead of those of four warps together.

    With the latter, Triton 3.6 made an attention kernel that read outside its memory in bfloat16 (on an H200, where the same
    kernel was right with the former and in float32).
    """
    before = os.environ.get(SWITCH)
    os.environ[SWITCH] = "1"
    try:
        yield
    finally:
        os.environ.pop(SWITCH) if before is None else os.environ.update({SWITCH: before})


def split_like(sums: Tensor, tensors: list[Tensor]) -> list[Tensor]:
    """The programs' sums together, as tensors of these shapes."""
    parts = sums.sum(0).split([tensor.numel() for tensor in tensors])
    return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]


class FusedBlock(torch.autograd.Function):
    """(x (B, H, W, D), the block's sizes, the tensors of `packed` in the order of NAMES) -> the block's output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, sizes: BlockSizes, precision: str, dot_dtype: torch.dtype, *tensors: Tensor) -> Tensor:
        x = x.contiguous()
        kept = torch.empty_like(x, dtype=dot_dtype), torch.empty_like(x, dtype=dot_dtype)
        ctx.save_for_backward(x, *kept, *tensors)
        ctx.rest = sizes, precision, dot_dtype
        return swin_block(x, ready(tensors, sizes, dot_dtype), precision=precision, kept=kept)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g_y: Tensor) -> tuple[Tensor | None, ...]:
        x, attended, changed, *tensors = ctx.saved_tensors
        sizes, precision, dot_dtype = ctx.rest
        weights = ready(tensors, sizes, dot_dtype)
        g_x, *gradients = block_gradients(x, g_y, (attended, changed), weights, precision)
        return g_x, None, None, None, *gradients


def ready(tensors: Any, sizes: BlockSizes, dot_dtype: torch.dtype) -> SwinBlockWeights:
    """As the kernels read them."""
    named = dict(zip(NAMES, tensors, strict=True))
    return SwinBlockWeights(**{name: t.to(dot_dtype) if name in MATRICES else t for name, t in named.items()}, sizes=sizes)


def fused_block(tensors: Mapping[str, Tensor], sizes: BlockSizes, x: Tensor, dot_dtype: torch.dtype,
                precision: str = "ieee") -> Tensor:
    """The block on x (B, H, W, D), with gradients of x and of the tensors (as of `contract.Block`). Products in `dot_dtype`,
    maps in x's type."""
    own = packed(tensors, sizes)
    return FusedBlock.apply(x, sizes, precision, dot_dtype, *(own[name] for name in NAMES))
