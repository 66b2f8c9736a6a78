"""A Swin block with gradients in GPU kernels (Triton), for training.

The forward is models/triton_swin.py; kept for the backward pass are its input and what its two norms read. Back go two
kernels: one through norms and MLP, pixel by pixel, and one through the attention, whose programs stay with one head and keep
its sums, for the position bias above all, in registers; the products that the attention's own matrices take are PyTorch's. A
program takes blocks of pixels (windows) at a fixed distance; one sum over the programs ends it: no atomics, equal bits in
every run.

Letters as in models/triton_swin.py; g_x is the loss's gradient with respect to x.
"""
from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from models.swin2sr import SwinBlock
from models.triton_swin import (
    MASKED_LOG2,
    MATRICES,
    TRITON_TYPES,
    SwinBlockWeights,
    layer_norm,
    packed,
    pad,
    pixels_of_window,
    swin_block,
)

NAMES = ("qkv", "qkv_bias", "scale", "position_bias", "proj", "fc1", "fc1_bias", "fc2", "vectors")  # in this order everywhere
PROGRAMS = 264           # two for each multiprocessor of a large GPU
PIXELS = 64              # of a block of the MLP's kernel
SWITCH = "DISABLE_MMA_V3"  # of Triton's compiler, which looks at it anew for every kernel
LN2 = tl.constexpr(math.log(2.0))


@triton.jit
def add(target, value):
    """target += value; only this program touches `target`."""
    tl.store(target, tl.load(target) + value)


@triton.jit
def layer_norm_back(x, gamma, g, D: tl.constexpr, EPS: tl.constexpr):
    """Of layer_norm: -> g_x (m, Dp), and what beta's and gamma's gradients are the column sums of: g, g * normalised x."""
    inside = (tl.arange(0, x.shape[1]) < D)[None, :]
    centred = tl.where(inside, x - (tl.sum(x, 1) / D)[:, None], 0.0)
    rate = tl.rsqrt(tl.sum(centred * centred, 1) / D + EPS)
    unit = centred * rate[:, None]
    scaled = g * gamma[None, :]
    back = scaled - (tl.sum(scaled, 1) / D)[:, None] - unit * (tl.sum(scaled * unit, 1) / D)[:, None]
    return tl.where(inside, back * rate[:, None], 0.0), g * unit


@triton.jit
def mlp_back(x, g, fc1, fc1_bias, fc2, g_fc1, g_fc1_bias, g_fc2, HIDDEN: tl.constexpr, DOT: tl.constexpr,
             PRECISION: tl.constexpr):
    """x (n, Dp) and g = gradient of the output, both of the type DOT -> g_x (n, Dp) float32."""
    Dp: tl.constexpr = x.shape[1]
    channel, part = tl.arange(0, Dp), tl.arange(0, 16)
    g_x = tl.zeros(x.shape, tl.float32)
    for start in range(0, HIDDEN, 16):
        at1 = channel[:, None] * HIDDEN + (start + part)[None, :]
        at2 = (start + part)[:, None] * Dp + channel[None, :]
        w1, w2 = tl.load(fc1 + at1), tl.load(fc2 + at2)
        a = tl.dot(x, w1, input_precision=PRECISION) + tl.load(fc1_bias + start + part)[None, :]
        below = 0.5 * (1.0 + tl.erf(a * 0.7071067811865476))                       # the normal distribution's integral
        g_a = tl.dot(g, tl.trans(w2), input_precision=PRECISION)
        add(g_fc2 + at2, tl.dot(tl.trans((a * below).to(DOT)), g, input_precision=PRECISION))
        g_a *= below + a * 0.3989422804014327 * tl.exp(-0.5 * a * a)
        add(g_fc1_bias + start + part, tl.sum(g_a, 0))
        add(g_fc1 + at1, tl.dot(tl.trans(x), g_a.to(DOT), input_precision=PRECISION))
        g_x += tl.dot(g_a.to(DOT), tl.trans(w1), input_precision=PRECISION)
    return g_x


