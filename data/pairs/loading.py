"""Batches of pairs for each process of a training: who gets which photo in which epoch, and the loader itself."""
from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import TypedDict

import cv2
import torch
from torch.utils.data import DataLoader, Sampler, default_collate

from data.pairs.dataset import LowLightPairs, Pair
from data.pairs.errors import DataError
from data.pairs.photos import PhotoRef, list_photos
from data.pairs.randomness import stream
from exp_config.config import Config


class PairBatch(TypedDict):
    """What the loader yields. The caller divides by 255 on its device."""

    low: torch.Tensor           # uint8 (B, 3, H, W)
    normal: torch.Tensor        # uint8 (B, 3, H, W)
    image_id: list[str]
    state_seed: torch.Tensor    # int64 (B,)


class EpochBatches(Sampler[list[tuple[int, int]]]):
    """Lists of (epoch, index): the batches of one rank in one epoch.

    Training: the photos in an order drawn from (seed, epoch); global batch s is the s-th run of world * batch_size of
    them, and rank r has its r-th part, so that two ranks of b see what one of 2b sees. What does not fill a global
    batch is left out in that epoch. Validation: photos rank, rank + world, ...; each photo once, the last batch may be
    short.
    """

    def __init__(self, count: int, batch_size: int, *, seed: int = 0, rank: int = 0, world: int = 1,
                 train: bool = True) -> None:
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} of {world} processes; expected 0 <= rank < world")
        if train and count < world * batch_size:
            raise DataError(f"{count} training photos do not fill one batch of {world} process(es) x batch_size "
                            f"{batch_size}; give more photos, or a smaller batch_size")
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self.rank, self.world, self.train = rank, world, train
        self.epoch, self.start_batch = 0, 0

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        """Choose what the next iteration yields: `epoch` (0-based), from batch `start_batch` on (a resumed epoch)."""
        if not 0 <= start_batch <= len(self):
            raise ValueError(f"start_batch {start_batch}; an epoch here has {len(self)} batches")
        self.epoch, self.start_batch = epoch, start_batch

    def __len__(self) -> int:
        """Batches of this rank in a whole epoch, whatever `start_batch` is."""
        if self.train:
            return self.count // (self.world * self.batch_size)
        return math.ceil(len(range(self.rank, self.count, self.world)) / self.batch_size)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch = self.epoch
        if self.train:
            order = stream("order", self.seed, epoch).permutation(self.count)
            first, stride = self.rank * self.batch_size, self.world * self.batch_size
        else:
            order = range(self.rank, self.count, self.world)
            first, stride = 0, self.batch_size
        for batch in range(self.start_batch, len(self)):
            start = first + batch * stride
            yield [(epoch, int(index)) for index in order[start : start + self.batch_size]]


def collate(pairs: Sequence[Pair]) -> PairBatch:
    """Stack samples to a batch; in a worker straight into shared memory, which saves a copy on the way to the trainer."""
    return PairBatch(
        low=default_collate([pair["low"] for pair in pairs]),
        normal=default_collate([pair["normal"] for pair in pairs]),
        image_id=[pair["image_id"] for pair in pairs],
        state_seed=torch.tensor([pair["state_seed"] for pair in pairs], dtype=torch.int64))


def build_loader(config: Config, train: bool, rank: int = 0, world: int = 1,
                 photos: Sequence[PhotoRef] | None = None) -> DataLoader:
    """The loader of one rank; `loader.batch_sampler.set_epoch(epoch, start_batch)` before each iteration.

    `photos` are those of `list_photos(config, train)` unless given. The loader draws nothing from global random state,
    and its samples do not depend on `config.num_workers`. Raises DataError where there is nothing to load.
    """
    photos = list_photos(config, train) if photos is None else photos
    batches = EpochBatches(len(photos), config.batch_size, seed=config.seed, rank=rank, world=world, train=train)
    return DataLoader(
        LowLightPairs(photos, config, train), batch_sampler=batches, collate_fn=collate, num_workers=config.num_workers,
        persistent_workers=config.num_workers > 0, worker_init_fn=_one_thread, pin_memory=torch.cuda.is_available(),
        generator=torch.Generator())


def batches_of(loader: DataLoader) -> Iterator[PairBatch]:
    """What the loader yields; a DataError of a worker process comes without that process's traceback in its message, and of
    several worker processes that are killed one is told, even where it was just handing a batch over."""
    batches = iter(loader)  # starts the worker processes, and has torch look at each of them that ends
    looked_at = threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGCHLD")
    if looked_at:
        look = signal.getsignal(signal.SIGCHLD)
        if callable(look) and not isinstance(look, _OneDeadWorker):
            signal.signal(signal.SIGCHLD, _OneDeadWorker(look))
    try:
        yield from batches
    except DataError as error:
        raise DataError(str(error).rpartition(f"{DataError.__module__}.{DataError.__name__}: ")[2].strip()) from None
    except (ConnectionError, EOFError) as error:
        if looked_at:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        raise RuntimeError(f"DataLoader worker exited unexpectedly, handing a batch over: {error}") from error


class _OneDeadWorker:
    """A handler of SIGCHLD that raises once: the error of a second worker would come while that of the first one is told."""

    def __init__(self, look: Callable[[int, FrameType | None], object]) -> None:
        self.look = look

    def __call__(self, number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        self.look(number, frame)  # raises where a worker was killed
        signal.signal(number, self)


def _one_thread(_worker: int) -> None:
    """Each worker keeps to one core: OpenCV's own threads would fight those of the other workers."""
    cv2.setNumThreads(0)
