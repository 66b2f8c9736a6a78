"""The one door to pyiqa: its metrics built from weight files on this machine, and its global side effects undone.

pyiqa serves the losses lpips, ssim, psnr, nlpd, nrqm and the metrics lpips, niqe, piqe, brisque. It is licensed for
non-commercial use, takes seconds to import and is optional: nothing here imports it before a metric is asked for.

Weight files lie below torch's cache, `$TORCH_HOME/hub` (by default `~/.cache/torch/hub`). A file that is absent is
fetched once, within a few seconds or not at all, so that a machine without internet learns at once what it lacks.
"""
from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import logging
import os
import random
import re
import tempfile
import threading
import urllib.parse
import urllib.request
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

# Metric -> the files it needs, as paths below $TORCH_HOME/hub. Metrics that are not named need none.
WEIGHT_FILES: dict[str, tuple[str, ...]] = {
    "lpips": ("pyiqa/LPIPS_v0.1_alex-df73285e.pth", "checkpoints/alexnet-owt-7be5be79.pth"),
    "niqe": ("pyiqa/niqe_modelparameters.mat",),
    "brisque": ("pyiqa/brisque_svm_weights.pth",),
    "nrqm": ("pyiqa/NRQM_model.mat",),
}
CONNECT_SECONDS = 6.0  # name look-up and first byte of a download, together
READ_SECONDS = 10.0    # longest silence within a download
_silent_hosts: set[str] = set()  # asked in vain by this process: not waited for again
SIDE_EFFECT_LOGGERS = ("", "pyiqa", "huggingface_hub")  # "" is Python's root logger


class PyiqaUnavailable(ValueError):
    """pyiqa or one of its weight files cannot be had here; the message says what, where and how to get it."""


def weights_root() -> Path:
    """The folder `$TORCH_HOME/hub` as torch sees it now, absolute."""
    return Path(torch.hub.get_dir()).absolute()


def create_metric(name: str, *, device: torch.device | str, as_loss: bool = False) -> torch.nn.Module:
    """pyiqa's metric `name` in eval mode, frozen; images (B, 3, H, W) in [0, 1].

    `as_loss=True` lets gradients through to the images and reduces to the batch's mean; it also leaves out the range
    check, which would wait for the GPU at each call. Calls should stand within `side_effects_undone`.
    Raises PyiqaUnavailable when pyiqa is not installed or does not load, or a weight file is absent, unreadable or not to
    be fetched.
    """
    if importlib.util.find_spec("pyiqa") is None:
        raise PyiqaUnavailable(
            f"{name} needs the package pyiqa, which is not installed; `pip install --no-deps pyiqa` adds it "
            "(licensed for non-commercial use), or leave this name out"
        )
    root = weights_root()
    with side_effects_undone():
        try:
            import pyiqa
            from pyiqa.utils import download_util
        except ImportError as error:
            raise PyiqaUnavailable(f"{name} needs the package pyiqa, which does not load: {error}; "
                                   "`pip install -U -r requirements.txt` brings what it needs") from error
        _require_files(name, root)
        # pyiqa fixes its folder when it is imported; TORCH_HOME may have been set since.
        cache, download_util.DEFAULT_CACHE_DIR = download_util.DEFAULT_CACHE_DIR, str(root / "pyiqa")
        try:
            metric: torch.nn.Module = pyiqa.create_metric(name, as_loss=as_loss, device=torch.device(device))
        except Exception as error:
            files = ", ".join(str(root / file) for file in WEIGHT_FILES.get(name, ()))
            raise PyiqaUnavailable(
                f"{name} cannot be built: {type(error).__name__}: {error}. Files it reads: {files or 'none'}; "
                "delete a damaged one to have it fetched again"
            ) from error
        finally:
            download_util.DEFAULT_CACHE_DIR = cache
    return metric.requires_grad_(False).eval()


