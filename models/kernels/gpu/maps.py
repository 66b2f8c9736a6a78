"""GPU kernels (Triton) for what else lies between convolutions and Swin blocks: one pass over the pixels each.

Maps and letters as in norm.py.
"""
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from models.kernels.gpu.norm import block, padded, pixels_of, read, rows, write
from models.kernels.gpu.swin import TRITON_TYPES, layer_norm

GATHERED = 1024  # values of the result per program in kernels that read four for each

# --- between the levels of L ---

@triton.jit
def pool_kernel(x, stride, out, H, W, total, C: tl.constexpr, Cp: tl.constexpr, BLOCK: tl.constexpr):
    """out (B, H/2, W/2, C) = the maximum of 2 x 2 pixels of x (B, H, W, C); `total` pixels of out."""
    pixel, channel = pixels_of(tl.program_id(0), BLOCK), tl.arange(0, Cp)
    row, column = pixel // (W // 2), pixel % (W // 2)           # rows are counted through the batch: H is even
    corner = 2 * row * W + 2 * column
    upper = tl.maximum(read(x, stride, corner, total * 4, channel, C), read(x, stride, corner + 1, total * 4, channel, C))
    lower = tl.maximum(read(x, stride, corner + W, total * 4, channel, C),
                       read(x, stride, corner + W + 1, total * 4, channel, C))
    write(out, C, pixel, total, channel, C, tl.maximum(upper, lower))


@triton.jit
def upsample_kernel(x, stride, out, out_stride, H, W, total, C: tl.constexpr, Cp: tl.constexpr, BLOCK: tl.constexpr):
    """out (B, 2H, 2W, C): x (B, H, W, C) bilinear, corners aligned; `total` pixels of out."""
    pixel, channel = pixels_of(tl.program_id(0), BLOCK), tl.arange(0, Cp)
    column, row, image = pixel % (2 * W), pixel // (2 * W) % (2 * H), pixel // (4 * W * H)
    y, left = row * (H - 1) // (2 * H - 1), column * (W - 1) // (2 * W - 1)       # the source pixel, rounded down
    down = (row * (H - 1) % (2 * H - 1)).to(tl.float32) / (2 * H - 1)
    right = (column * (W - 1) % (2 * W - 1)).to(tl.float32) / (2 * W - 1)
    below, beside = tl.where(y < H - 1, W, 0), tl.where(left < W - 1, 1, 0)
    corner, count = (image * H + y) * W + left, total // 4
    corner = tl.where(pixel < total, corner, count)            # beyond the last pixel nothing is read
    upper = (read(x, stride, corner, count, channel, C) * (1 - right)[:, None]
             + read(x, stride, corner + beside, count, channel, C) * right[:, None])
    lower = (read(x, stride, corner + below, count, channel, C) * (1 - right)[:, None]
             + read(x, stride, corner + below + beside, count, channel, C) * right[:, None])
    write(out, out_stride, pixel, total, channel, C, upper * (1 - down)[:, None] + lower * down[:, None])


# --- around the Swin blocks of H ---

@triton.jit
def embed_kernel(x, stride, weight, bias, gamma, beta, out, total, D: tl.constexpr, Dp: tl.constexpr, EPS: tl.constexpr,
                 BLOCK: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr):
    """out = LayerNorm(weight x + bias)."""
    pixel, channel = pixels_of(tl.program_id(0), BLOCK), tl.arange(0, Dp)
    matrix = tl.load(weight + channel[:, None] * Dp + channel[None, :])
    value = tl.dot(read(x, stride, pixel, total, channel, D).to(DOT), matrix, input_precision=PRECISION)
    value += tl.load(bias + channel)[None, :]
    value = layer_norm(value, tl.load(gamma + channel), tl.load(beta + channel), D, EPS)
    write(out, D, pixel, total, channel, D, value)


@triton.jit
def residual_kernel(x, change, bias, gamma, beta, total, D: tl.constexpr, Dp: tl.constexpr, NORM: tl.constexpr,
                    EPS: tl.constexpr, BLOCK: tl.constexpr):
    """x += change + bias, then x = LayerNorm(x) where NORM."""
    pixel, channel = pixels_of(tl.program_id(0), BLOCK), tl.arange(0, Dp)
    value = read(x, D, pixel, total, channel, D) + read(change, D, pixel, total, channel, D) + tl.load(bias + channel)[None, :]
    if NORM:
        value = layer_norm(value, tl.load(gamma + channel), tl.load(beta + channel), D, EPS)
    write(x, D, pixel, total, channel, D, value)


