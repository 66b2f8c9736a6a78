"""A Swin block with gradients in GPU kernels (Triton), for training: its input is all that is kept for the backward pass.

The forward is models/triton_swin.py. The backward kernel computes a window's forward again and goes back through it, all in
registers and shared memory. A program takes windows at a fixed distance and adds up the parameters' gradients in memory of its
own, which the L2 cache holds; one sum over the programs ends it: no atomics, equal bits in every run.

Letters as in models/triton_swin.py; g_x is the loss's gradient with respect to x.
"""
from __future__ import annotations

import math
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
    addresses,
    attention,
    layer_norm,
    mlp,
    packed,
    swin_block,
)

NAMES = ("qkv", "qkv_bias", "scale", "position_bias", "proj", "fc1", "fc1_bias", "fc2", "vectors")  # in this order everywhere
PROGRAMS = 264           # two for each multiprocessor of a large GPU; 0.1 MB of sums each
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
def unit_back(unit, rate, g):
    """Of unit_rows, unit = x * rate: -> g_x."""
    return (g - unit * tl.sum(g * unit, 1)[:, None]) * rate[:, None]


@triton.jit
def attention_back(x, g, qkv, qkv_bias, scale, position_bias, proj, g_qkv, g_qkv_bias, g_scale, g_position_bias, g_proj,
                   region, MASK: tl.constexpr, HEADS: tl.constexpr, dp: tl.constexpr, DOT: tl.constexpr,
                   PRECISION: tl.constexpr):
    """x (n, Dp) and g = gradient of the output, both of the type DOT -> g_x (n, Dp) float32."""
    n: tl.constexpr = x.shape[0]
    Dp: tl.constexpr = x.shape[1]
    token, head_channel, channel = tl.arange(0, n), tl.arange(0, dp), tl.arange(0, Dp)
    in_weight = channel[:, None] * dp + head_channel[None, :]
    out_weight = head_channel[:, None] * Dp + channel[None, :]
    pair = token[:, None] * n + token[None, :]
    x_t = tl.trans(x)
    g_x = tl.zeros((n, Dp), tl.float32)
    for h in range(HEADS):
        weights, biases = h * 3 * Dp * dp + in_weight, h * 3 * dp + head_channel
        w_q, w_k, w_v = (tl.load(qkv + weights), tl.load(qkv + weights + Dp * dp), tl.load(qkv + weights + 2 * Dp * dp))
        q = tl.dot(x, w_q, input_precision=PRECISION) + tl.load(qkv_bias + biases)[None, :]
        k = tl.dot(x, w_k, input_precision=PRECISION) + tl.load(qkv_bias + biases + dp)[None, :]
        v = (tl.dot(x, w_v, input_precision=PRECISION) + tl.load(qkv_bias + biases + 2 * dp)[None, :]).to(DOT)
        rate_q, rate_k = tl.rsqrt(tl.maximum(tl.sum(q * q, 1), 1e-24)), tl.rsqrt(tl.maximum(tl.sum(k * k, 1), 1e-24))
        q, k = q * rate_q[:, None], k * rate_k[:, None]
        factor = tl.load(scale + h)
        s = tl.dot(q.to(DOT), tl.trans(k.to(DOT)), input_precision=PRECISION)
        s = s * factor + tl.load(position_bias + h * n * n + pair)
        if MASK:
            s = tl.where(region[:, None] == region[None, :], s, s + MASKED_LOG2)
        p = tl.exp2(s - tl.max(s, 1)[:, None])
        p = p / tl.sum(p, 1)[:, None]
        o = tl.dot(p.to(DOT), v, input_precision=PRECISION)

        out = tl.load(proj + h * dp * Dp + out_weight)
        add(g_proj + h * dp * Dp + out_weight, tl.dot(tl.trans(o.to(DOT)), g, input_precision=PRECISION))
        g_o = tl.dot(g, tl.trans(out), input_precision=PRECISION).to(DOT)
        g_v = tl.dot(tl.trans(p.to(DOT)), g_o, input_precision=PRECISION)
        g_p = tl.dot(g_o, tl.trans(v), input_precision=PRECISION)
        g_s = p * (g_p - tl.sum(g_p * p, 1)[:, None]) * LN2                           # of s, which is in powers of two
        add(g_position_bias + h * n * n + pair, g_s)
        g_cosine = (g_s * factor).to(DOT)
        g_q = tl.dot(g_cosine, k.to(DOT), input_precision=PRECISION)
        add(g_scale + h, tl.sum(g_q * q) / factor)
        g_q = unit_back(q, rate_q, g_q)
        g_k = unit_back(k, rate_k, tl.dot(tl.trans(g_cosine), q.to(DOT), input_precision=PRECISION))

        add(g_qkv_bias + biases, tl.sum(g_q, 0))
        add(g_qkv_bias + biases + dp, tl.sum(g_k, 0))
        add(g_qkv_bias + biases + 2 * dp, tl.sum(g_v, 0))
        g_q, g_k, g_v = g_q.to(DOT), g_k.to(DOT), g_v.to(DOT)
        add(g_qkv + weights, tl.dot(x_t, g_q, input_precision=PRECISION))
        add(g_qkv + weights + Dp * dp, tl.dot(x_t, g_k, input_precision=PRECISION))
        add(g_qkv + weights + 2 * Dp * dp, tl.dot(x_t, g_v, input_precision=PRECISION))
        g_x += tl.dot(g_q, tl.trans(w_q), input_precision=PRECISION)
        g_x += tl.dot(g_k, tl.trans(w_k), input_precision=PRECISION)
        g_x += tl.dot(g_v, tl.trans(w_v), input_precision=PRECISION)
    return g_x