@triton.jit
def mlp_gradient_kernel(x, attended, changed, g_y, g_attended, g_x, fc1, fc1_bias, fc2, vectors, sums, pixels,
                        D: tl.constexpr, Dp: tl.constexpr, HIDDEN: tl.constexpr, EPS: tl.constexpr, DOT: tl.constexpr,
                        PRECISION: tl.constexpr, BLOCK: tl.constexpr):
    """All but the attention: from g_y the gradients of its output and of x, past it; all maps (pixels, D).

    The parameters' gradients are added to sums (programs, size): fc1, fc1_bias, fc2, vectors.
    """
    size: tl.constexpr = HIDDEN * (2 * Dp + 1) + 6 * Dp
    g_fc1 = sums + tl.program_id(0) * size
    g_fc1_bias = g_fc1 + Dp * HIDDEN
    g_fc2 = g_fc1_bias + HIDDEN
    channel = tl.arange(0, Dp)
    gamma1, beta1, gamma2 = (tl.load(vectors + Dp + channel), tl.load(vectors + 2 * Dp + channel),
                             tl.load(vectors + 4 * Dp + channel))
    g_proj_bias, g_gamma1, g_beta1 = (tl.zeros((Dp,), tl.float32), tl.zeros((Dp,), tl.float32), tl.zeros((Dp,), tl.float32))
    g_fc2_bias, g_gamma2, g_beta2 = (tl.zeros((Dp,), tl.float32), tl.zeros((Dp,), tl.float32), tl.zeros((Dp,), tl.float32))
    for start in range(tl.program_id(0) * BLOCK, pixels, tl.num_programs(0) * BLOCK):
        pixel = start + tl.arange(0, BLOCK)
        inside = (pixel < pixels)[:, None] & (channel < D)[None, :]
        offset = pixel.to(tl.int64)[:, None] * D + channel[None, :]
        before = tl.load(attended + offset, mask=inside, other=0.0).to(tl.float32)
        middle = tl.load(x + offset, mask=inside, other=0.0).to(tl.float32) + layer_norm(before, gamma1, beta1, D, EPS)
        g = tl.load(g_y + offset, mask=inside, other=0.0).to(tl.float32)
        g_beta2 += tl.sum(g, 0)
        g_changed, along = layer_norm_back(tl.load(changed + offset, mask=inside, other=0.0).to(tl.float32), gamma2, g, D, EPS)
        g_gamma2 += tl.sum(along, 0)
        g_fc2_bias += tl.sum(g_changed, 0)
        g += mlp_back(middle.to(DOT), g_changed.to(DOT), fc1, fc1_bias, fc2, g_fc1, g_fc1_bias, g_fc2, HIDDEN, DOT, PRECISION)
        g_beta1 += tl.sum(g, 0)
        g_before, along = layer_norm_back(before, gamma1, g, D, EPS)
        g_gamma1 += tl.sum(along, 0)
        g_proj_bias += tl.sum(g_before, 0)
        tl.store(g_attended + offset, g_before.to(DOT), mask=inside)
        tl.store(g_x + offset, g.to(g_x.dtype.element_ty), mask=inside)
    g_vectors = g_fc2 + HIDDEN * Dp + channel
    tl.store(g_vectors, g_proj_bias)
    tl.store(g_vectors + Dp, g_gamma1)
    tl.store(g_vectors + 2 * Dp, g_beta1)
    tl.store(g_vectors + 3 * Dp, g_fc2_bias)
    tl.store(g_vectors + 4 * Dp, g_gamma2)
    tl.store(g_vectors + 5 * Dp, g_beta2)


@triton.jit
def unit_back(unit, rate, g):
    """Of unit_rows, unit = x * rate: -> g_x."""
    return (g - unit * tl.sum(g * unit, 1)[:, None]) * rate[:, None]


