"""A whole SwinV2 block in one GPU kernel (Triton), forward only: a window is read once, and written once.

    x <- x + LN1(attention(x));  x <- x + LN2(mlp(x))         (models/swin2sr.py has the formulas)

A program takes one window of w x w pixels. Its n = w*w tokens of D channels, the n x n similarities of one head and the
results stay in registers and shared memory; the weights and the position bias (h, n, n), the same for all windows, come
from the caches. Windows of the shifted grid wrap around the edges by addressing; where that joins strangers (in the last
row and column of windows), pixels of different regions are told apart by number, so that no mask is stored anywhere.

Memory and multiply-adds per pixel, D = 24, w = 8, h = 4: 4 D bytes in bf16 (read and written once), 20.5 k as padded for
the matrix units (D to 32, D/h = 6 to 16), 8.6 k of them useful.

Letters: B batch, H W height and width, D channels, h heads, d = D/h; dp and Dp: d and D padded for the matrix units.
"""
from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from models.kernels.contract import EPS, BlockSizes

LOG2E = math.log2(math.e)  # softmax is computed with powers of two: similarities come multiplied by this
LANE = 16                  # the matrix units' smallest side that every type and architecture has
WARPS, STAGES = 4, 2       # warps per window, loads in flight; benchmarks/gpu_check times others
MASKED_LOG2 = tl.constexpr(-100.0 * LOG2E)  # added between pixels that were not neighbours before the cyclic shift


@triton.jit
def layer_norm(x, gamma, beta, D: tl.constexpr, EPS: tl.constexpr):
    """LayerNorm of the rows of x (m, Dp), whose columns from D on are 0 and stay it."""
    inside = (tl.arange(0, x.shape[1]) < D)[None, :]
    mean = tl.sum(x, 1) / D
    centred = tl.where(inside, x - mean[:, None], 0.0)
    scale = tl.rsqrt(tl.sum(centred * centred, 1) / D + EPS)
    return centred * scale[:, None] * gamma[None, :] + beta[None, :]


@triton.jit
def unit_rows(x):
    """Each row over its Euclidean length (torch.nn.functional.normalize)."""
    return x * tl.rsqrt(tl.maximum(tl.sum(x * x, 1), 1e-24))[:, None]


@triton.jit
def attention(x, qkv, qkv_bias, scale, position_bias, proj, region, MASK: tl.constexpr, HEADS: tl.constexpr,
              dp: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr):
    """x (n, Dp) of the type DOT -> (n, Dp) float32: cosine attention and projection, without the projection's bias."""
    n: tl.constexpr = x.shape[0]
    Dp: tl.constexpr = x.shape[1]
    token, head_channel, channel = tl.arange(0, n), tl.arange(0, dp), tl.arange(0, Dp)
    in_weight = channel[:, None] * dp + head_channel[None, :]
    out_weight = head_channel[:, None] * Dp + channel[None, :]
    pair = token[:, None] * n + token[None, :]
    out = tl.zeros((n, Dp), tl.float32)
    for h in range(HEADS):
        w, b = qkv + h * 3 * Dp * dp + in_weight, qkv_bias + h * 3 * dp + head_channel
        q = tl.dot(x, tl.load(w), input_precision=PRECISION) + tl.load(b)[None, :]
        k = tl.dot(x, tl.load(w + Dp * dp), input_precision=PRECISION) + tl.load(b + dp)[None, :]
        v = tl.dot(x, tl.load(w + 2 * Dp * dp), input_precision=PRECISION) + tl.load(b + 2 * dp)[None, :]
        s = tl.dot(unit_rows(q).to(DOT), tl.trans(unit_rows(k).to(DOT)), input_precision=PRECISION)
        s = s * tl.load(scale + h) + tl.load(position_bias + h * n * n + pair)
        if MASK:
            s = tl.where(region[:, None] == region[None, :], s, s + MASKED_LOG2)
        p = tl.exp2(s - tl.max(s, 1)[:, None])
        o = tl.dot(p.to(DOT), v.to(DOT), input_precision=PRECISION) / tl.sum(p, 1)[:, None]
        out += tl.dot(o.to(DOT), tl.load(proj + h * dp * Dp + out_weight), input_precision=PRECISION)
    return out


