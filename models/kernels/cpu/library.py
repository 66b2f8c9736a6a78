"""The C++ kernels beside this file: compiled once per machine with the compiler at hand, then loaded from a cache.

Without a compiler, with HVR_NATIVE=0 in the environment, or where compilation fails, there are none (`library()` is None)
and the network runs as plain PyTorch. The cache is $HVR_CACHE, else $XDG_CACHE_HOME/hvr-ssle, else ~/.cache/hvr-ssle. A user
without a home folder has none: then every process compiles for itself, into a temporary folder.
"""
from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, ClassVar

SOURCES = Path(__file__).resolve().parent
FLAGS = ("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC", "-pthread", "-fno-math-errno", "-fno-trapping-math",
         "-fno-signed-zeros", "-ffinite-math-only")
COMPILERS = ("c++", "g++", "clang++")  # tried in this order, after $CXX
MAX_LAYERS = 16
log = logging.getLogger(__name__)


class Dims(ctypes.Structure):
    """The network's sizes; mirrors `Dims` in weights.h."""

    _fields_: ClassVar[list[tuple[str, Any]]] = [
        *((name, ctypes.c_int32) for name in ("D", "E", "f", "groups", "hidden", "layers")),
        ("depths", ctypes.c_int32 * MAX_LAYERS), ("heads", ctypes.c_int32 * MAX_LAYERS), ("tanh", ctypes.c_int32)]


def compiler() -> str | None:
    """Path of a C++ compiler, or None."""
    return next((path for name in (os.environ.get("CXX"), *COMPILERS) if name and (path := shutil.which(name))), None)


def cache_folder() -> Path | None:
    """Where compiled kernels are kept, per user; None for a user without a home folder."""
    if own := os.environ.get("HVR_CACHE"):
        return Path(own)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hvr-ssle"
    except RuntimeError:  # no HOME, and no entry for the user: system services and containers run so
        return None


def _processor() -> str:
    """What -march=native depends on: the processor's model and instruction sets."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
        kept = ("model name", "flags", "Features", "CPU part")
        return "\n".join(line for line in lines if line.startswith(kept))
    except OSError:
        return platform.processor()


def build(folder: Path, flags: tuple[str, ...] | None = None) -> Path | None:
    """The compiled kernels of these sources, compiler and processor: those in `folder`, or compiled into it now. None: not
    possible, which is logged."""
    cxx, flags = compiler(), flags or FLAGS
    if cxx is None:
        return None
    sources = sorted(SOURCES.glob("*.h")) + sorted(SOURCES.glob("*.cpp"))
    try:
        version = subprocess.run([cxx, "--version"], capture_output=True, timeout=60, check=True).stdout
        parts = [path.read_bytes() for path in sources] + [version, _processor().encode(), " ".join(flags).encode()]
        key = hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
        path = folder / f"hvr-{platform.machine()}-{key}.so"
        if not path.is_file():
            _compile(cxx, flags, path)
        return path
    except subprocess.CalledProcessError as error:
        reason = error.stderr.decode(errors="replace")[-2000:]
        log.warning("the CPU kernels do not compile here; plain PyTorch is used:\n%s", reason)
    except (OSError, subprocess.TimeoutExpired) as error:
        log.warning("the CPU kernels cannot be built here (%s); plain PyTorch is used", error)
    return None


def _compile(cxx: str, flags: tuple[str, ...], path: Path) -> None:
    """Compile into `path`, atomically: processes that start together may all do it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    log.info("compiling the CPU kernels into %s (about 10 s)", path)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        subprocess.run([cxx, *flags, str(SOURCES / "hvr.cpp"), "-o", str(made)], capture_output=True, timeout=600, check=True)
        os.replace(made, path)


def load(path: Path) -> ctypes.CDLL:
    """The library's functions with their types."""
    lib = ctypes.CDLL(str(path))
    pointer, integer = ctypes.c_void_p, ctypes.c_int
    for name, result, arguments in (
        ("hvr_lanes", integer, []),
        ("hvr_supported_head", integer, [integer]),
        ("hvr_large_pages", None, [pointer, ctypes.c_long]),
        ("hvr_workspace", ctypes.c_long, [ctypes.POINTER(Dims), integer, integer, integer]),
        ("hvr_pack", pointer, [ctypes.POINTER(Dims), ctypes.POINTER(pointer)]),
        ("hvr_free", None, [pointer]),
        ("hvr_step", None, [pointer, ctypes.c_char, pointer, pointer, pointer, integer, integer, pointer, integer]),
        ("hvr_head", None, [pointer, pointer, integer, integer, pointer, pointer, integer]),
        ("hvr_block_forward", None, [pointer, pointer, *[integer] * 4, pointer, integer]),
        ("hvr_conv", None, [pointer, pointer, pointer, *[integer] * 6]),
        ("hvr_conv_parts", integer, [integer] * 5),
        ("hvr_conv_weights", None, [pointer, pointer, pointer, *[integer] * 6]),
        ("hvr_block_backward", None, [pointer, pointer, pointer, *[integer] * 4, pointer, pointer, ctypes.c_long, integer]),
    ):
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


@functools.cache
def library() -> ctypes.CDLL | None:
    """The kernels, or None where there are none."""
    if os.environ.get("HVR_NATIVE", "1") == "0":
        return None
    folder = cache_folder()
    try:
        if folder is not None:
            return _loaded(build(folder))
        if compiler() is None:
            return None
        log.warning("this user has no home folder to keep compiled CPU kernels in: they are compiled for this process alone, "
                    "which takes about 10 s; set HVR_CACHE to a folder that can be written")
        with tempfile.TemporaryDirectory(prefix="hvr-ssle-", ignore_cleanup_errors=True) as temporary:
            return _loaded(build(Path(temporary)))  # what is loaded stays in memory without its file
    except OSError as error:
        log.warning("the CPU kernels do not load (%s); plain PyTorch is used", error)
        return None


def _loaded(path: Path | None) -> ctypes.CDLL | None:
    return None if path is None else load(path)
