"""Photos of one size that go through the network together: a GPU is not busy with a single small one."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from engine.background import interruptible
from engine.device import PRECISIONS, autocast_dtype
from engine.enhancing import enhancement
from engine.enhancing.enhancer import Enhancer
from engine.enhancing.pictures import to_array, to_batch

GPU_MEGAPIXELS = 2.0  # in a batch on a GPU, by default; a CPU is as fast with one photo at a time, in less memory


@dataclass(frozen=True)
class Batches:
    """Photos of one size and type, up to `pixels` pixels in all, for `enhance`."""

    enhancer: Enhancer
    pixels: float

    def enhance(self, pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Pictures (H, W, 3), all uint8 or all uint16 and of one size -> what the enhancer makes of each.

        Raises what an Enhancer raises, for all of them.
        """
        return interruptible(self._enhance, pictures)

    def _enhance(self, pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
        kind, device = pictures[0].dtype, self.enhancer.device
        batch = torch.cat([to_batch(picture, device) for picture in pictures])          # (B, 3, H, W)
        dtype = autocast_dtype(self.enhancer.settings.precision, device, eight_bit=kind == np.uint8)
        precision = next(name for name, known in PRECISIONS.items() if known == dtype)
        bright = enhancement.enhance(self.enhancer.model, batch, **{**self.enhancer.options(), "precision": precision})
        return [to_array(bright[number : number + 1], kind) for number in range(len(pictures))]


def batches_of(enhancer: Enhancer, megapixels: float | None) -> Batches | None:
    """Of so many megapixels; None: GPU_MEGAPIXELS on a GPU. 0, and None on a CPU: one photo at a time."""
    if megapixels is None:
        megapixels = 0 if enhancer.device.type == "cpu" else GPU_MEGAPIXELS
    return Batches(enhancer, megapixels * 1e6) if megapixels else None
