"""The recursion on a CUDA GPU without gradients: models/gpu_steps.py, with CUDA graphs for small photos.

The type of the maps is autocast's where it is on, else float32 (products then in tf32 where torch.backends.cuda.matmul
.allow_tf32 says so). Before a network's sizes and type are used for the first time, an L and an H step are compared with
the modules as they are, on a little noise; where they disagree or a kernel does not compile, a warning is logged and plain
PyTorch computes everything. HVR_TRITON=0 in the environment switches all of this off, HVR_CUDA_GRAPHS=0 the graphs.

Memory, in maps of D = 24 channels at full resolution (48 bytes a pixel in bf16, 1.15 GB for 24 megapixels): zH, zL, x_e and
z are 4; an L step adds the 4 of its wide map, 2 of the convolution at work and 1/2 for x11: 10.5 at most, an H step 3, the
photo itself 1/4. So 24 megapixels take 12.4 GB in bf16, beside what cuDNN borrows.
"""
from __future__ import annotations

import contextlib
import copy
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from models import gpu_steps, triton_maps
from models.gpu_graphs import Replays
from models.gpu_steps import Maps, Weights, global_step, local_step, new_maps, set_image
from models.gpu_trust import Trust
from models.latents import State

if TYPE_CHECKING:
    from models.hvr import HVR

STEPS = {"L": local_step, "H": global_step}
CHECK_SIZE = (24, 40)      # height and width of the noise of the first check
TOLERANCE = {torch.float32: 1e-3, torch.float16: 1e-2, torch.bfloat16: 3e-2}  # ||difference|| / ||change|| of a step; more
TF32_TOLERANCE = 1e-2      # float32 by tf32 products, which have the 11 significant bits of float16,
PLAIN_FACTOR = 3           # is accepted up to so many times the difference that the plain modules show in the same type

_lock = threading.Lock()
_prepared: weakref.WeakKeyDictionary[HVR, dict[tuple, Prepared]] = weakref.WeakKeyDictionary()
_trust = Trust()


class Prepared:
    """A network's packed weights and its captured graphs, for one device and type, while its parameters do not change."""

    def __init__(self, model: HVR, dtype: torch.dtype, precision: str, version: tuple) -> None:
        self.weights = Weights(model, dtype, precision)
        self.version = version
        self.replays = Replays(self.weights)


class Recursion:
    """L and H steps on the latents of images x (B, 3, H, W), H and W multiples of the model's `size_multiple`."""

    def __init__(self, weights: Weights, x: Tensor, replays: Replays | None = None) -> None:
        self.weights, self.replays, self.device = weights, replays, x.device
        with on(self.device):
            self.replay = replays.take(x) if replays is not None else None
            self.maps = new_maps(weights, x) if self.replay is None else self.replay.maps
            set_image(weights, self.maps, x)

    @staticmethod
    def of(model: HVR, x: Tensor) -> Recursion | None:
        """For float32 images on a CUDA GPU where no gradients are wanted, or None."""
        if (torch.compiler.is_compiling() or torch.is_grad_enabled() or x.device.type != "cuda" or x.dtype != torch.float32
                or x.numel() == 0 or os.environ.get("HVR_TRITON", "1") == "0"):
            return None
        dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else torch.float32
        parameter = next(model.parameters())
        if parameter.device != x.device or parameter.dtype != torch.float32 or dtype not in TOLERANCE:
            return None
        with on(x.device), _lock:
            ready = prepare(model, x.device, dtype)
        graphs = ready is not None and os.environ.get("HVR_CUDA_GRAPHS", "1") != "0"
        return None if ready is None else Recursion(ready.weights, x, ready.replays if graphs else None)

    def run(self, latents: Iterator[Tensor], steps: str, on_step: Callable[[str, State], None] | None = None) -> State:
        """Take over zH and zL, (B, D, H, W) each, then take `steps`. -> the state (see `state`).

        `latents` gives the two one after the other, so that only one need exist beside the copies here.
        """
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
                    on_step(kind, self.state())
            if self.replay is not None and self.replays is not None:  # the next run of this size writes over its memory
                self.maps = Maps(m.zH.clone(), m.zL.clone(), m.wide)
                self.replays.give_back(self.replay)
                self.replay = None
        return self.state()

    def state(self) -> State:
        """zH and zL as (B, D, H, W) float32; the next step may change them."""
        return State(*(z.permute(0, 3, 1, 2).float() for z in (self.maps.zH, self.maps.zL)))

    def head(self) -> Tensor:
        """The image (B, 3, H, W) of zH in the model's range, float32."""
        with on(self.device):
            return triton_maps.head(self.maps.zH, *self.weights.head, self.weights.tanh)


