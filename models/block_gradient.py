"""A Swin block of the published sizes on the CPU with gradients, by the kernels of models/native/block_gradient.h.

The plain block keeps a dozen maps and all attention weights for its backward pass; this one keeps its input alone and
computes a window's forward again, in the cache, when the gradient comes back. Same function, several times faster.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from models import native_library

if TYPE_CHECKING:
    from models.swin2sr import SwinBlock

PUBLISHED = (24, 4, 48, 8)  # channels, heads, hidden channels, side of a window
PARTS = 16                  # partial sums of the parameters' gradients; as in the header


def applies(block: SwinBlock, x: Tensor) -> bool:
    """Whether the kernels can run this block on x (B, H, W, D) here and now."""
    attention = block.attn
    sizes = (attention.qkv.in_features, attention.num_heads, block.mlp.fc1.out_features, attention.window)
    return (sizes == PUBLISHED and x.device.type == "cpu" and x.dtype == torch.float32 and x.numel() > 0
            and block.norm1.weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
            and not torch.compiler.is_compiling() and native_library.library() is not None)


def packed_parameters(block: SwinBlock) -> Tensor:
    """All parameters in the order of the header's offsets, differentiable; then the position bias [kind, head, key, query]."""
    a = block.attn
    return torch.cat([t.flatten() for t in (
        a.qkv.weight, a.q_bias, torch.zeros_like(a.q_bias), a.v_bias, a.proj.weight, a.proj.bias, block.norm1.weight,
        block.norm1.bias, block.mlp.fc1.weight, block.mlp.fc1.bias, block.mlp.fc2.weight, block.mlp.fc2.bias,
        block.norm2.weight, block.norm2.bias, a.similarity_scale(), a.position_bias().transpose(-1, -2))])


class NativeBlock(torch.autograd.Function):
    """(x (B, H, W, D), packed parameters, shift in pixels) -> the block's output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, packed: Tensor, shift: int) -> Tensor:
        x, y = x.contiguous(), torch.empty(x.shape)
        B, H, W, _ = x.shape
        native_library.library().hvr_block_forward(  # type: ignore[union-attr]
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
        native_library.library().hvr_block_backward(  # type: ignore[union-attr]
            x.data_ptr(), gy.data_ptr(), gx.data_ptr(), B, H, W, ctx.shift, packed.data_ptr(), sums.data_ptr(),
            packed.numel(), torch.get_num_threads())
        return gx, sums.sum(0), None
