"""Attention with a bias in portions that PyTorch's fused kernels take."""
from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

MAX_WINDOWS = 65535  # in one call of fused attention: a CUDA grid has no more


def attention_in_portions(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, multiple: int) -> Tensor:
    """softmax(q k^T + bias) v; q, k, v (..., h, n, d), bias (h, n, n) -> (..., h, n, d).

    multiple: numbers per head are made multiples of this; zeros behind the others change nothing.
    """
    if q.shape[:-3].numel() == 0:
        return q
    shape, d = q.shape, q.shape[-1]
    if padding := -d % multiple:
        q, k, v = (F.pad(t, (0, padding)) for t in (q, k, v))
    windows = [t.flatten(0, -4).split(MAX_WINDOWS) for t in (q, k, v)]
    out = [F.scaled_dot_product_attention(a, b, c, attn_mask=bias[None], scale=1.0) for a, b, c in zip(*windows, strict=True)]
    return torch.cat(out)[..., :d].reshape(shape) if len(out) > 1 else out[0][..., :d].reshape(shape)
