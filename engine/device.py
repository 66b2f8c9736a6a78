"""Where and how exactly to compute: the device, and the numbers' precision."""
from __future__ import annotations

import ctypes
import functools
import logging
import platform

import torch

from engine.launcher import place
from models.kernels import has_cpu_kernels

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}  # and "auto"
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
logger = logging.getLogger(__name__)


class DeviceError(ValueError):
    """A device or precision that this machine does not have."""


def choose_device(name: str) -> torch.device:
    """"auto" (a CUDA GPU, else Apple's, else the CPU), "cpu", "cuda", "cuda:1", "mps" -> the device, if it is there.

    Under a launcher of several processes each one gets its own GPU. Raises DeviceError.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        name = "cuda" if gpus else "mps" if torch.backends.mps.is_available() else "cpu"
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not (kind == "cuda" and index.isdigit())):
        raise DeviceError(f"device {name!r}; expected auto, cpu, cuda, cuda:0, cuda:1, .. or mps")
    if kind == "cuda" and not gpus:
        raise DeviceError("PyTorch finds no CUDA GPU here; use --device cpu, or install its CUDA build and NVIDIA's driver")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("PyTorch finds no Apple GPU (mps) here; use --device cpu")
    if kind != "cuda":
        return torch.device(kind)
    number = int(index) if index else place().local_rank % gpus
    if number >= gpus:
        raise DeviceError(f"device cuda:{number}; the {gpus} GPU(s) here are " + ", ".join(f"cuda:{i}" for i in range(gpus)))
    return torch.device("cuda", number)


def autocast_dtype(precision: str, device: torch.device, eight_bit: bool = True) -> torch.dtype | None:
    """The type to compute in; None is plain float32.

    "auto" is bf16 only for pictures of 8 bits: the 8 significant bits of bf16 are fewer than a 16-bit file holds.
    """
    if precision == "auto":
        bf16 = eight_bit and device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
        return torch.bfloat16 if bf16 else None
    if precision not in PRECISIONS:
        raise DeviceError(f"precision {precision!r}; expected auto, {', '.join(PRECISIONS)}")
    dtype = PRECISIONS[precision]
    if dtype is not None and device.type == "cpu" and (has_cpu_kernels() or not cpu_has(dtype)):
        _say_once(f"precision {precision}: on this CPU float32 is faster, and more exact; computing in float32")
        return None
    return dtype


def training_precision(name: str, on_cpu: bool) -> str:
    """accelerate's name of the mixed precision to train in: `name` ("no", "fp16", "bf16"), or "no" on a CPU without it."""
    if on_cpu and name == "bf16" and not cpu_has(torch.bfloat16):
        _say_once("autocast_dtype = 'bf16': this CPU only emulates bf16, many times slower; training in float32")
        return "no"
    return name


@functools.cache
def cpu_has(dtype: torch.dtype) -> bool:
    """Whether the CPU computes in bfloat16 or float16; where it does not, PyTorch emulates it, up to 200 times slower."""
    mkldnn = torch.ops.mkldnn
    try:
        return bool(mkldnn._is_mkldnn_bf16_supported() if dtype == torch.bfloat16 else mkldnn._is_mkldnn_fp16_supported())
    except (AttributeError, RuntimeError):  # a PyTorch without oneDNN
        return False


def keep_freed_memory(largest: int = 2**30) -> None:
    """Let the C library keep the memory of freed tensors of up to `largest` bytes for the next ones, instead of handing it back
    to the system; larger ones still come from the system one by one.

    A training step on the CPU makes and frees the same gigabytes each time; having each page mapped and cleared anew took
    7 % of it (224x224, batch of 4, 2 cores). Peak memory grows by some 5 %; by half where the tensors of one run differ in size
    by much and the large ones are kept, too. glibc only; elsewhere nothing changes.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, largest)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


@functools.cache
def _say_once(message: str) -> None:
    logger.warning(message)
