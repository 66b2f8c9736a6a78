"""A Swin block of the published sizes on the CPU with gradients, by the kernels of block_gradient.h.

The plain block keeps a dozen maps and all attention weights for its backward pass; this one keeps its input alone and
computes a window's forward again, in the cache, when the gradient comes back. Same function, several times faster.
"""
from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from models.kernels.contract import BlockSizes
from models.kernels.cpu.library import library

PUBLISHED = {"dim": 24, "heads": 4, "hidden": 48, "window": 8}
PARTS = 16  # partial sums of the parameters' gradients; as in the header


def supported(sizes: BlockSizes) -> bool:
    """Whether the kernels know blocks of these sizes."""
    return all(getattr(sizes, name) == value for name, value in PUBLISHED.items())


def block_with_gradients(x: Tensor, tensors: Mapping[str, Tensor], sizes: BlockSizes) -> Tensor:
    """The block on x (B, H, W, D) float32, differentiable. tensors: as of `contract.Block`."""
    return NativeBlock.apply(x, packed(tensors), sizes.shift)


def packed(t: Mapping[str, Tensor]) -> Tensor:
    """All parameters in the order of the header's offsets, differentiable; then the position bias [kind, head, key, query]."""
    q_bias = t["attn.q_bias"]
    return torch.cat([tensor.flatten() for tensor in (
        t["attn.qkv.weight"], q_bias, torch.zeros_like(q_bias), t["attn.v_bias"], t["attn.proj.weight"], t["attn.proj.bias"],
        t["norm1.weight"], t["norm1.bias"], t["mlp.fc1.weight"], t["mlp.fc1.bias"], t["mlp.fc2.weight"], t["mlp.fc2.bias"],
        t["norm2.weight"], t["norm2.bias"], t["attn.similarity_scale"], t["attn.position_bias"].transpose(-1, -2))])


class NativeBlock(torch.autograd.Function):
    """(x (B, H, W, D), packed parameters, shift in pixels) -> the block's output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, packed: Tensor, shift: int) -> Tensor:
        x, y = x.contiguous(), torch.empty(x.shape)
        B, H, W, _ = x.shape
        cast(ctypes.CDLL, library()).hvr_block_forward(
            x.data_ptr(), y.data_ptr(), B, H, W, shift, packed.data_ptr(), torch.get_num_threads())
        ctx.save_for_backward(x, packed)
        ctx.shift = shift
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gy: Tensor) -> tuple[Tensor, Tensor, None]:
        x, packed = ctx.saved_tensors
        gy, gx, sums = gy.contiguous(), torch.empty(x.shape), torch.zeros(PARTS, packed.numel())
        B, H, W, _ = x.shape
        cast(ctypes.CDLL, library()).hvr_block_backward(
            x.data_ptr(), gy.data_ptr(), gx.data_ptr(), B, H, W, ctx.shift, packed.data_ptr(), sums.data_ptr(),
            packed.numel(), torch.get_num_threads())
        return gx, sums.sum(0), None
