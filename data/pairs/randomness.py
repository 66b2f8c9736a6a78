"""Random streams that belong to a sample, not to a process: the same numbers on any rank, in any worker, in any order.

A stream is named by what it is for (seed, epoch, photo, ...). The name is hashed, so neighbouring names (epoch 1 and 2,
photo 7 and 8) give unrelated streams, which adding them up would not.
"""
from __future__ import annotations

import hashlib

import numpy as np


def stream_seed(*name: int | str) -> int:
    """A 128-bit whole number from `name`, the same on every machine (BLAKE2b; Python's `hash` differs per process)."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in name)
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=16).digest(), "little")


def stream(*name: int | str) -> np.random.Generator:
    """The random generator of `name`."""
    return np.random.Generator(np.random.PCG64(stream_seed(*name)))