@contextlib.contextmanager
def side_effects_undone() -> Iterator[None]:
    """Put back, on leaving, the global state that importing, building or calling pyiqa changes.

    That is: cudnn's flags, torch's default dtype, thread count and CPU random state (building AlexNet draws from it),
    numpy's and Python's random states, warning filters, environment variables, and levels, handlers and propagation of
    the loggers that it sets up. What it prints is swallowed.
    """
    cudnn = torch.backends.cudnn
    flags = cudnn.enabled, cudnn.benchmark, cudnn.deterministic
    dtype, threads, environment = torch.get_default_dtype(), torch.get_num_threads(), dict(os.environ)
    numpy_state, python_state = np.random.get_state(), random.getstate()
    loggers = [logging.getLogger(name) for name in SIDE_EFFECT_LOGGERS]
    saved = [(logger.level, list(logger.handlers), logger.propagate) for logger in loggers]
    logging.getLogger("pyiqa").setLevel(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            torch.random.fork_rng(devices=[]),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        cudnn.enabled, cudnn.benchmark, cudnn.deterministic = flags
        torch.set_default_dtype(dtype)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        for variable in os.environ.keys() - environment.keys():
            del os.environ[variable]
        for variable, value in environment.items():
            if os.environ.get(variable) != value:
                os.environ[variable] = value
        np.random.set_state(numpy_state)
        random.setstate(python_state)
        for logger, (level, handlers, propagate) in zip(loggers, saved, strict=True):
            logger.setLevel(level)
            logger.handlers[:] = handlers
            logger.propagate = propagate


def _require_files(name: str, root: Path) -> None:
    """Fetch what is absent of `name`'s weight files; raise PyiqaUnavailable when one cannot be had."""
    absent = [file for file in WEIGHT_FILES.get(name, ()) if not (root / file).is_file()]
    for position, file in enumerate(absent):
        try:
            if "~" in root.parts:  # torch could not tell it, and would make a folder of that name here
                raise OSError("this user has no home folder for them")
            _download(_url_of(file), root / file)
        except (OSError, ValueError) as error:
            listing = "\n".join(f"  {root / rest}\n    from {_url_of(rest)}" for rest in absent[position:])
            raise PyiqaUnavailable(
                f"{name} needs weight files that are not on this machine and could not be fetched ({error}):\n"
                f"{listing}\n"
                f"Fetch them on a machine with internet and put them there, or set TORCH_HOME to the folder that holds "
                f"hub/{absent[0]} (TORCH_HOME is {os.environ.get('TORCH_HOME', 'not set: ~/.cache/torch')})"
            ) from error


def _url_of(file: str) -> str:
    """Where the packages themselves fetch a weight file from."""
    if file.startswith("checkpoints/alexnet"):
        from torchvision.models import AlexNet_Weights

        return str(AlexNet_Weights.IMAGENET1K_V1.url)
    from pyiqa.archs.arch_util import get_url_from_name

    return str(get_url_from_name(Path(file).name))


def _download(url: str, path: Path) -> None:
    """Fetch `url` to `path`, whole or not at all; a name ending in `-<hex>` must fit the SHA-256. Raises OSError."""
    response = _open_within(url, CONNECT_SECONDS)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        digest = hashlib.sha256()
        with response, os.fdopen(descriptor, "wb") as target:
            while chunk := response.read(1 << 20):
                digest.update(chunk)
                target.write(chunk)
        expected = re.search(r"-([0-9a-f]{8,})$", path.stem)
        if expected and not digest.hexdigest().startswith(expected[1]):
            raise OSError(f"the downloaded file's SHA-256 starts with {digest.hexdigest()[:8]}, expected {expected[1]}")
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _open_within(url: str, seconds: float) -> Any:
    """`urlopen` that gives up after `seconds`: a thread, since resolving a name obeys no timeout. Raises OSError."""
    host = urllib.parse.urlsplit(url).netloc
    if host in _silent_hosts:
        raise OSError(f"{host} did not answer before")
    result: dict[str, Any] = {}

    def connect() -> None:
        try:
            result["response"] = urllib.request.urlopen(url, timeout=READ_SECONDS)
        except Exception as error:
            result["error"] = error

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(seconds)
    if "response" in result:
        return result["response"]
    if "error" in result:
        raise OSError(str(result["error"]))
    _silent_hosts.add(host)
    raise OSError(f"{host} gave no answer within {seconds:g} s")
