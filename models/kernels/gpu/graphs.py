"""CUDA graphs of the L and the H step: for small photos the launches of some hundred kernels take longer than they run."""
from __future__ import annotations

import logging
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor

from models.kernels.gpu.steps import Maps, Weights, global_step, local_step, new_maps

log = logging.getLogger(__name__)
PIXELS = 2**20     # of all sizes with graphs together: their memory (about 0.5 GB in bf16) stays taken
SEEN_BEFORE = 2    # runs of a size before it is captured, which costs about as much as it saves in one run
REMEMBERED = 1024  # sizes that are counted


class Replay:
    """Maps of one size and the steps on them, each captured when it is first taken."""

    def __init__(self, weights: Weights, x: Tensor) -> None:
        self.weights, self.maps = weights, new_maps(weights, x)
        self.graphs: dict[str, torch.cuda.CUDAGraph | None] = {}  # None: could not be captured
        self.pool = torch.cuda.graph_pool_handle()  # shared: the steps run one after the other

    def step(self, kind: str) -> None:
        """An L or an H step on `maps`."""
        take = local_step if kind == "L" else global_step
        if kind not in self.graphs:
            self.graphs[kind] = self._capture(take)
        graph = self.graphs[kind]
        if graph is None:
            take(self.weights, self.maps)
        else:
            graph.replay()

    def _capture(self, take: Callable[[Weights, Maps], None]) -> torch.cuda.CUDAGraph | None:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
                take(self.weights, self.maps)
        except RuntimeError as error:
            log.warning("no CUDA graph for photos of %s: %s", tuple(self.maps.zH.shape[1:3]), error)
            return None
        return graph


class Replays:
    """Replays of the sizes that keep coming, the least recently used dropped. Safe for several threads."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.seen: Counter[torch.Size] = Counter()
        self.kept: OrderedDict[torch.Size, Replay] = OrderedDict()
        self.lock = threading.Lock()

    def take(self, x: Tensor) -> Replay | None:
        """A replay for images x (B, 3, H, W), the caller's until given back; None: take the steps one kernel at a time."""
        if x.numel() // 3 > PIXELS or torch.cuda.is_current_stream_capturing():
            return None
        with self.lock:
            replay = self.kept.pop(x.shape, None)
            if replay is None:
                if len(self.seen) >= REMEMBERED:
                    self.seen.clear()
                self.seen[x.shape] += 1
                if self.seen[x.shape] <= SEEN_BEFORE:
                    return None
        return Replay(self.weights, x) if replay is None else replay

    def give_back(self, replay: Replay) -> None:
        """After use; room is made for it."""
        B, H, W, _ = replay.maps.zH.shape
        with self.lock:
            self.kept[torch.Size((B, 3, H, W))] = replay
            while sum(B * H * W for B, _, H, W in self.kept) > PIXELS:
                self.kept.popitem(last=False)