@contextlib.contextmanager
def on(device: torch.device) -> Iterator[None]:
    """Launch on this device, in the types as they are."""
    guard = torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()
    with guard, torch.autocast(device.type, enabled=False):
        yield


def prepare(model: HVR, device: torch.device, dtype: torch.dtype) -> Prepared | None:
    """The network's weights for the kernels, packed again only after they changed; None where it cannot or must not be.

    In training they are packed every time and nothing packed before is believed in afterwards: fused optimizers change
    parameters without counting up their versions.
    """
    precision = "tf32" if dtype == torch.float32 and torch.backends.cuda.matmul.allow_tf32 else "ieee"
    kind = (device, dtype, precision)
    known = _prepared.setdefault(model, {})
    if model.training:
        known.clear()
    version = tuple((p.data_ptr(), 0 if p.is_inference() else p._version) for p in model.parameters())
    ready = known.get(kind)
    if ready is not None and ready.version == version:
        return ready
    if not gpu_steps.supported(model):
        return None
    ready = Prepared(model, dtype, precision, version)
    if not trusted(model, ready.weights, device):
        return None
    if not model.training:
        known[kind] = ready
    return ready


def trusted(model: HVR, weights: Weights, device: torch.device) -> bool:
    """Whether the steps agree with the plain modules here; found out once for given sizes, type and device."""
    sizes = tuple((name, tuple(p.shape)) for name, p in model.named_parameters())
    key = (sizes, str(model), model.size_multiple, weights.dtype, weights.precision, device)
    return _trust.given(key, lambda: disagreement(model, weights, device),
                        f"the GPU kernels are not used for {weights.dtype} on {device} (HVR_TRITON=0 skips this check)")


@torch.no_grad()
def disagreement(model: HVR, weights: Weights, device: torch.device) -> str:
    """One L and one H step on noise by the kernels and by the modules in float64: what is wrong, or nothing ("")."""
    generator = torch.Generator().manual_seed(0)
    x, zH, zL = (torch.randn(2, channels, *CHECK_SIZE, generator=generator).to(device)
                 for channels in (3, model.z_dims, model.z_dims))
    exact = copy.deepcopy(model).double()
    for kind, before in (("L", zL), ("H", zH + zL)):
        def plain(net: HVR, *maps: Tensor, kind: str = kind) -> Tensor:
            x, zH, zL = maps
            after = net.step(kind, net.embed_layer(x), State(zH, zL))
            return after.zL if kind == "L" else after.zH

        expected = plain(exact, x.double(), zH.double(), zL.double()) - before
        with torch.autocast(device.type, weights.dtype, enabled=weights.dtype != torch.float32):
            usual = plain(model, x, zH, zL).double() - before
        recursion = Recursion(weights, x)
        after = recursion.run(iter((zH, zL)), kind)
        found = (after.zL if kind == "L" else after.zH).double() - before
        error, usual_error = (((t - expected).norm() / expected.norm()).item() for t in (found, usual))
        tolerance = TF32_TOLERANCE if weights.precision == "tf32" else TOLERANCE[weights.dtype]
        allowed = max(tolerance, PLAIN_FACTOR * usual_error)
        if not error <= allowed:  # NaN too
            return f"an {kind} step is off by {error:.2g} of its change, where at most {allowed:.2g} is rounding"
    return ""