@triton.jit
def replace_latent_kernel(change, bias, zH, zL, z, z_stride, total, D: tl.constexpr, Dp: tl.constexpr, BLOCK: tl.constexpr):
    """The end of an H step: zH = z + change + bias, z = zH + zL."""
    pixel, channel = pixels_of(tl.program_id(0), BLOCK), tl.arange(0, Dp)
    high = read(change, D, pixel, total, channel, D) + tl.load(bias + channel)[None, :]
    high += read(z, z_stride, pixel, total, channel, D)
    write(zH, D, pixel, total, channel, D, high)
    write(z, z_stride, pixel, total, channel, D, high + read(zL, D, pixel, total, channel, D))


@triton.jit
def head_kernel(x, weight, bias, out, pixels, D: tl.constexpr, Dp: tl.constexpr, TANH: tl.constexpr, BLOCK: tl.constexpr):
    """Image out (B, 3, H, W) float32 = tanh or sigmoid of weight x + bias."""
    image, channel, pixel = tl.program_id(1).to(tl.int64), tl.arange(0, Dp), pixels_of(tl.program_id(0), BLOCK)
    value = read(x + image * pixels * D, D, pixel, pixels, channel, D)
    for colour in tl.static_range(3):
        level = tl.sum(value * tl.load(weight + colour * Dp + channel)[None, :], 1) + tl.load(bias + colour)
        level = 2 * tl.sigmoid(2 * level) - 1 if TANH else tl.sigmoid(level)
        tl.store(out + (image * 3 + colour) * pixels + pixel, level, mask=pixel < pixels)


# --- the same from Python ---

def pool(x: Tensor) -> Tensor:
    """Largest of 2 x 2 pixels: some channels (B, H, W, C) of a map, H and W even -> (B, H/2, W/2, C)."""
    B, H, W, C = x.shape
    out = x.new_empty(B, H // 2, W // 2, C)
    total = B * H * W // 4
    size = block(C, GATHERED)
    pool_kernel[(triton.cdiv(total, size),)](x, rows(x), out, H, W, total, C=C, Cp=padded(C), BLOCK=size)
    return out


def upsample(x: Tensor, out: Tensor) -> None:
    """Bilinear, twice the size, corners aligned: (B, H, W, C) into (B, 2H, 2W, C), both some channels of maps."""
    B, H, W, C = x.shape
    total = 4 * B * H * W
    size = block(C, GATHERED)
    upsample_kernel[(triton.cdiv(total, size),)](x, rows(x), out, rows(out), H, W, total, C=C, Cp=padded(C), BLOCK=size)


def embed(x: Tensor, weight: Tensor, bias: Tensor, gamma: Tensor, beta: Tensor, eps: float, precision: str) -> Tensor:
    """LayerNorm(weight^T x + bias) of some channels x (B, H, W, D) of a map. weight (Dp, Dp), vectors (Dp,)."""
    D = x.shape[-1]
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    total = x.shape[:-1].numel()
    embed_kernel[(triton.cdiv(total, block(D)),)](x, rows(x), weight, bias, gamma, beta, out, total, D=D, Dp=padded(D), EPS=eps,
                                               BLOCK=block(D), DOT=TRITON_TYPES[weight.dtype], PRECISION=precision)
    return out


def add_residual(x: Tensor, change: Tensor, bias: Tensor, norm: tuple[Tensor, Tensor, float] | None = None) -> None:
    """x += change + bias, then LayerNorm where `norm` = (weight, bias, eps) is given. Vectors (Dp,)."""
    gamma, beta, eps = norm or (bias, bias, 0.0)
    D, total = x.shape[-1], x.shape[:-1].numel()
    residual_kernel[(triton.cdiv(total, block(D)),)](x, change, bias, gamma, beta, total, D=D, Dp=padded(D),
                                                     NORM=norm is not None, EPS=eps, BLOCK=block(D))


def replace_latent(change: Tensor, bias: Tensor, zH: Tensor, zL: Tensor, z: Tensor) -> None:
    """zH = z + change + bias, z = zH + zL. bias (Dp,)."""
    D, total = zH.shape[-1], zH.shape[:-1].numel()
    replace_latent_kernel[(triton.cdiv(total, block(D)),)](change, bias, zH, zL, z, rows(z), total, D=D, Dp=padded(D),
                                                           BLOCK=block(D))


def head(zH: Tensor, weight: Tensor, bias: Tensor, tanh: bool) -> Tensor:
    """zH (B, H, W, D) -> image (B, 3, H, W) float32 in the model's range. weight (3, Dp), bias (3,), float32."""
    B, H, W, D = zH.shape
    out = torch.empty(B, 3, H, W, device=zH.device)
    head_kernel[(triton.cdiv(H * W, block(D)), B)](zH, weight, bias, out, H * W, D=D, Dp=padded(D), TANH=tanh, BLOCK=block(D))
    return out
