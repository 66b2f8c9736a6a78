"""The processes of a training, which take every step together. Those that share out photos: engine/team.py."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed as dist

T = TypeVar("T")


@dataclass
class Processes:
    """This process among all of them; `group` talks over the CPU, so that no GPU's queue is held up.

    All processes must make a call of `any`, `sum`, `gather` or `on_main`, in the same order.
    """

    rank: int = 0
    world: int = 1
    group: Any = None  # None: torch's default group

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def any(self, flag: bool) -> bool:
        """Whether `flag` holds on at least one rank."""
        if self.world == 1:
            return flag
        value = torch.tensor([float(flag)])
        dist.all_reduce(value, dist.ReduceOp.MAX, group=self.group)
        return bool(value.item())

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Sum over the ranks of a tensor of numbers; the result is float64 on the CPU."""
        values = values.detach().to("cpu", torch.float64)
        if self.world > 1:
            dist.all_reduce(values, group=self.group)
        return values

    def gather(self, value: object) -> list[Any]:
        """One picklable object of each rank, in the order of ranks, on every rank."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value, group=self.group)
        return values

    def on_main(self, function: Callable[[], T]) -> T:
        """The result of `function`, called on the main process alone, on every rank; a ValueError is raised on every rank."""
        outcome: list = [None, None]
        if self.is_main:
            try:
                outcome[0] = function()
            except ValueError as error:
                outcome[1] = error
        if self.world > 1:
            dist.broadcast_object_list(outcome, src=0, group=self.group)
        if outcome[1] is not None:
            raise outcome[1]
        return outcome[0]


def joined_processes(longest_wait: timedelta) -> Processes:
    """Those that have found each other in torch's process group, or this one alone."""
    if not (dist.is_available() and dist.is_initialized()):
        return Processes()
    slow = dist.get_world_size() > 1 and "gloo" not in dist.get_backend()
    group = dist.new_group(backend="gloo", timeout=longest_wait) if slow else None
    return Processes(dist.get_rank(), dist.get_world_size(), group)