@triton.jit
def swin_block_gradient_kernel(x, g_y, g_x, qkv, qkv_bias, scale, position_bias, proj, fc1, fc1_bias, fc2, vectors, sums,
                               windows, H, W, SHIFT: tl.constexpr, w: tl.constexpr, D: tl.constexpr, Dp: tl.constexpr,
                               HEADS: tl.constexpr, dp: tl.constexpr, HIDDEN: tl.constexpr, EPS: tl.constexpr,
                               DOT: tl.constexpr, PRECISION: tl.constexpr):
    """g_x from g_y, both (B, H, W, D); the parameters' gradients added to sums (programs, size), in the order of NAMES."""
    n: tl.constexpr = w * w
    size: tl.constexpr = HEADS * (4 * Dp * dp + 3 * dp + 1 + n * n) + HIDDEN * (2 * Dp + 1) + 6 * Dp
    g_qkv = sums + tl.program_id(0) * size
    g_qkv_bias = g_qkv + HEADS * 3 * Dp * dp
    g_scale = g_qkv_bias + HEADS * 3 * dp
    g_position_bias = g_scale + HEADS
    g_proj = g_position_bias + HEADS * n * n
    g_fc1 = g_proj + HEADS * dp * Dp
    g_fc1_bias = g_fc1 + Dp * HIDDEN
    g_fc2 = g_fc1_bias + HIDDEN
    channel = tl.arange(0, Dp)
    g_vectors = g_fc2 + HIDDEN * Dp + channel
    inside = (channel < D)[None, :]
    proj_bias, gamma1, beta1 = tl.load(vectors + channel), tl.load(vectors + Dp + channel), tl.load(vectors + 2 * Dp + channel)
    fc2_bias, gamma2 = tl.load(vectors + 3 * Dp + channel), tl.load(vectors + 4 * Dp + channel)
    for window in range(tl.program_id(0), windows, tl.num_programs(0)):
        offset, region = addresses(window, H, W, SHIFT, w, D, Dp)
        tokens = tl.load(x + offset, mask=inside, other=0.0).to(tl.float32)
        attended = attention(tokens.to(DOT), qkv, qkv_bias, scale, position_bias, proj, region, SHIFT > 0, HEADS, dp, DOT,
                             PRECISION) + proj_bias[None, :]
        middle = (tokens + layer_norm(attended, gamma1, beta1, D, EPS)).to(DOT)
        changed = mlp(middle, fc1, fc1_bias, fc2, HIDDEN, DOT, PRECISION) + fc2_bias[None, :]

        g = tl.load(g_y + offset, mask=inside, other=0.0).to(tl.float32)
        g_changed, g_gamma = layer_norm_back(changed, gamma2, g, D, EPS)
        add(g_vectors + 3 * Dp, tl.sum(g_changed, 0))
        add(g_vectors + 4 * Dp, tl.sum(g_gamma, 0))
        add(g_vectors + 5 * Dp, tl.sum(g, 0))
        g += mlp_back(middle, g_changed.to(DOT), fc1, fc1_bias, fc2, g_fc1, g_fc1_bias, g_fc2, HIDDEN, DOT, PRECISION)
        g_attended, g_gamma = layer_norm_back(attended, gamma1, g, D, EPS)
        add(g_vectors, tl.sum(g_attended, 0))
        add(g_vectors + Dp, tl.sum(g_gamma, 0))
        add(g_vectors + 2 * Dp, tl.sum(g, 0))
        g += attention_back(tokens.to(DOT), g_attended.to(DOT), qkv, qkv_bias, scale, position_bias, proj, g_qkv, g_qkv_bias,
                            g_scale, g_position_bias, g_proj, region, SHIFT > 0, HEADS, dp, DOT, PRECISION)
        tl.store(g_x + offset, g.to(g_x.dtype.element_ty), mask=inside)


def block_gradients(x: Tensor, g_y: Tensor, weights: SwinBlockWeights, precision: str) -> list[Tensor]:
    """g_x and the gradients of the tensors of `packed`, in the order of NAMES, float32."""
    t, (B, H, W, D) = weights, x.shape
    windows = B * (H // t.window) * (W // t.window)
    tensors = [getattr(t, name) for name in NAMES]
    sizes = [tensor.numel() for tensor in tensors]
    g_x, sums = torch.empty_like(x), torch.zeros(min(PROGRAMS, windows), sum(sizes), device=x.device)
    swin_block_gradient_kernel[(len(sums),)](
        x, g_y.contiguous(), g_x, *tensors, sums, windows, H, W, SHIFT=t.shift, w=t.window, D=D, Dp=t.vectors.shape[1],
        HEADS=len(t.scale), dp=t.qkv.shape[-1], HIDDEN=len(t.fc1_bias), EPS=t.eps, DOT=TRITON_TYPES[t.qkv.dtype],
        PRECISION=precision, num_warps=4, num_stages=1)
    return [g_x, *(part.view_as(tensor) for part, tensor in zip(sums.sum(0).split(sizes), tensors, strict=True))]


class FusedBlock(torch.autograd.Function):
    """(x (B, H, W, D), the shared settings, the tensors of `packed` in the order of NAMES) -> the block's output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, settings: dict[str, Any], precision: str, dot_dtype: torch.dtype,
                *tensors: Tensor) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x, *tensors)
        ctx.rest = settings, precision, dot_dtype
        return swin_block(x, ready(tensors, settings, dot_dtype), precision=precision)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g_y: Tensor) -> tuple[Tensor | None, ...]:
        x, *tensors = ctx.saved_tensors
        settings, precision, dot_dtype = ctx.rest
        g_x, *gradients = block_gradients(x, g_y, ready(tensors, settings, dot_dtype), precision)
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
