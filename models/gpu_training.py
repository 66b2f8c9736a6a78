"""Training on a CUDA GPU: Swin blocks, and GroupNorm with LeakyReLU, by the kernels of models/triton_gradient.py and
models/triton_norm_gradient.py where they are right, else plain.

Before sizes and a type are used for the first time, output and gradients are compared with the plain modules' on a little
noise; where they disagree or a kernel does not compile, a warning is logged and plain PyTorch computes everything.
HVR_TRITON=0 in the environment switches the kernels off; torch.compile does not see them and compiles the plain modules.
"""
from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.gpu_trust import Trust

if TYPE_CHECKING:
    from models.swin2sr import SwinBlock
    from models.unetpp import ConvBlock

TOLERANCE = {torch.float32: 2e-3, torch.float16: 1e-2, torch.bfloat16: 5e-2}  # ||difference|| / ||exact||; more is
PLAIN_FACTOR = 3   # accepted up to so many times the difference that the plain block shows in the same type
MAX_CHANNELS = 256        # of a GroupNorm
NORM_CHECK_SIZE = (24, 40)
_trust = Trust()


def block_with_gradients(block: SwinBlock, x: Tensor) -> Tensor | None:
    """The block on x (B, H, W, D) float32 of a GPU, differentiable; None where the plain block has to do it."""
    dtype = type_to_compute_in(x)
    if dtype is None or x.dtype != torch.float32 or not trusted(block, x.device, dtype):
        return None
    from models.triton_gradient import fused_block

    with torch.cuda.device(x.device), torch.autocast("cuda", enabled=False):
        return fused_block(block, x, dtype, precision_of(dtype))


def conv_block_with_gradients(block: ConvBlock, x: Tensor) -> Tensor | None:
    """L's block on x (B, i, H, W) of a GPU -> (B, o, H, W) channels last, of autocast's type where it is on, differentiable;
    None where the plain block has to do it."""
    dtype = type_to_compute_in(x)
    conv1, norm1, _, conv2, norm2, _ = block.conv
    assert isinstance(norm1, nn.GroupNorm) and isinstance(norm2, nn.GroupNorm)
    if dtype is None or not all(norm_trusted(norm, x.device, dtype) for norm in (norm1, norm2)):
        return None
    from models.triton_norm_gradient import norm_act_with_gradients

    with torch.cuda.device(x.device):
        y = norm_act_with_gradients(conv1(x.contiguous(memory_format=torch.channels_last)), norm1)
        return norm_act_with_gradients(conv2(y), norm2)


def type_to_compute_in(x: Tensor) -> torch.dtype | None:
    """Autocast's type, or float32; None where the kernels are not to be used on x at all."""
    if torch.compiler.is_compiling() or x.numel() == 0 or os.environ.get("HVR_TRITON", "1") == "0":
        return None
    dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else torch.float32
    return dtype if dtype in TOLERANCE and x.dtype in TOLERANCE else None


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
    return difference(("output", "gradient of x", "gradients of the weights"), expected, found, usual, TOLERANCE[dtype])


def norm_trusted(norm: nn.GroupNorm, device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the kernels of GroupNorm with LeakyReLU agree with PyTorch here; found out once for given sizes and type."""
    return _trust.given((norm.num_channels, norm.num_groups, norm.eps, device, dtype),
                        lambda: norm_disagreement(norm, device, dtype),
                        f"the GPU kernels for GroupNorm with gradients are not used for {dtype} on {device}")


def norm_disagreement(norm: nn.GroupNorm, device: torch.device, dtype: torch.dtype) -> str:
    """The same as `disagreement` for GroupNorm with LeakyReLU."""
    from models.triton_norm_gradient import norm_act_with_gradients

    if norm.num_channels > MAX_CHANNELS:
        return f"more than {MAX_CHANNELS} channels are not known to them"
    generator = torch.Generator().manual_seed(0)
    x, g_y = (torch.randn(2, 2, norm.num_channels, *NORM_CHECK_SIZE, generator=generator) + 0.5).to(device, dtype)
    own = copy.deepcopy(norm)
    with torch.no_grad():  # unequal numbers: a new network's are all one and zero
        for p in own.parameters():
            p.add_(0.5 * torch.randn(p.shape, generator=generator).to(p))

    def results(net: nn.GroupNorm, fused: bool) -> list[Tensor]:
        at = x.to(dtype if fused else net.weight.dtype).requires_grad_()
        y = norm_act_with_gradients(at, net) if fused else F.leaky_relu(net(at), 0.01)
        return [y.detach().double(), *(g.double() for g in torch.autograd.grad(y, (at, *net.parameters()), g_y.to(y.dtype)))]

    with torch.enable_grad(), torch.autocast(device.type, enabled=False):
        found, usual = results(own, True), results(own, False)
        expected = results(copy.deepcopy(own).double(), False)
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
