"""The processes of one launch (torchrun, accelerate launch) that share out a long evaluation."""
from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from torch import distributed as dist

# A rank that is done waits for the slowest one, which may have large pictures or a slow device: not the 10 to 30 minutes
# of a training step. A process that dies is noticed at once all the same: its connections close.
LONGEST_WAIT = timedelta(days=7)


@dataclass
class Processes:
    """This process among all of them; `group` talks over the CPU, so that no GPU's queue is held up."""

    rank: int = 0
    world: int = 1
    group: Any = None

    def gather(self, value: object) -> list[Any]:
        """One picklable object of each process, by rank, on every rank. All processes must call it."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value, group=self.group)
        return values


@contextmanager
def all_processes() -> Iterator[Processes]:
    """The processes of this launch, for the length of the block: those of the training that runs, or those which the
    launcher's variables (RANK, WORLD_SIZE, ..) announce, or this one alone. All of them must enter the block.
    """
    joined = dist.is_available() and dist.is_initialized()
    announced = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if not joined and not announced:
        yield Processes()
        return
    if joined:
        group: Any = dist.new_group(backend="gloo", timeout=LONGEST_WAIT)
    else:
        dist.init_process_group("gloo", timeout=LONGEST_WAIT)
        group = dist.group.WORLD
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), group)
    finally:
        dist.destroy_process_group(group)
