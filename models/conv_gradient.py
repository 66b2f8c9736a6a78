"""3x3 convolutions with gradients on the CPU, by the kernels of models/native/conv_gradient.h.

PyTorch's own are made for many channels; with the 24 to 144 of this network they run at a fraction of the processor's speed.
"""
from __future__ import annotations

import ctypes
from typing import Any, cast

import torch
from torch import Tensor, nn

from models import native_library


class Conv3x3(nn.Conv2d):
    """nn.Conv2d of kernel size 3 and padding 1: (B, i, H, W) -> (B, o, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        if not applies(self, x):
            return super().forward(x)
        y = NativeConv.apply(x, self.weight)
        return y if self.bias is None else y + self.bias[:, None, None]


def applies(conv: Conv3x3, x: Tensor) -> bool:
    """Whether the kernels can run this convolution on x (B, i, H, W) here and now: where gradients are wanted."""
    return (torch.is_grad_enabled() and x.device.type == "cpu" and x.dtype == conv.weight.dtype == torch.float32
            and x.numel() > 0 and conv.in_channels % 4 == conv.out_channels % 4 == 0 and not torch.is_autocast_enabled("cpu")
            and not torch.compiler.is_compiling() and native_library.library() is not None)


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
    o, weight, library = weight.shape[0], weight.detach().contiguous(), cast(ctypes.CDLL, native_library.library())
    y = x.new_empty(B, o, H, W)
    library.hvr_conv(x.data_ptr(), weight.data_ptr(), y.data_ptr(), B, i, o, H, W, torch.get_num_threads())
    return y


def weights_gradient(x: Tensor, gy: Tensor) -> Tensor:
    """x (B, i, H, W), gradient of the output (B, o, H, W), both contiguous -> gradient of the weights (o, i, 3, 3)."""
    B, i, H, W = x.shape
    o, library = gy.shape[1], cast(ctypes.CDLL, native_library.library())
    sums = x.new_zeros(library.hvr_conv_parts(B, i, o, H, W), o, i, 3, 3)
    library.hvr_conv_weights(x.data_ptr(), gy.data_ptr(), sums.data_ptr(), B, i, o, H, W, torch.get_num_threads())
    return sums.sum(0)
