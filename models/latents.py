"""The latent maps: `State`, and what they start from, a normal(0, 1) cut to [-1, 1].

The draw hashes (seed, element) instead of taking numbers from a stream: a sample's latents depend on its own seed and size
alone, not on the batch it is in, the order, or the device.
"""
from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from models.kernels import fill_in_pieces

HASH_FACTOR = 0x45D9F3B
GOLDEN_RATIO = 0x9E3779B9 - 2**32  # as int32
EDGE = math.erf(1 / math.sqrt(2))  # probability of a normal variable to lie in [-1, 1]


class State(NamedTuple):
    """The latent maps that the recursion carries, (B, D, H, W) each."""

    zH: Tensor
    zL: Tensor

    def detach(self) -> State:
        return State(self.zH.detach(), self.zL.detach())


def hash32_(x: Tensor) -> Tensor:
    """Mix the bits of int32 values (products wrap around), in place."""
    for _ in range(2):
        x.bitwise_xor_((x >> 16).bitwise_and_(0xFFFF)).mul_(HASH_FACTOR)
    return x.bitwise_xor_((x >> 16).bitwise_and_(0xFFFF))


def truncated_normal(seeds: Tensor, size: int) -> Tensor:
    """(B,) integer seeds -> (B, size) float32, normal(0, 1) truncated to [-1, 1]; row b depends on seeds[b] alone."""
    seeds = seeds.to(torch.int64) & 0xFFFFFFFF
    key = hash32_(torch.where(seeds < 2**31, seeds, seeds - 2**32).to(torch.int32))[:, None]
    second = hash32_(key + GOLDEN_RATIO)

    def draw(element: Tensor, values: Tensor) -> None:
        bits = hash32_(hash32_(element + key).bitwise_xor_(second))     # (B, elements)
        bits = (bits >> 8).bitwise_and_(0xFFFFFF)                       # 24 bits: exact in float32
        uniform = bits.float().add_(0.5).mul_(2.0**-23).sub_(1)         # in (-1, 1)
        torch.mul(uniform.mul_(EDGE).erfinv_(), math.sqrt(2), out=values)

    out = torch.empty(seeds.shape[0], size, device=seeds.device)
    fill_in_pieces(out, draw)
    return out.clamp_(-1, 1)