@triton.jit
def attention_gradient_kernel(x, g, g_qkv, attended, qkv, qkv_bias, scale, position_bias, proj, sums, windows, H, W,
                              SHIFT: tl.constexpr, w: tl.constexpr, D: tl.constexpr, Dp: tl.constexpr, HEADS: tl.constexpr,
                              dp: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr):
    """One head h: from g, the gradient of the projection's output, (B, H, W, D), those of q, k, v: g_qkv (B, H, W, h, 3, d).

    Also written: `attended` (B, H, W, h, d), which the projection reads, and to sums (programs, size) the gradients of
    qkv_bias, scale, position_bias.
    """
    n: tl.constexpr = w * w
    d: tl.constexpr = D // HEADS
    h = tl.program_id(1)
    token, head_channel, channel = tl.arange(0, n), tl.arange(0, dp), tl.arange(0, Dp)
    in_weight = h * 3 * Dp * dp + channel[:, None] * dp + head_channel[None, :]
    bias, pair = h * 3 * dp + head_channel, h * n * n + token[:, None] * n + token[None, :]
    w_q, w_k, w_v = tl.load(qkv + in_weight), tl.load(qkv + in_weight + Dp * dp), tl.load(qkv + in_weight + 2 * Dp * dp)
    b_q, b_k, b_v = tl.load(qkv_bias + bias), tl.load(qkv_bias + bias + dp), tl.load(qkv_bias + bias + 2 * dp)
    out, factor = tl.load(proj + h * dp * Dp + head_channel[:, None] * Dp + channel[None, :]), tl.load(scale + h)
    g_b_q, g_b_k, g_b_v = tl.zeros((dp,), tl.float32), tl.zeros((dp,), tl.float32), tl.zeros((dp,), tl.float32)
    g_pair, g_factor = tl.zeros((n, n), tl.float32), 0.0
    inside, of_head = (channel < D)[None, :], (head_channel < d)[None, :]
    for window in range(tl.program_id(0), windows, tl.num_programs(0)):
        pixel, region = pixels_of_window(window, H, W, SHIFT, w)
        offset = pixel[:, None] * D + channel[None, :]
        tokens = tl.load(x + offset, mask=inside, other=0.0).to(DOT)
        g_o = tl.dot(tl.load(g + offset, mask=inside, other=0.0), tl.trans(out), input_precision=PRECISION)
        q = tl.dot(tokens, w_q, input_precision=PRECISION) + b_q[None, :]
        k = tl.dot(tokens, w_k, input_precision=PRECISION) + b_k[None, :]
        v = (tl.dot(tokens, w_v, input_precision=PRECISION) + b_v[None, :]).to(DOT)
        rate_q, rate_k = tl.rsqrt(tl.maximum(tl.sum(q * q, 1), 1e-24)), tl.rsqrt(tl.maximum(tl.sum(k * k, 1), 1e-24))
        q, k = q * rate_q[:, None], k * rate_k[:, None]
        s = tl.dot(q.to(DOT), tl.trans(k.to(DOT)), input_precision=PRECISION) * factor + tl.load(position_bias + pair)
        if SHIFT > 0:
            s = tl.where(region[:, None] == region[None, :], s, s + MASKED_LOG2)
        p = tl.exp2(s - tl.max(s, 1)[:, None])
        p = p / tl.sum(p, 1)[:, None]
        o = tl.dot(p.to(DOT), v, input_precision=PRECISION)
        tl.store(attended + pixel[:, None] * D + h * d + head_channel[None, :], o.to(DOT), mask=of_head)

        g_o = g_o.to(DOT)
        g_v = tl.dot(tl.trans(p.to(DOT)), g_o, input_precision=PRECISION)
        g_p = tl.dot(g_o, tl.trans(v), input_precision=PRECISION)
        g_s = p * (g_p - tl.sum(g_p * p, 1)[:, None]) * LN2                          # s is in powers of two
        g_pair += g_s
        g_s = (g_s * factor).to(DOT)
        g_q = tl.dot(g_s, k.to(DOT), input_precision=PRECISION)
        g_factor += tl.sum(g_q * q) / factor
        g_k = unit_back(k, rate_k, tl.dot(tl.trans(g_s), q.to(DOT), input_precision=PRECISION))
        g_q = unit_back(q, rate_q, g_q)
        g_b_q += tl.sum(g_q, 0)
        g_b_k += tl.sum(g_k, 0)
        g_b_v += tl.sum(g_v, 0)
        of_pixel = g_qkv + pixel[:, None] * (3 * D) + h * (3 * d) + head_channel[None, :]
        tl.store(of_pixel, g_q.to(DOT), mask=of_head)
        tl.store(of_pixel + d, g_k.to(DOT), mask=of_head)
        tl.store(of_pixel + 2 * d, g_v.to(DOT), mask=of_head)
    sums += tl.program_id(0) * HEADS * (3 * dp + 1 + n * n)
    tl.store(sums + bias, g_b_q)
    tl.store(sums + bias + dp, g_b_k)
    tl.store(sums + bias + 2 * dp, g_b_v)
    tl.store(sums + HEADS * 3 * dp + h, g_factor)
    tl.store(sums + HEADS * (3 * dp + 1) + pair, g_pair)


