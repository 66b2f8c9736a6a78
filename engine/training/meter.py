"""Running means of what the steps return, kept on the device and read only when a log line is due."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from engine.processes import Processes


class NonFiniteError(ValueError):
    """A loss or gradient that is infinite or not a number; the message names the step and the photos."""


class Problem(NamedTuple):
    """A step that was not finite: in words, and whether the loss itself was finite (then only the gradient was not,
    which with several processes is shared by all of them)."""

    text: str
    loss_is_finite: bool


class LossMeter:
    """Sums of the values of the steps since the last reading, without waiting for the GPU in between."""

    def __init__(self, names: Sequence[str], device: torch.device) -> None:
        self.names = tuple(names)
        self._sums = torch.zeros(len(names) + 1, device=device)           # of the values; the number of steps
        self._first_bad = torch.full((), -1, dtype=torch.int64, device=device)
        self._bad_values = torch.zeros(len(names), device=device)         # those of that step
        self._recent: list[tuple[int, list[str]]] = []                    # step, image ids, since the last check

    def add(self, rows: Tensor, step: int, image_ids: list[str], tolerate: bool = False) -> None:
        """Take in one step: its values at each supervision step (N, len(names)). If one is not finite it counts as no step.

        tolerate: that is no error either (fp16 scaling has left the optimizer step out).
        """
        good = rows.isfinite().all(1)                                      # (N,)
        finite = good.all()
        row = torch.cat([rows.mean(0), rows.new_ones(1)])
        self._sums += torch.where(finite, row, torch.zeros_like(row))
        if not tolerate:
            first = ~finite & (self._first_bad < 0)
            self._first_bad = torch.where(first, step, self._first_bad)
            first_row = rows[(~good).int().argmax()]  # later ones only follow from it
            self._bad_values = torch.where(first, first_row, self._bad_values)
        self._recent.append((step, image_ids))

    def read(self, ranks: Processes) -> dict[str, float]:
        """Sums over the steps since the last reading and over the ranks, with "count"; starts anew."""
        *sums, count = ranks.sum(self._sums).tolist()
        self._sums.zero_()
        return {**dict(zip(self.names, sums, strict=True)), "count": count}

    def problem(self) -> Problem | None:
        """What was not finite since the last call; None where all was well. Waits for the device."""
        step, recent = int(self._first_bad), self._recent
        self._recent = []
        if step < 0:
            return None
        ids = next((ids for number, ids in recent if number == step), [])
        values = self._bad_values.tolist()
        text = ", ".join(f"{name} {value:.4g}" for name, value in zip(self.names, values, strict=True))
        return Problem(f"step {step}: {text}; image ids: {', '.join(ids)}", math.isfinite(values[0]))

    def state(self) -> Tensor:
        """The sums since the last reading, for a checkpoint."""
        return self._sums.cpu().clone()

    def load_state(self, state: Tensor) -> None:
        """Continue from `state()`."""
        if state.shape == self._sums.shape:
            self._sums.copy_(state)


def add_up(sums: dict[str, float], more: dict[str, float]) -> dict[str, float]:
    """Sum by name."""
    return {name: sums.get(name, 0.0) + value for name, value in more.items()}


def means(sums: dict[str, float]) -> dict[str, float]:
    """Sums with their "count" -> means; nan where nothing was counted."""
    count = sums.get("count", 0.0)
    return {name: value / count if count else math.nan for name, value in sums.items() if name != "count"}
