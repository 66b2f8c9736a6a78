"""GPU kernels (Triton) for GroupNorm with LeakyReLU: statistics in one pass over the pixels, application in another.

Maps are (B, H, W, C), C last. A kernel takes maps as rows of C values, a row of pixel p at p * stride: so it can read and
write some channels of a wider map, and nothing is ever concatenated. Arithmetic is float32, whatever the maps' type.

Letters: B batch, H W height and width, C channels, Cp: C rounded up to a power of two, BLOCK pixels per program.
"""
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from models.kernels.gpu.swin import LANE, TRITON_TYPES

VALUES = 2048       # of a map per program and round: 16 per thread stay in registers
PARTS = 512         # programs per image that sum up for GroupNorm: a few per multiprocessor
SLOPE = tl.constexpr(0.01)  # of LeakyReLU


def padded(channels: int) -> int:
    """Channels as a power of two that the matrix units take."""
    return max(triton.next_power_of_2(channels), LANE)


def block(channels: int, values: int = VALUES) -> int:
    """Pixels per program."""
    return max(values // padded(channels), 1)


def rows(x: Tensor) -> int:
    """Distance between two pixels of x (B, H, W, C), a map or some channels of one. Raises ValueError for other layouts."""
    B, H, W, _ = x.shape
    stride = x.stride(2)
    if x.stride(3) != 1 or (H > 1 and x.stride(1) != W * stride) or (B > 1 and x.stride(0) != H * W * stride):
        raise ValueError(f"a map of shape {tuple(x.shape)} with strides {x.stride()}; expected channels last")
    return stride


@triton.jit
def read(x, stride, pixel, pixels, channel, C: tl.constexpr):
    """Rows `pixel` of a map as float32 (BLOCK, Cp); 0 outside. A photo of 24 megapixels has more values than 32 bits count."""
    inside = (pixel < pixels)[:, None] & (channel < C)[None, :]
    return tl.load(x + pixel.to(tl.int64)[:, None] * stride + channel[None, :], mask=inside, other=0.0).to(tl.float32)


@triton.jit
def write(x, stride, pixel, pixels, channel, C: tl.constexpr, values):
    """The opposite of `read`."""
    inside = (pixel < pixels)[:, None] & (channel < C)[None, :]
    tl.store(x + pixel.to(tl.int64)[:, None] * stride + channel[None, :], values.to(x.dtype.element_ty), mask=inside)


@triton.jit
def pixels_of(program, BLOCK: tl.constexpr):
    """Numbers of a program's pixels."""
    return program * BLOCK + tl.arange(0, BLOCK)


@triton.jit
def statistics_kernel(x, sums, pixels, span, C: tl.constexpr, Cp: tl.constexpr, GROUPS: tl.constexpr, BLOCK: tl.constexpr):
    """Sums and sums of squares of a share of an image, per group, in sums (B, GROUPS, 3, parts).

    What is summed is the distance to the group's value in the image's first pixel (the third row): squares of large means
    would leave no digits for a small variance.
    """
    part, image, parts = tl.program_id(0), tl.program_id(1), tl.num_programs(0)
    channel = tl.arange(0, Cp)
    group = channel // (C // GROUPS)
    x += image.to(tl.int64) * pixels * C
    origin = tl.load(x + group * (C // GROUPS), mask=channel < C, other=0.0).to(tl.float32)
    total, squares = tl.zeros((BLOCK, Cp), tl.float32), tl.zeros((BLOCK, Cp), tl.float32)
    end = tl.minimum(part * span + span, pixels)
    for start in range(part * span, end, BLOCK):
        pixel = start + tl.arange(0, BLOCK)
        inside = (pixel < end)[:, None] & (channel < C)[None, :]
        value = tl.where(inside, read(x, C, pixel, end, channel, C) - origin[None, :], 0.0)
        total += value
        squares += value * value
    by_channel, squares_by_channel = tl.sum(total, 0), tl.sum(squares, 0)
    for g in tl.static_range(GROUPS):
        mine = group == g
        row = sums + (image * GROUPS + g) * 3 * parts + part
        tl.store(row, tl.sum(tl.where(mine, by_channel, 0.0)))
        tl.store(row + parts, tl.sum(tl.where(mine, squares_by_channel, 0.0)))
        tl.store(row + 2 * parts, tl.sum(tl.where(channel == g * (C // GROUPS), origin, 0.0)))


@triton.jit
def group_statistics(sums, image, pixels, parts, C: tl.constexpr, Cp: tl.constexpr, GROUPS: tl.constexpr, PARTS: tl.constexpr,
                     EPS: tl.constexpr):
    """-> mean and 1 / standard deviation of each channel's group in an image, (Cp,)."""
    channel, part = tl.arange(0, Cp), tl.arange(0, PARTS)
    group = channel // (C // GROUPS)
    count = pixels.to(tl.float32) * (C // GROUPS)
    mean, variance = tl.zeros((Cp,), tl.float32), tl.zeros((Cp,), tl.float32)
    for g in tl.static_range(GROUPS):
        row = sums + (image * GROUPS + g) * 3 * parts
        shifted = tl.sum(tl.load(row + part, mask=part < parts, other=0.0)) / count
        square = tl.sum(tl.load(row + parts + part, mask=part < parts, other=0.0)) / count
        mean = tl.where(group == g, shifted + tl.load(row + 2 * parts), mean)
        variance = tl.where(group == g, tl.maximum(square - shifted * shifted, 0.0), variance)
    return mean, tl.rsqrt(variance + EPS)


@triton.jit
def normalised(value, sums, gamma, beta, image, pixels, parts, C: tl.constexpr, Cp: tl.constexpr, GROUPS: tl.constexpr,
               PARTS: tl.constexpr, EPS: tl.constexpr):
    """LeakyReLU(GroupNorm(value)) of rows (BLOCK, Cp) of an image."""
    channel = tl.arange(0, Cp)
    mean, rate = group_statistics(sums, image, pixels, parts, C, Cp, GROUPS, PARTS, EPS)
    inside = channel < C
    scale = tl.load(gamma + channel, mask=inside, other=0.0) * rate
    value = (value - mean[None, :]) * scale[None, :] + tl.load(beta + channel, mask=inside, other=0.0)[None, :]
    return tl.where(value > 0, value, value * SLOPE)


@triton.jit
def norm_act_kernel(x, sums, gamma, beta, out, out_stride, pixels, parts, C: tl.constexpr, Cp: tl.constexpr,
                    GROUPS: tl.constexpr, PARTS: tl.constexpr, EPS: tl.constexpr, BLOCK: tl.constexpr):
    """out = LeakyReLU(GroupNorm(x)); out may be x."""
    image, channel, pixel = tl.program_id(1), tl.arange(0, Cp), pixels_of(tl.program_id(0), BLOCK)
    first = image.to(tl.int64) * pixels
    value = read(x + first * C, C, pixel, pixels, channel, C)
    value = normalised(value, sums, gamma, beta, image, pixels, parts, C, Cp, GROUPS, PARTS, EPS)
    write(out + first * out_stride, out_stride, pixel, pixels, channel, C, value)


@triton.jit
def update_latent_kernel(x, sums, gamma, beta, weight, bias, zH, zL, z, z_stride, pixels, parts, C: tl.constexpr,
                         Cp: tl.constexpr, D: tl.constexpr, Dp: tl.constexpr, GROUPS: tl.constexpr, PARTS: tl.constexpr,
                         EPS: tl.constexpr, BLOCK: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr):
    """The end of an L step: zL += weight LeakyReLU(GroupNorm(x)) + bias, z = zH + zL."""
    image, pixel = tl.program_id(1), pixels_of(tl.program_id(0), BLOCK)
    source, channel = tl.arange(0, Cp), tl.arange(0, Dp)
    first = image.to(tl.int64) * pixels
    value = read(x + first * C, C, pixel, pixels, source, C)
    value = normalised(value, sums, gamma, beta, image, pixels, parts, C, Cp, GROUPS, PARTS, EPS)
    matrix = tl.load(weight + source[:, None] * Dp + channel[None, :])
    low = read(zL + first * D, D, pixel, pixels, channel, D) + tl.load(bias + channel)[None, :]
    low += tl.dot(value.to(DOT), matrix, input_precision=PRECISION)
    write(zL + first * D, D, pixel, pixels, channel, D, low)
    high = read(zH + first * D, D, pixel, pixels, channel, D)
    write(z + first * z_stride, z_stride, pixel, pixels, channel, D, low + high)


# --- the same from Python ---

class GroupSums:
    """GroupNorm statistics of x (B, H, W, C), read once."""

    def __init__(self, x: Tensor, groups: int) -> None:
        B, H, W, self.C = x.shape
        self.groups, self.pixels = groups, H * W
        blocks = triton.cdiv(self.pixels, block(self.C))
        self.parts = min(PARTS, blocks)
        self.sums = torch.empty(B, groups, 3, self.parts, device=x.device, dtype=torch.float32)
        span = triton.cdiv(blocks, self.parts) * block(self.C)
        statistics_kernel[(self.parts, B)](x, self.sums, self.pixels, span, C=self.C, Cp=padded(self.C), GROUPS=groups,
                                           BLOCK=block(self.C))

    def settings(self, eps: float) -> dict:
        """What kernels that apply them are specialised for."""
        return {"C": self.C, "Cp": padded(self.C), "GROUPS": self.groups, "EPS": eps, "BLOCK": block(self.C),
                "PARTS": triton.next_power_of_2(self.parts)}


def norm_act(x: Tensor, groups: int, gamma: Tensor, beta: Tensor, eps: float, out: Tensor | None = None) -> Tensor:
    """LeakyReLU(GroupNorm(x)) of x (B, H, W, C) contiguous into `out`, some channels of a map; into x itself without it."""
    out = x if out is None else out
    s = GroupSums(x, groups)
    norm_act_kernel[(triton.cdiv(s.pixels, block(s.C)), len(x))](x, s.sums, gamma, beta, out, rows(out), s.pixels, s.parts,
                                                            **s.settings(eps))
    return out


def update_latent(x: Tensor, groups: int, gamma: Tensor, beta: Tensor, eps: float, weight: Tensor, bias: Tensor, zH: Tensor,
                  zL: Tensor, z: Tensor, precision: str) -> None:
    """zL += weight^T LeakyReLU(GroupNorm(x)) + bias, z = zH + zL. weight (Cp, Dp), bias (Dp,)."""
    s, D = GroupSums(x, groups), zL.shape[-1]
    update_latent_kernel[(triton.cdiv(s.pixels, block(s.C)), len(x))](
        x, s.sums, gamma, beta, weight, bias, zH, zL, z, rows(z), s.pixels, s.parts, D=D, Dp=padded(D),
        DOT=TRITON_TYPES[weight.dtype], PRECISION=precision, **s.settings(eps))