def block_gradients(x: Tensor, g_y: Tensor, kept: tuple[Tensor, Tensor], weights: SwinBlockWeights,
                    precision: str) -> list[Tensor]:
    """g_x and the gradients of the tensors of `packed`, in the order of NAMES, float32. kept: see swin_block."""
    t, (B, H, W, D), heads = weights, x.shape, len(weights.scale)
    windows, pixels, d = B * (H // t.window) * (W // t.window), B * H * W, D // heads
    Dp, dp, dot_dtype = t.vectors.shape[1], t.qkv.shape[-1], t.qkv.dtype
    common = {"D": D, "Dp": Dp, "DOT": TRITON_TYPES[dot_dtype], "PRECISION": precision}

    past, g_attention = torch.empty_like(x), torch.empty_like(x, dtype=dot_dtype)
    by_mlp = [t.fc1, t.fc1_bias, t.fc2, t.vectors]
    sums = torch.zeros(min(PROGRAMS, triton.cdiv(pixels, PIXELS)), sum(p.numel() for p in by_mlp), device=x.device)
    mlp_gradient_kernel[(len(sums),)](
        x, *kept, g_y.contiguous(), g_attention, past, *by_mlp, sums, pixels, HIDDEN=len(t.fc1_bias), EPS=t.eps, BLOCK=PIXELS,
        **common, num_warps=4, num_stages=1)
    g_mlp = split_like(sums, by_mlp)

    g_qkv, attended = x.new_empty(pixels, 3 * D, dtype=dot_dtype), x.new_empty(pixels, D, dtype=dot_dtype)
    by_attention = [t.qkv_bias, t.scale, t.position_bias]
    sums = torch.empty(min(max(PROGRAMS // heads, 1), windows), sum(p.numel() for p in by_attention), device=x.device)
    with without_warp_group_products():
        attention_gradient_kernel[(len(sums), heads)](
            x, g_attention, g_qkv, attended, t.qkv, *by_attention, t.proj, sums, windows, H, W, SHIFT=t.shift, w=t.window,
            HEADS=heads, dp=dp, **common, num_warps=4, num_stages=1)
    weight = t.qkv[:, :, :D, :d].transpose(2, 3).reshape(3 * D, D)
    g_weight = (g_qkv.t() @ x.view(pixels, D).to(dot_dtype)).view(heads, 3, d, D).transpose(2, 3)
    g_proj = (attended.t() @ g_attention.view(pixels, D)).view(heads, d, D)
    return [past.add_((g_qkv @ weight).view_as(x)), pad(g_weight, Dp, dp).float(), *split_like(sums, by_attention),
            pad(g_proj, dp, Dp).float(), *g_mlp]


@contextlib.contextmanager
def without_warp_group_products() -> Iterator[None]:
    """What is compiled here multiplies as on GPUs before Hopper: a warp's products instead of those of four warps together.

    With the latter, Triton 3.6 made an attention kernel that read outside its memory in bfloat16 (on an H200, where the same
    kernel was right with the former and in float32).
    """
    before = os.environ.get(SWITCH)
    os.environ[SWITCH] = "1"
    try:
        yield
    finally:
        os.environ.pop(SWITCH) if before is None else os.environ.update({SWITCH: before})


def split_like(sums: Tensor, tensors: list[Tensor]) -> list[Tensor]:
    """The programs' sums together, as tensors of these shapes."""
    parts = sums.sum(0).split([tensor.numel() for tensor in tensors])
    return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]


class FusedBlock(torch.autograd.Function):
    """(x (B, H, W, D), the shared settings, the tensors of `packed` in the order of NAMES) -> the block's output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, settings: dict[str, Any], precision: str, dot_dtype: torch.dtype,
                *tensors: Tensor) -> Tensor:
        x = x.contiguous()
        kept = torch.empty_like(x, dtype=dot_dtype), torch.empty_like(x, dtype=dot_dtype)
        ctx.save_for_backward(x, *kept, *tensors)
        ctx.rest = settings, precision, dot_dtype
        return swin_block(x, ready(tensors, settings, dot_dtype), precision=precision, kept=kept)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g_y: Tensor) -> tuple[Tensor | None, ...]:
        x, attended, changed, *tensors = ctx.saved_tensors
        settings, precision, dot_dtype = ctx.rest
        weights = ready(tensors, settings, dot_dtype)
        g_x, *gradients = block_gradients(x, g_y, (attended, changed), weights, precision)
        return g_x, None, None, None, *gradients


def ready(tensors: Any, settings: dict[str, Any], dot_dtype: torch.dtype) -> SwinBlockWeights:
    """As the kernels read them."""
    named = dict(zip(NAMES, tensors, strict=True))
    return SwinBlockWeights(**{name: t.to(dot_dtype) if name in MATRICES else t for name, t in named.items()}, **settings)


def fused_block(block: SwinBlock, x: Tensor, dot_dtype: torch.dtype, precision: str = "ieee") -> Tensor:
    """The block on x (B, H, W, D), with gradients of x and of the parameters. Products in `dot_dtype`, maps in x's type."""
    tensors = packed(block)
    settings = {"window": block.attn.window, "shift": block.shift, "dim": x.shape[-1], "eps": block.norm1.eps}
    return FusedBlock.apply(x, settings, precision, dot_dtype, *(tensors[name] for name in NAMES))
