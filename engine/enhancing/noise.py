"""How much noise a photo has, estimated from the photo alone."""
from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.enhancing.pictures import luma_of, rows_of, size_of

BLOCK = 16               # side in pixels of the blocks that are looked at
STRIPES = 32             # at most so many rows of blocks, spread over the photo: a large one has enough of them
FLATTEST = 0.2           # share of the blocks that are taken for flat: what varies there is noise
ROUNDING = 1 / 255 / 12**0.5   # standard deviation of the rounding to 8 bits: no photo is taken for better
CLIPPED = (1.5 / 255, 250 / 255)  # blocks with a mean luma below or above show no noise because they are cut off
KERNEL = ((1.0, -2.0, 1.0), (-2.0, 4.0, -2.0), (1.0, -2.0, 1.0))  # blind to planes and straight edges; noise times 6


def noise_of(image: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """A checked picture (see `pictures`) -> the standard deviation of its luma's noise (B,), values in [0, 1].

    That of the differences which Immerkaer's kernel leaves ("Fast Noise Variance Estimation", CVIU 1996), in the flattest
    blocks instead of the whole picture, of which texture is a part.
    """
    height, width = size_of(image)
    block = min(BLOCK, height - 2, width - 2)
    count = len(image) if isinstance(image, Tensor) else 1
    if block < 1:
        return torch.full((count,), ROUNDING, device=device)
    kernel = torch.tensor(KERNEL, device=device)[None, None] / 6
    tops = range(0, height - block - 1, max(block, (height - block - 2) // STRIPES + 1))
    stripes = [luma_of(rows_of(image, top, top + block + 2, device))[:, 0] for top in tops]
    luma = torch.stack(stripes, 1).flatten(0, 1)[:, None]                                        # (B stripes, 1, block + 2, W)
    deviation = F.avg_pool2d(F.conv2d(luma, kernel) ** 2, block).sqrt()                          # (B stripes, 1, 1, blocks)
    mean = F.avg_pool2d(luma[..., 1:-1, 1:-1], block)
    found = deviation.where((mean > CLIPPED[0]) & (mean < CLIPPED[1]), torch.nan)
    return torch.nanquantile(found.view(count, -1), FLATTEST, dim=1).nan_to_num(ROUNDING).clamp(min=ROUNDING)
