"""GroupNorm with LeakyReLU with gradients in GPU kernels (Triton), for training: two passes forward, two passes back.

The input and its statistics (norm.py) are all that is kept for the backward pass. PyTorch's own GroupNorm sums
each of the few groups of an image in a single block of threads, in float32 whatever the maps' type: a tenth of the time of a
training step of this network.

With n = gamma (x - mean) rate + beta and g_n = g_y (1 or 0.01), M values a group, sums over a group's pixels and channels:

    g_x = rate (gamma g_n - sum(gamma g_n) / M - unit sum(gamma g_n unit) / M),    unit = (x - mean) rate

Letters as in norm.py; g_x is the loss's gradient with respect to x.
"""
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from models.kernels.gpu.norm import (
    SLOPE,
    GroupSums,
    block,
    group_statistics,
    norm_act_kernel,
    padded,
    pixels_of,
    read,
    rows,
    write,
)

PROGRAMS = 64  # per image, that sum up the gradients of gamma and beta


@triton.jit
def unit_and_gradient(x, g_y, mean, rate, scale, shift, pixel, end, channel, C: tl.constexpr):
    """Of rows `pixel` of an image, both (BLOCK, Cp): normalised x, and the gradient before LeakyReLU (0 outside)."""
    unit = (read(x, C, pixel, end, channel, C) - mean[None, :]) * rate[None, :]
    g = read(g_y, C, pixel, end, channel, C)
    return unit, tl.where(unit * scale[None, :] + shift[None, :] > 0, g, g * SLOPE)


@triton.jit
def norm_gradient_sums_kernel(x, g_y, sums, gamma, beta, out, pixels, parts, span, C: tl.constexpr, Cp: tl.constexpr,
                              GROUPS: tl.constexpr, PARTS: tl.constexpr, EPS: tl.constexpr, BLOCK: tl.constexpr):
    """Of a share of an image, per channel: sums of g_n and of g_n times normalised x, into out (B, programs, 2, Cp)."""
    part, image, channel = tl.program_id(0), tl.program_id(1), tl.arange(0, Cp)
    first = image.to(tl.int64) * pixels * C
    mean, rate = group_statistics(sums, image, pixels, parts, C, Cp, GROUPS, PARTS, EPS)
    scale, shift = (tl.load(gamma + channel, mask=channel < C, other=0.0), tl.load(beta + channel, mask=channel < C, other=0.0))
    total, along = tl.zeros((Cp,), tl.float32), tl.zeros((Cp,), tl.float32)
    end = tl.minimum(part * span + span, pixels)
    for start in range(part * span, end, BLOCK):
        pixel = start + tl.arange(0, BLOCK)
        unit, g = unit_and_gradient(x + first, g_y + first, mean, rate, scale, shift, pixel, end, channel, C)
        total += tl.sum(g, 0)
        along += tl.sum(g * unit, 0)
    row = out + (image * tl.num_programs(0) + part) * 2 * Cp + channel
    tl.store(row, total)
    tl.store(row + Cp, along)


@triton.jit
def norm_gradient_kernel(x, g_y, sums, gamma, beta, totals, g_x, pixels, parts, C: tl.constexpr, Cp: tl.constexpr,
                         GROUPS: tl.constexpr, PARTS: tl.constexpr, EPS: tl.constexpr, BLOCK: tl.constexpr):
    """g_x from g_y and `totals` (B, 2, Cp), the sums over the whole image."""
    image, channel, pixel = tl.program_id(1), tl.arange(0, Cp), pixels_of(tl.program_id(0), BLOCK)
    first = image.to(tl.int64) * pixels * C
    average, rate = group_statistics(sums, image, pixels, parts, C, Cp, GROUPS, PARTS, EPS)
    scale, shift = (tl.load(gamma + channel, mask=channel < C, other=0.0), tl.load(beta + channel, mask=channel < C, other=0.0))
    unit, g = unit_and_gradient(x + first, g_y + first, average, rate, scale, shift, pixel, pixels, channel, C)
    by_channel = scale * tl.load(totals + image * 2 * Cp + channel)
    along_channel = scale * tl.load(totals + image * 2 * Cp + Cp + channel)
    group = channel // (C // GROUPS)
    count = pixels.to(tl.float32) * (C // GROUPS)
    mean, along = tl.zeros((Cp,), tl.float32), tl.zeros((Cp,), tl.float32)
    for number in tl.static_range(GROUPS):
        mine = group == number
        mean = tl.where(mine, tl.sum(tl.where(mine, by_channel, 0.0)) / count, mean)
        along = tl.where(mine, tl.sum(tl.where(mine, along_channel, 0.0)) / count, along)
    back = rate[None, :] * (g * scale[None, :] - mean[None, :] - unit * along[None, :])
    write(g_x + first, C, pixel, pixels, channel, C, back)


class NormAct(torch.autograd.Function):
    """(x (B, H, W, C), gamma (C,), beta (C,), groups, eps) -> LeakyReLU(GroupNorm(x)), of x's type."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, groups: int, eps: float) -> Tensor:
        x = x.contiguous()
        y, s = torch.empty_like(x), GroupSums(x, groups)
        norm_act_kernel[(triton.cdiv(s.pixels, block(s.C)), len(x))](x, s.sums, gamma, beta, y, rows(y), s.pixels, s.parts,
                                                                **s.settings(eps))
        ctx.save_for_backward(x, gamma, beta, s.sums)
        ctx.rest = s.pixels, s.parts, s.settings(eps)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g_y: Tensor) -> tuple[Tensor | None, ...]:
        x, gamma, beta, sums = ctx.saved_tensors
        pixels, parts, settings = ctx.rest
        g_y, (B, C) = g_y.contiguous(), (len(x), x.shape[-1])
        blocks = triton.cdiv(pixels, settings["BLOCK"])
        programs = min(PROGRAMS, blocks)
        partial = torch.empty(B, programs, 2, padded(C), device=x.device, dtype=torch.float32)
        span = triton.cdiv(blocks, programs) * settings["BLOCK"]
        norm_gradient_sums_kernel[(programs, B)](x, g_y, sums, gamma, beta, partial, pixels, parts, span, **settings)
        totals, g_x = partial.sum(1), torch.empty_like(x)
        norm_gradient_kernel[(blocks, B)](x, g_y, sums, gamma, beta, totals, g_x, pixels, parts, **settings)
        g_beta, g_gamma = totals.sum(0)[:, :C]
        return g_x, g_gamma, g_beta, None, None


def norm_act_with_gradients(x: Tensor, groups: int, gamma: Tensor, beta: Tensor, eps: float) -> Tensor:
    """LeakyReLU(GroupNorm(x)), slope 0.01, of x (B, C, H, W) -> the same shape and type, channels last, differentiable."""
    y = NormAct.apply(x.permute(0, 2, 3, 1), gamma, beta, groups, eps)
    return y.permute(0, 3, 1, 2)
