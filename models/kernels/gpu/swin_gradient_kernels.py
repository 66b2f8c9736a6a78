"""The backward pass of a Swin block in GPU kernels (Triton); swin_gradient.py launches them.

One goes through norms and MLP, pixel by pixel, one through the attention; its programs stay with one head and keep its sums,
for the position bias above all, in registers. A program takes blocks of pixels (windows) at a fixed distance; one sum over the
programs ends it: no atomics, equal bits in every run.

Letters as in swin.py; g_x is the loss's gradient with respect to x.
"""
from __future__ import annotations

import math

import triton
import triton.language as tl

from models.kernels.gpu.swin import MASKED_LOG2, layer_norm, pixels_of_window

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
