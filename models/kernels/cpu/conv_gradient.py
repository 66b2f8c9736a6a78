"""3x3 convolutions with gradients on the CPU, by the kernels of conv_gradient.h.

PyTorch's own are made for many channels; with the 24 to 144 of this network they run at a fraction of the processor's speed.
"""
from __future__ import annotations

import ctypes
from typing import Any, cast

import torch
from torch import Tensor

from models.kernels.cpu.library import library


def supported(weight: Tensor) -> bool:
    """Whether the kernels know a convolution with weights (o, i, 3, 3)."""
    return weight.shape[0] % 4 == weight.shape[1] % 4 == 0


def conv_with_gradients(x: Tensor, weight: Tensor) -> Tensor:
    """x (B, i, H, W), weights (o, i, 3, 3), float32 -> (B, o, H, W), zeros around the picture; differentiable."""
    return NativeConv.apply(x, weight)


class NativeConv(torch.autograd.Function):
    """(x (B, i, H, W), weights (o, i, 3, 3)) -> (B, o, H, W)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x, weight)
        return convolved(x, weight)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gy: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        gy = gy.contiguous()
        gx = convolved(gy, weight.flip(2, 3).transpose(0, 1)) if ctx.needs_input_grad[0] else None
        return gx, weights_gradient(x, gy) if ctx.needs_input_grad[1] else None


def convolved(x: Tensor, weight: Tensor) -> Tensor:
    """x (B, i, H, W) contiguous, weights (o, i, 3, 3) -> (B, o, H, W)."""
    B, i, H, W = x.shape
    o, weight = weight.shape[0], weight.detach().contiguous()
    y = x.new_empty(B, o, H, W)
    cast(ctypes.CDLL, library()).hvr_conv(
        x.data_ptr(), weight.data_ptr(), y.data_ptr(), B, i, o, H, W, torch.get_num_threads())
    return y


def weights_gradient(x: Tensor, gy: Tensor) -> Tensor:
    """x (B, i, H, W), gradient of the output (B, o, H, W), both contiguous -> gradient of the weights (o, i, 3, 3)."""
    B, i, H, W = x.shape
    o, lib = gy.shape[1], cast(ctypes.CDLL, library())
    sums = x.new_zeros(lib.hvr_conv_parts(B, i, o, H, W), o, i, 3, 3)
    lib.hvr_conv_weights(x.data_ptr(), gy.data_ptr(), sums.data_ptr(), B, i, o, H, W, torch.get_num_threads())
    return sums.sum(0)
