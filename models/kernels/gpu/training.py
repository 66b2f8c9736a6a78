"""Training on a CUDA GPU: Swin blocks, and GroupNorm with LeakyReLU, by the kernels of swin_gradient.py and norm_gradient.py
where they are right.

Before sizes and a type are used for the first time, output and gradients are compared with the plain formulas' on a little
noise; where they disagree or a kernel does not compile, a warning is logged and plain PyTorch computes everything.
"""
from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from models.kernels.contract import Block
from models.kernels.gpu.norm_gradient import norm_act_with_gradients
from models.kernels.gpu.swin import supported
from models.kernels.gpu.swin_gradient import fused_block
from models.kernels.gpu.trust import Trust

TOLERANCE = {torch.float32: 2e-3, torch.float16: 1e-2, torch.bfloat16: 5e-2}  # ||difference|| / ||exact||; more is
PLAIN_FACTOR = 3   # accepted up to so many times the difference that the plain formula shows in the same type
MAX_CHANNELS = 256        # of a GroupNorm
NORM_CHECK_SIZE = (24, 40)
trust = Trust()


def block_with_gradients(block: Block, x: Tensor, dtype: torch.dtype) -> Tensor | None:
    """The block on x (B, H, W, D) float32 of a GPU, products in `dtype`, differentiable; None where the plain block has to
    do it."""
    if not block_trusted(block, x.device, dtype):
        return None
    with torch.cuda.device(x.device), torch.autocast("cuda", enabled=False):
        return fused_block(block.tensors(), block.sizes, x, dtype, precision_of(dtype))


def conv_norm_act_with_gradients(x: Tensor, weight: Tensor, groups: int, gamma: Tensor, beta: Tensor, eps: float,
                                 dtype: torch.dtype) -> Tensor | None:
    """LeakyReLU(GroupNorm(convolution)) of x (B, i, H, W) of a GPU -> (B, o, H, W) channels last, of autocast's type where it
    is on, differentiable; None where plain PyTorch has to do it."""
    if not norm_trusted(groups, gamma, beta, eps, x.device, dtype):
        return None
    with torch.cuda.device(x.device):
        y = F.conv2d(x.contiguous(memory_format=torch.channels_last), weight, padding=1)
        return norm_act_with_gradients(y, groups, gamma, beta, eps)


def precision_of(dtype: torch.dtype) -> str:
    """Of the kernels' float32 products."""
    return "tf32" if dtype == torch.float32 and torch.backends.cuda.matmul.allow_tf32 else "ieee"


def block_trusted(block: Block, device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the kernels agree with the plain block here; found out once for given sizes, type and device."""
    return trust.given((block.sizes, device, dtype, precision_of(dtype)), lambda: disagreement(block, device, dtype),
                       f"the GPU kernels for Swin blocks with gradients are not used for {dtype} on {device}")


def disagreement(block: Block, device: torch.device, dtype: torch.dtype, dot_dtype: torch.dtype | None = None) -> str:
    """Output and gradients on noise by the kernels and by the plain block in float64: what is wrong, or nothing ("")."""
    if not supported(block.sizes):
        return "blocks of these sizes are not known to them"
    generator = torch.Generator().manual_seed(0)
    side, D = block.sizes.window, block.sizes.dim
    x, g_y = torch.randn(2, 1, 2 * side, 2 * side, D, generator=generator).to(device)
    own: Any = copy.deepcopy(block)
    own.requires_grad_(True)
    for p in own.parameters():
        p.grad = None
    exact = copy.deepcopy(own).double()

    def results(net: Block, fused: bool) -> list[Tensor]:
        at = x.to(next(net.parameters()).dtype).requires_grad_()
        y = fused_block(net.tensors(), net.sizes, at, dot_dtype or dtype, precision_of(dtype)) if fused else net.plain(at)
        gradients = torch.autograd.grad(y, (at, *net.parameters()), g_y.to(y.dtype))
        return [y.detach().double(), gradients[0].double(), torch.cat([g.double().flatten() for g in gradients[1:]])]

    with torch.enable_grad(), torch.autocast(device.type, enabled=False):
        expected, found = results(exact, False), results(own, True)
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            usual = results(own, False)
    return difference(("output", "gradient of x", "gradients of the weights"), expected, found, usual, TOLERANCE[dtype])


def norm_trusted(groups: int, gamma: Tensor, beta: Tensor, eps: float, device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the kernels of GroupNorm with LeakyReLU agree with PyTorch here; found out once for given sizes and type."""
    return trust.given((len(gamma), groups, eps, device, dtype),
                       lambda: norm_disagreement(groups, gamma, beta, eps, device, dtype),
                       f"the GPU kernels for GroupNorm with gradients are not used for {dtype} on {device}")


def norm_disagreement(groups: int, gamma: Tensor, beta: Tensor, eps: float, device: torch.device, dtype: torch.dtype) -> str:
    """The same as `disagreement` for GroupNorm with LeakyReLU."""
    if len(gamma) > MAX_CHANNELS:
        return f"more than {MAX_CHANNELS} channels are not known to them"
    generator = torch.Generator().manual_seed(0)
    x, g_y = (torch.randn(2, 2, len(gamma), *NORM_CHECK_SIZE, generator=generator) + 0.5).to(device, dtype)
    # Unequal numbers: a new network's are all one and zero.
    own = [p.detach() + 0.5 * torch.randn(p.shape, generator=generator).to(p) for p in (gamma, beta)]

    def results(type_of_maps: torch.dtype, type_of_parameters: torch.dtype, fused: bool) -> list[Tensor]:
        at = x.to(type_of_maps).requires_grad_()
        parameters = [p.to(type_of_parameters, copy=True).requires_grad_() for p in own]
        scale, shift = parameters
        y = (norm_act_with_gradients(at, groups, scale, shift, eps) if fused
             else F.leaky_relu(F.group_norm(at, groups, scale, shift, eps), 0.01))
        return [y.detach().double(), *(g.double() for g in torch.autograd.grad(y, (at, *parameters), g_y.to(y.dtype)))]

    kept = gamma.dtype
    with torch.enable_grad(), torch.autocast(device.type, enabled=False):
        found, usual = results(dtype, kept, True), results(kept, kept, False)
        expected = results(torch.float64, torch.float64, False)
    return difference(("output", "gradient of x", "gradient of gamma", "gradient of beta"), expected, found, usual,
                      TOLERANCE[dtype])


def difference(names: Sequence[str], expected: Sequence[Tensor], found: Sequence[Tensor], usual: Sequence[Tensor],
               tolerance: float) -> str:
    """What of `found` is further from `expected` than rounding makes it, or nothing (""). usual: by plain PyTorch."""
    for name, exactly, mine, theirs in zip(names, expected, found, usual, strict=True):
        error, usual_error = (((t - exactly).norm() / exactly.norm()).item() for t in (mine, theirs))
        allowed = max(tolerance, PLAIN_FACTOR * usual_error)
        if not error <= allowed:  # NaN too
            return f"the {name} is off by {error:.2g}, where at most {allowed:.2g} is rounding"
    return ""
