"""The latent maps: `State`, and what they start from, a normal(0, 1) cut to [-1, 1].

The draw hashes (seed, element) instead of taking numbers from a stream: a sample's latents depend on its own seed and size
alone, not on the batch it is in, the order, or the device.
"""
from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

MASK32 = 0xFFFFFFFF
HASH_FACTOR = 0x45D9F3B           # odd and below 2^31, so that products of 32-bit numbers fit into int64
EDGE = math.erf(1 / math.sqrt(2))  # probability of a normal variable to lie in [-1, 1]
CHUNK = 1 << 22                   # elements hashed at once: bounds the memory of the integer intermediates


class State(NamedTuple):
    """The latent maps that the recursion carries, (B, D, H, W) each."""

    zH: Tensor
    zL: Tensor

    def detach(self) -> State:
        return State(self.zH.detach(), self.zL.detach())


def hash32(x: Tensor) -> Tensor:
    """Mix the bits of int64 values in [0, 2^32); the result is in the same range."""
    for _ in range(2):
        x = ((x >> 16) ^ x) * HASH_FACTOR & MASK32
    return (x >> 16) ^ x


def truncated_normal(seeds: Tensor, size: int) -> Tensor:
    """(B,) int64 seeds -> (B, size) float32, normal(0, 1) truncated to [-1, 1]; row b depends on seeds[b] alone."""
    key = hash32(seeds & MASK32)[:, None]
    second = hash32((key + 0x9E3779B9) & MASK32)
    out = torch.empty(seeds.shape[0], size, device=seeds.device)
    step = max(CHUNK // max(seeds.shape[0], 1), 1)
    for start in range(0, size, step):
        counter = torch.arange(start, min(start + step, size), device=seeds.device)
        bits = hash32(hash32((counter + key) & MASK32) ^ second) >> 8           # 24 bits: exact in float32
        uniform = (bits.float() + 0.5) * 2.0**-23 - 1                           # in (-1, 1)
        out[:, start : start + step] = torch.erfinv(uniform * EDGE) * math.sqrt(2)
    return out.clamp_(-1, 1)
