"""Which recursion runs where no gradients are wanted: native kernels on the CPU, Triton ones on a CUDA GPU, or the modules."""
from __future__ import annotations

import functools
import logging
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from models import fast

if TYPE_CHECKING:
    from models import gpu
    from models.hvr import HVR

log = logging.getLogger(__name__)


def fast_recursion(model: HVR, x: Tensor) -> fast.Recursion | gpu.Recursion | None:
    """The recursion on images x (B, 3, H, W) by the kernels of their device; None where the modules run as they are."""
    if torch.compiler.is_compiling():
        return None
    if x.device.type == "cuda":
        kernels = gpu_kernels()
        return None if kernels is None else kernels.Recursion.of(model, x)
    return fast.Recursion.of(model, x)


@functools.cache
def gpu_kernels() -> ModuleType | None:
    """models/gpu.py, where Triton can be imported."""
    try:
        from models import gpu
    except ImportError as error:
        log.warning("no GPU kernels without Triton (%s); plain PyTorch is used, slower and with more memory", error)
        return None
    return gpu
