"""Which code computes what, and where: the only place that looks at devices, types, gradients and switches.

| function            | CPU, float32                       | CUDA GPU                              | else, and elsewhere     |
|---------------------|------------------------------------|---------------------------------------|-------------------------|
| `recursion`         | cpu/recursion, without gradients   | gpu/recursion, without gradients      | the network's formulas  |
| `swin_block`        | cpu/block_gradient, with gradients | gpu/swin_gradient, with gradients     | the block's formula     |
| `conv3x3`           | cpu/conv_gradient, with gradients  |                                       | PyTorch                 |
| `conv_norm_act`     |                                    | gpu/norm_gradient, with gradients     | `conv3x3`, then PyTorch |
| `softmax_attention` |                                    | attention, heads padded               | attention               |
| `fill_in_pieces`    | pieces that the cache holds        | pieces that keep a GPU busy           | the same                |

The functions are plain Python on tensors, differentiable, the same on every device up to rounding. They are not custom
operators of torch.library: torch.compile and torch.export look through them and see the formulas alone, which the compiler
then fuses itself and ONNX can hold. HVR_NATIVE=0 and HVR_TRITON=0 in the environment switch the kernels of the CPU and of GPUs
off, HVR_CUDA_GRAPHS=0 the graphs.
"""
from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from models.kernels.attention import attention_in_portions
from models.kernels.contract import Block, Network, Steps
from models.kernels.cpu import block_gradient, conv_gradient
from models.kernels.cpu import recursion as cpu_recursion
from models.kernels.cpu.library import library

GPU_TYPES = (torch.float32, torch.float16, torch.bfloat16)
HEAD_MULTIPLE = {"cuda": 8}    # numbers per head that PyTorch's fused attention takes are multiples of this
PIECE = {"cpu": 1 << 15}       # elements computed at once: what the cache holds; else enough to keep a GPU busy
LARGE_PIECE = 1 << 24
log = logging.getLogger(__name__)


class GpuKernels(NamedTuple):
    """What the GPU's kernels compute; None where they find themselves unfit."""

    recursion: Callable[[Network, Tensor, torch.dtype, bool], Steps | None]
    swin_block: Callable[[Block, Tensor, torch.dtype], Tensor | None]
    conv_norm_act: Callable[..., Tensor | None]


def recursion(network: Network, x: Tensor) -> Steps:
    """The recursion on images x (B, 3, H, W), H and W whole windows."""
    return fast_recursion(network, x) or network.plain(x)


def fast_recursion(network: Network, x: Tensor) -> Steps | None:
    """The same by kernels; None where the formulas have to do it."""
    if torch.compiler.is_compiling() or torch.is_grad_enabled() or x.dtype != torch.float32 or x.numel() == 0:
        return None
    first = next(network.parameters())
    if first.device != x.device:
        return None
    if x.device.type == "cpu" and not torch.is_autocast_enabled("cpu") and (lib := library()) is not None:
        sizes = network.sizes
        if cpu_recursion.supported(sizes, lib):
            return cpu_recursion.Recursion(network.tensors(), sizes, x, lib)
    dtype = gpu_type(x)
    if dtype is not None and first.dtype == torch.float32 and (gpu := gpu_kernels()) is not None:
        return gpu.recursion(network, x, dtype, os.environ.get("HVR_CUDA_GRAPHS", "1") != "0")
    return None


def swin_block(block: Block, x: Tensor) -> Tensor:
    """A SwinV2 block on x (B, H, W, D) -> the same shape."""
    if torch.is_grad_enabled() and x.dtype == torch.float32:
        if on_cpu(x, next(block.parameters())) and block_gradient.supported(block.sizes):
            return block_gradient.block_with_gradients(x, block.tensors(), block.sizes)
        dtype = gpu_type(x)
        if dtype is not None and (gpu := gpu_kernels()) is not None:
            y = gpu.swin_block(block, x, dtype)
            return block.plain(x) if y is None else y
    return block.plain(x)


def conv3x3(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A 3x3 convolution with zeros around the picture: x (B, i, H, W), weight (o, i, 3, 3) -> (B, o, H, W)."""
    if torch.is_grad_enabled() and on_cpu(x, weight) and conv_gradient.supported(weight):
        y = conv_gradient.conv_with_gradients(x, weight)
        return y if bias is None else y + bias[:, None, None]
    return F.conv2d(x, weight, bias, padding=1)


def conv_norm_act(x: Tensor, weight: Tensor, groups: int, gamma: Tensor, beta: Tensor, eps: float) -> Tensor:
    """A 3x3 convolution, GroupNorm and LeakyReLU(0.01): x (B, i, H, W), weight (o, i, 3, 3) -> (B, o, H, W)."""
    if torch.is_grad_enabled() and (dtype := gpu_type(x)) is not None and (gpu := gpu_kernels()) is not None:
        y = gpu.conv_norm_act(x, weight, groups, gamma, beta, eps, dtype)
        if y is not None:
            return y
    return F.leaky_relu(F.group_norm(conv3x3(x, weight), groups, gamma, beta, eps), 0.01, inplace=True)


def softmax_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """softmax(q k^T + bias) v; q, k, v (..., h, n, d), bias (h, n, n) -> (..., h, n, d)."""
    return attention_in_portions(q, k, v, bias, HEAD_MULTIPLE.get(q.device.type, 1))


def fill_in_pieces(out: Tensor, fill: Callable[[Tensor, Tensor], object]) -> None:
    """Columns of out (B, n), some at a time: `fill(numbers of the columns (m,) int32, those columns of out (B, m))`."""
    B, n = out.shape
    step = max(PIECE.get(out.device.type, LARGE_PIECE) // max(B, 1), 1)
    for start in range(0, n, step):
        end = min(start + step, n)
        fill(torch.arange(start, end, dtype=torch.int32, device=out.device), out[:, start:end])


def has_cpu_kernels() -> bool:
    """Whether the CPU's kernels can be had here; they compute in float32 alone, faster than PyTorch in any type."""
    return library() is not None


def on_cpu(x: Tensor, weight: Tensor) -> bool:
    """Whether the CPU's kernels may be used on x and weights like this one, here and now."""
    return (not torch.compiler.is_compiling() and x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32
            and x.numel() > 0 and not torch.is_autocast_enabled("cpu") and library() is not None)


def gpu_type(x: Tensor) -> torch.dtype | None:
    """Autocast's type, or float32, where kernels for CUDA GPUs may be used on x here and now; else None."""
    if (torch.compiler.is_compiling() or x.device.type != "cuda" or x.numel() == 0 or x.dtype not in GPU_TYPES
            or os.environ.get("HVR_TRITON", "1") == "0"):
        return None
    dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else torch.float32
    return dtype if dtype in GPU_TYPES else None


@functools.cache
def gpu_kernels() -> GpuKernels | None:
    """Those of models/kernels/gpu, where Triton can be imported."""
    try:
        from models.kernels.gpu import prepared, training
    except ImportError as error:
        log.warning("no GPU kernels without Triton (%s); plain PyTorch is used, slower and with more memory", error)
        return None
    return GpuKernels(prepared.recursion, training.block_with_gradients, training.conv_norm_act_with_gradients)
