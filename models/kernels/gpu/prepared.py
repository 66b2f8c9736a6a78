"""A network's weights for the kernels of a CUDA GPU, packed once and found right before they are used.

Before a network's sizes and type are used for the first time, an L and an H step are compared with the plain formulas, on a
little noise; where they disagree or a kernel does not compile, a warning is logged and plain PyTorch computes everything.
"""
from __future__ import annotations

import copy
import threading
import weakref
from typing import Any

import torch
from torch import Tensor

from models.kernels.contract import Network
from models.kernels.gpu.graphs import Replays
from models.kernels.gpu.recursion import Recursion, on
from models.kernels.gpu.steps import Weights, supported
from models.kernels.gpu.trust import Trust

CHECK_SIZE = (24, 40)      # height and width of the noise of the first check
TOLERANCE = {torch.float32: 1e-3, torch.float16: 1e-2, torch.bfloat16: 3e-2}  # ||difference|| / ||change|| of a step; more
TF32_TOLERANCE = 1e-2      # float32 by tf32 products, which have the 11 significant bits of float16,
PLAIN_FACTOR = 3           # is accepted up to so many times the difference that the plain formulas show in the same type

trust = Trust()
_lock = threading.Lock()
_prepared: weakref.WeakKeyDictionary[Network, dict[tuple, Prepared]] = weakref.WeakKeyDictionary()


class Prepared:
    """A network's packed weights and its captured graphs, for one device and type, while its parameters do not change."""

    def __init__(self, network: Network, dtype: torch.dtype, precision: str, version: tuple) -> None:
        self.weights = Weights(network.tensors(), network.sizes, dtype, precision)
        self.version = version
        self.replays = Replays(self.weights)


def recursion(network: Network, x: Tensor, dtype: torch.dtype, graphs: bool) -> Recursion | None:
    """The recursion on images x (B, 3, H, W) float32 in `dtype`; None where plain PyTorch has to do it. graphs: whether CUDA
    graphs may be used."""
    with on(x.device), _lock:
        ready = prepare(network, x.device, dtype)
    return None if ready is None else Recursion(ready.weights, x, ready.replays if graphs else None)


def prepare(network: Network, device: torch.device, dtype: torch.dtype) -> Prepared | None:
    """The network's weights for the kernels, packed again only after they changed; None where it cannot or must not be.

    In training they are packed every time and nothing packed before is believed in afterwards: fused optimizers change
    parameters without counting up their versions.
    """
    precision = "tf32" if dtype == torch.float32 and torch.backends.cuda.matmul.allow_tf32 else "ieee"
    kind = (device, dtype, precision)
    known = _prepared.setdefault(network, {})
    if network.training:
        known.clear()
    version = tuple((p.data_ptr(), 0 if p.is_inference() else p._version) for p in network.parameters())
    ready = known.get(kind)
    if ready is not None and ready.version == version:
        return ready
    if not supported(network.sizes):
        return None
    ready = Prepared(network, dtype, precision, version)
    if not trusted(network, ready.weights, device):
        return None
    if not network.training:
        known[kind] = ready
    return ready


def trusted(network: Network, weights: Weights, device: torch.device) -> bool:
    """Whether the steps agree with the plain formulas here; found out once for given sizes, type and device."""
    return trust.given((network.sizes, weights.dtype, weights.precision, device),
                       lambda: disagreement(network, weights, device),
                       f"the GPU kernels are not used for {weights.dtype} on {device} (HVR_TRITON=0 skips this check)")


@torch.no_grad()
def disagreement(network: Network, weights: Weights, device: torch.device) -> str:
    """One L and one H step on noise by the kernels and by the plain formulas in float64: what is wrong, or nothing ("")."""
    generator = torch.Generator().manual_seed(0)
    D = network.sizes.D
    x, zH, zL = (torch.randn(2, channels, *CHECK_SIZE, generator=generator).to(device) for channels in (3, D, D))
    copied: Any = copy.deepcopy(network)
    exact: Network = copied.double()
    for kind, changed, before in (("L", 1, zL), ("H", 0, zH + zL)):  # changed: which of zH, zL
        expected = exact.plain(x.double()).run((zH.double(), zL.double()), kind)[changed] - before
        with torch.autocast(device.type, weights.dtype, enabled=weights.dtype != torch.float32):
            usual = network.plain(x).run((zH, zL), kind)[changed].double() - before
        found = Recursion(weights, x).run((zH, zL), kind)[changed].double() - before
        error, usual_error = (((t - expected).norm() / expected.norm()).item() for t in (found, usual))
        tolerance = TF32_TOLERANCE if weights.precision == "tf32" else TOLERANCE[weights.dtype]
        allowed = max(tolerance, PLAIN_FACTOR * usual_error)
        if not error <= allowed:  # NaN too
            return f"an {kind} step is off by {error:.2g} of its change, where at most {allowed:.2g} is rounding"
    return ""
