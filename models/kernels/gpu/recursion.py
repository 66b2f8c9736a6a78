"""The recursion on a CUDA GPU without gradients: the steps of steps.py, with CUDA graphs for small photos.

The type of the maps is autocast's where it is on, else float32 (products then in tf32 where torch.backends.cuda.matmul
.allow_tf32 says so).

Memory, in maps of D = 24 channels at full resolution (48 bytes a pixel in bf16, 1.15 GB for 24 megapixels): zH, zL, x_e and
z are 4; an L step adds the 4 of its wide map, 2 of the convolution at work and 1/2 for x11: 10.5 at most, an H step 3, the
photo itself 1/4. So 24 megapixels take 12.4 GB in bf16, beside what cuDNN borrows.
"""
from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from models.kernels.contract import Latents, OnStep
from models.kernels.gpu import maps
from models.kernels.gpu.graphs import Replays
from models.kernels.gpu.steps import Maps, Weights, global_step, local_step, new_maps, set_image

STEPS = {"L": local_step, "H": global_step}


class Recursion:
    """L and H steps on the latents of images x (B, 3, H, W), H and W whole windows and multiples of 4."""

    def __init__(self, weights: Weights, x: Tensor, replays: Replays | None = None) -> None:
        self.weights, self.replays, self.device = weights, replays, x.device
        with on(self.device):
            self.replay = replays.take(x) if replays is not None else None
            self.maps = new_maps(weights, x) if self.replay is None else self.replay.maps
            set_image(weights, self.maps, x)

    def run(self, latents: Iterable[Tensor], steps: str, on_step: OnStep = None) -> Latents:
        """See `contract.Steps`; float32."""
        self._take(latents, steps, on_step)
        zH, zL = self.latents()
        return zH.contiguous(), zL.contiguous()

    def enhance(self, latents: Iterable[Tensor], steps: str, on_step: OnStep = None) -> tuple[Latents, Tensor]:
        """See `contract.Steps`; float32."""
        self._take(latents, steps, on_step)
        return self.latents(), self.head()

    def _take(self, latents: Iterable[Tensor], steps: str, on_step: OnStep) -> None:
        m = self.maps
        for own, z in zip((m.zH, m.zL), latents, strict=True):
            own.copy_(z.permute(0, 2, 3, 1))
        del z
        with on(self.device):
            torch.add(m.zH, m.zL, out=m.z)
            for kind in steps:
                if self.replay is None:
                    STEPS[kind](self.weights, m)
                else:
                    self.replay.step(kind)
                if on_step is not None:
                    on_step(kind, self.latents())
            if self.replay is not None and self.replays is not None:  # the next run of this size writes over its memory
                self.maps = Maps(m.zH.clone(), m.zL.clone(), m.wide)
                self.replays.give_back(self.replay)
                self.replay = None

    def latents(self) -> Latents:
        """zH and zL as (B, D, H, W) float32; the next step may change them."""
        zH, zL = (z.permute(0, 3, 1, 2).float() for z in (self.maps.zH, self.maps.zL))
        return zH, zL

    def head(self) -> Tensor:
        """The image (B, 3, H, W) of zH in the model's range, float32."""
        with on(self.device):
            return maps.head(self.maps.zH, *self.weights.head, self.weights.sizes.tanh)


@contextlib.contextmanager
def on(device: torch.device) -> Iterator[None]:
    """Launch on this device, in the types as they are."""
    guard = torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()
    with guard, torch.autocast(device.type, enabled=False):
        yield