@triton.jit
def mlp(x, fc1, fc1_bias, fc2, HIDDEN: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr):
    """x (n, Dp) of the type DOT -> (n, Dp) float32: Linear, GELU, Linear without its bias; 16 hidden channels at a time."""
    Dp: tl.constexpr = x.shape[1]
    channel, part = tl.arange(0, Dp), tl.arange(0, 16)
    out = tl.zeros(x.shape, tl.float32)
    for start in range(0, HIDDEN, 16):
        w1 = tl.load(fc1 + channel[:, None] * HIDDEN + (start + part)[None, :])
        a = tl.dot(x, w1, input_precision=PRECISION) + tl.load(fc1_bias + start + part)[None, :]
        a = 0.5 * a * (1.0 + tl.erf(a * 0.7071067811865476))
        w2 = tl.load(fc2 + (start + part)[:, None] * Dp + channel[None, :])
        out += tl.dot(a.to(DOT), w2, input_precision=PRECISION)
    return out


@triton.jit
def pixels_of_window(window, H, W, SHIFT: tl.constexpr, w: tl.constexpr):
    """Of a window's tokens: the pixel of a map that each is, (n,) int64, and the number of the region that it lies in, (n,)."""
    across, down = W // w, H // w
    row, column = window // across % down, window % across
    token = tl.arange(0, w * w)
    y, left = row * w + token // w + SHIFT, column * w + token % w + SHIFT
    y, left = tl.where(y < H, y, y - H), tl.where(left < W, left, left - W)
    pixel = ((window // (across * down)).to(tl.int64) * H + y) * W + left
    came_around_y = (row == down - 1) & (token // w >= w - SHIFT)
    came_around_x = (column == across - 1) & (token % w >= w - SHIFT)
    return pixel, came_around_y.to(tl.int32) * 2 + came_around_x.to(tl.int32)


@triton.jit
def swin_block_kernel(x, out, attended_out, changed_out, qkv, qkv_bias, scale, position_bias, proj, fc1, fc1_bias, fc2,
                      vectors, H, W, SHIFT: tl.constexpr, w: tl.constexpr, D: tl.constexpr, Dp: tl.constexpr,
                      HEADS: tl.constexpr, dp: tl.constexpr, HIDDEN: tl.constexpr, EPS: tl.constexpr, DOT: tl.constexpr,
                      PRECISION: tl.constexpr, KEEP: tl.constexpr):
    """One window of x (B, H, W, D) into `out`, which may be x: windows share no pixel. KEEP: what the norms read, too."""
    window = tl.program_id(0)
    channel = tl.arange(0, Dp)
    pixel, region = pixels_of_window(window, H, W, SHIFT, w)
    offset = pixel[:, None] * D + channel[None, :]
    inside = (channel < D)[None, :]
    proj_bias, gamma1, beta1 = tl.load(vectors + channel), tl.load(vectors + Dp + channel), tl.load(vectors + 2 * Dp + channel)
    tokens = tl.load(x + offset, mask=inside, other=0.0).to(tl.float32)                        # (n, Dp)
    attended = attention(tokens.to(DOT), qkv, qkv_bias, scale, position_bias, proj, region, SHIFT > 0, HEADS, dp, DOT,
                         PRECISION) + proj_bias[None, :]
    if KEEP:
        tl.store(attended_out + offset, attended.to(DOT), mask=inside)
    tokens += layer_norm(attended, gamma1, beta1, D, EPS)
    fc2_bias, gamma2, beta2 = (tl.load(vectors + 3 * Dp + channel), tl.load(vectors + 4 * Dp + channel),
                               tl.load(vectors + 5 * Dp + channel))
    changed = mlp(tokens.to(DOT), fc1, fc1_bias, fc2, HIDDEN, DOT, PRECISION) + fc2_bias[None, :]
    if KEEP:
        tl.store(changed_out + offset, changed.to(DOT), mask=inside)
    tokens += layer_norm(changed, gamma2, beta2, D, EPS)
    tl.store(out + offset, tokens.to(out.dtype.element_ty), mask=inside)


TRITON_TYPES = {torch.float32: tl.float32, torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}


def pad(tensor: Tensor, *sizes: int) -> Tensor:
    """Zeros after the ends of the last dimensions, up to `sizes`."""
    widths = [width for size, length in zip(sizes[::-1], tuple(tensor.shape)[::-1], strict=False)
              for width in (0, size - length)]
    return torch.nn.functional.pad(tensor, widths)


@dataclass(frozen=True)
class SwinBlockWeights:
    """A block's parameters as the kernel reads them; padding is zeros. Matrices are of the matrix units' type."""

    qkv: Tensor            # (h, 3, Dp, dp): a head's query, key and value weights
    qkv_bias: Tensor       # (h, 3, dp) float32
    scale: Tensor          # (h,) float32: of the similarities, times log2 e
    position_bias: Tensor  # (h, n, n) float32, times log2 e
    proj: Tensor           # (h, dp, Dp)
    fc1: Tensor            # (Dp, hidden)
    fc1_bias: Tensor       # (hidden,) float32
    fc2: Tensor            # (hidden, Dp)
    vectors: Tensor        # (6, Dp) float32: proj bias, norm1 weight and bias, fc2 bias, norm2 weight and bias
    sizes: BlockSizes

    @classmethod
    @torch.no_grad()
    def of(cls, tensors: Mapping[str, Tensor], sizes: BlockSizes, dot_dtype: torch.dtype) -> SwinBlockWeights:
        """Pack the tensors of a block whose sizes are `supported`."""
        own = packed(tensors, sizes)
        for name in MATRICES:
            own[name] = own[name].to(dot_dtype)
        return cls(**own, sizes=sizes)


MATRICES = ("qkv", "proj", "fc1", "fc2")


def packed(t: Mapping[str, Tensor], sizes: BlockSizes) -> dict[str, Tensor]:
    """The tensors of SwinBlockWeights, float32, differentiable. t: as of `contract.Block`."""
    h, D = sizes.heads, sizes.dim
    d, Dp = D // h, max(triton.next_power_of_2(D), LANE)
    dp = max(triton.next_power_of_2(d), LANE)
    hidden = -(-sizes.hidden // LANE) * LANE
    q_bias = t["attn.q_bias"]
    qkv_bias = torch.stack([q_bias, torch.zeros_like(q_bias), t["attn.v_bias"]]).view(3, h, d).transpose(0, 1)
    vectors = torch.stack([t[name] for name in ("attn.proj.bias", "norm1.weight", "norm1.bias", "mlp.fc2.bias", "norm2.weight",
                                                "norm2.bias")])
    own = {
        "qkv": pad(t["attn.qkv.weight"].view(3, h, d, D).permute(1, 0, 3, 2), Dp, dp),
        "qkv_bias": pad(qkv_bias, dp),
        "scale": t["attn.similarity_scale"].flatten() * LOG2E,
        "position_bias": t["attn.position_bias"][0] * LOG2E,
        "proj": pad(t["attn.proj.weight"].view(D, h, d).permute(1, 2, 0), dp, Dp),
        "fc1": pad(t["mlp.fc1.weight"].t(), Dp, hidden), "fc1_bias": pad(t["mlp.fc1.bias"], hidden),
        "fc2": pad(t["mlp.fc2.weight"].t(), hidden, Dp),
        "vectors": pad(vectors, Dp)}
    return {name: tensor.float().contiguous() for name, tensor in own.items()}


def supported(sizes: BlockSizes) -> bool:
    """Whether the kernel knows blocks of these sizes: the window must fit into registers, n be a power of two."""
    return sizes.window in (4, 8) and sizes.dim % sizes.heads == 0 and sizes.dim <= 64 and sizes.hidden <= 256


def swin_block(x: Tensor, weights: SwinBlockWeights, out: Tensor | None = None, *, precision: str = "ieee",
               kept: tuple[Tensor, Tensor] | None = None, warps: int = WARPS, stages: int = STAGES) -> Tensor:
    """x (B, H, W, D) contiguous, H and W multiples of w -> the block's output in `out` (new unless given; may be x itself).

    x is float32, bfloat16 or float16; sums are float32 in all of them. precision: of float32 products, "ieee" or "tf32"
    (also "tf32x3": three of these, nearly exact). kept: maps like x, of the matrices' type, for attention(x) and mlp(x) as
    they are before their norms.
    Raises ValueError for other shapes.
    """
    B, H, W, D = x.shape
    w, dim = weights.sizes.window, weights.sizes.dim
    if H % w or W % w or dim != D or not x.is_contiguous():
        raise ValueError(f"x {tuple(x.shape)} with strides {x.stride()}; expected contiguous (B, H, W, {dim}), H and W "
                         f"multiples of {w}")
    out = torch.empty_like(x) if out is None else out
    t = weights
    swin_block_kernel[(B * (H // w) * (W // w),)](
        x, out, *(kept or (out, out)), t.qkv, t.qkv_bias, t.scale, t.position_bias, t.proj, t.fc1, t.fc1_bias, t.fc2,
        t.vectors, H, W,
        SHIFT=t.sizes.shift, w=w, D=D, Dp=t.vectors.shape[1], HEADS=len(t.scale), dp=t.qkv.shape[-1],
        HIDDEN=len(t.fc1_bias), EPS=EPS, DOT=TRITON_TYPES[t.qkv.dtype], PRECISION=precision, KEEP=kept is not None,
        num_warps=warps, num_stages=stages)
    return out
