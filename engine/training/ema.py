"""Exponential moving average of the weights: often steadier pictures than the last weights themselves."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage:
    """average <- average + (1 - d) (weights - average) after each optimizer step, d = min(decay, (1 + t) / (10 + t)).

    t counts the updates before: the warm-up of d keeps the random first weights out of short runs' averages.
    Every rank keeps the same average, since every rank has the same weights. (torch's AveragedModel has no such warm-up: its
    first update copies the weights; and with its count on a GPU, each update waits for it.)
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._weights = dict(model.named_parameters())
        self._average = {name: weight.detach().clone() for name, weight in self._weights.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after an optimizer step."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        get_ema_multi_avg_fn(decay)(list(self._average.values()), list(self._weights.values()), self.updates)
        self.updates += 1

    def restart(self) -> None:
        """Begin anew with the present weights."""
        self.updates = 0
        for name, weight in self._weights.items():
            self._average[name].copy_(weight.detach())

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block the model has the averaged weights."""
        raw = {name: weight.detach().clone() for name, weight in self._weights.items()}
        self._write(self._average)
        try:
            yield
        finally:
            self._write(raw)

    def state_dict(self) -> dict[str, object]:
        """What a checkpoint keeps of it."""
        return {"updates": self.updates, "average": {name: value.cpu() for name, value in self._average.items()}}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Continue from `state_dict()`; KeyError where a parameter is missing."""
        average: Mapping[str, Tensor] = state["average"]  # type: ignore[assignment]
        self.updates = int(state["updates"])  # type: ignore[call-overload]
        for name, value in self._average.items():
            value.copy_(average[name])

    @torch.no_grad()
    def _write(self, values: Mapping[str, Tensor]) -> None:
        for name, weight in self._weights.items():
            weight.copy_(values[name])
