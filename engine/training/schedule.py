"""Learning rate by epoch: cosine cycles with linear warm-up (the published schedule)."""
from __future__ import annotations

import math

from exp_config import Config


def learning_rate(config: Config, epoch: int) -> float:
    """Learning rate of `epoch` (0-based, below config.epochs).

    `lr_cosine_cycles` cycles of equal length (as equal as whole epochs allow). Cycle c peaks at
    learning_rate * lr_scaling_factor^c: w = max(int(epochs * lr_cosine_warmup_rate), 1) epochs rise linearly from
    peak / w to the peak, the others fall along half a cosine to learning_rate_min in the cycle's last epoch.
    `learning_rate_static` gives learning_rate throughout. Raises ValueError for an epoch outside the run.
    """
    if not 0 <= epoch < config.epochs:
        raise ValueError(f"epoch {epoch} of a run of {config.epochs} epochs; epochs count from 0")
    if config.learning_rate_static:
        return config.learning_rate
    bounds = [config.epochs * c // config.lr_cosine_cycles for c in range(config.lr_cosine_cycles + 1)]
    cycle = max(c for c in range(config.lr_cosine_cycles) if bounds[c] <= epoch)
    length, position = bounds[cycle + 1] - bounds[cycle], epoch - bounds[cycle]
    peak = config.learning_rate * config.lr_scaling_factor**cycle
    warmup = min(max(int(config.epochs * config.lr_cosine_warmup_rate), 1), length)
    if position < warmup:
        return peak * (position + 1) / warmup
    fraction = (position - warmup + 1) / (length - warmup)
    return config.learning_rate_min + (peak - config.learning_rate_min) * (1 + math.cos(math.pi * fraction)) / 2
