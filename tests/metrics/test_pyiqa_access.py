"""The one door to pyiqa: global state put back, weight files fetched whole or not at all and without long waits."""
from __future__ import annotations

import hashlib
import io
import logging
import os
import random
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
import torch

from exp_config import pyiqa_access
from exp_config.pyiqa_access import PyiqaUnavailable, create_metric, side_effects_undone
from losses.total import TotalLoss
from metrics.suite import MetricSuite

# A fresh process, since importing pyiqa has effects of its own; flags are set the other way than pyiqa sets them.
GLOBAL_STATE = """
import gc, logging, os, random, sys, warnings
gc.disable()  # a quarter of the time of its imports
import numpy as np, torch
from losses.total import TotalLoss
from metrics.suite import MetricSuite

def state():
    cudnn, loggers = torch.backends.cudnn, ["", "pyiqa", "huggingface_hub", "PIL", "torch"]
    return {
        "cudnn": (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32),
        "torch": (torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled(),
                  torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision()),
        "random": (torch.get_rng_state().tolist(), repr(np.random.get_state()), random.getstate()),
        "warnings": list(warnings.filters), "environment": dict(os.environ), "path": list(sys.path),
        "loggers": [(l.level, list(l.handlers), l.propagate, l.disabled) for l in map(logging.getLogger, loggers)],
        "streams": (sys.stdout, sys.stderr, sys.excepthook),
    }

torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = True, False
torch.set_default_dtype(torch.float64)
logging.basicConfig(level=logging.INFO)
before = state()
suite, loss = MetricSuite(), TotalLoss({"mae": 1, "lpips": 1, "ssim": 1, "nlpd": 1, "psnr": 1})
assert not suite.missing, suite.missing
assert "pyiqa" in sys.modules
after = state()
picture = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
suite.score(picture, picture[::-1])
image = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
loss(image.requires_grad_(), image.detach(), image.detach())[0].backward()
used = state()
for name in before:
    assert before[name] == after[name], (name, before[name], after[name])
    assert before[name] == used[name], (name, before[name], used[name])
sys.stdout.flush()
os._exit(0)
"""


def test_pyiqa_leaves_no_trace(shared):
    pytest.importorskip("pyiqa", reason="needs pyiqa")
    environment = {**os.environ, "TORCH_HOME": str(shared / "metric_weights"), "PYTHONPATH": os.getcwd()}
    run = subprocess.run([sys.executable, "-c", GLOBAL_STATE], capture_output=True, text=True, env=environment)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_pyiqa_without_a_package_that_it_needs(tmp_path, monkeypatch):
    (tmp_path / "pyiqa").mkdir()
    (tmp_path / "pyiqa/__init__.py").write_text("import a_package_that_is_absent")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pyiqa", raising=False)
    with pytest.raises(PyiqaUnavailable, match="lpips needs .*does not load: No module named 'a_package_that_is_absent'"):
        create_metric("lpips", device="cpu")
    assert "lpips" in TotalLoss({"mae": 1.0, "lpips": 1.0}).missing
    assert list(MetricSuite(["psnr", "lpips"]).available) == ["psnr"]


def test_state_is_put_back_after_an_error_too():
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate(), dict(os.environ)
    filters, threads = list(warnings.filters), torch.get_num_threads()
    handlers, deterministic = list(logging.getLogger("pyiqa").handlers), torch.backends.cudnn.deterministic
    with pytest.raises(KeyError), side_effects_undone():
        torch.manual_seed(0), np.random.seed(0), random.seed(0)
        torch.set_num_threads(threads + 1)
        torch.backends.cudnn.deterministic = not torch.backends.cudnn.deterministic
        torch.set_default_dtype(torch.float64)
        os.environ["LEFT_BEHIND"] = "1"
        os.environ.pop("PATH")
        logging.getLogger("pyiqa").addHandler(logging.NullHandler())
        warnings.simplefilter("error")
        raise KeyError
    assert torch.equal(before[0], torch.get_rng_state()) and np.array_equal(before[1], np.random.get_state()[1])
    assert before[2:] == (random.getstate(), dict(os.environ))
    assert (filters, threads) == (list(warnings.filters), torch.get_num_threads())
    assert torch.get_default_dtype() == torch.float32 and torch.backends.cudnn.deterministic is deterministic
    assert logging.getLogger("pyiqa").handlers == handlers


def serve(monkeypatch, contents: dict[str, bytes]):
    """Answer downloads by file name; anything else fails as without internet."""

    def open_within(url: str, seconds: float):
        name = url.rsplit("/", 1)[-1]
        if name not in contents:
            raise OSError("no internet here")
        return io.BytesIO(contents[name])

    monkeypatch.setattr(pyiqa_access, "_open_within", open_within)


def test_an_absent_file_is_fetched_once(shared, tmp_path, monkeypatch):
    pytest.importorskip("pyiqa", reason="needs pyiqa")
    content = (shared / "metric_weights/hub/pyiqa/niqe_modelparameters.mat").read_bytes()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    serve(monkeypatch, {"niqe_modelparameters.mat": content})
    create_metric("niqe", device="cpu")
    serve(monkeypatch, {})
    create_metric("niqe", device="cpu")
    assert [path.name for path in (tmp_path / "hub/pyiqa").iterdir()] == ["niqe_modelparameters.mat"]


def test_a_download_with_another_checksum_is_not_kept(tmp_path, monkeypatch):
    target = tmp_path / "hub/weights-0123abcd.pth"
    serve(monkeypatch, {"weights-0123abcd.pth": b"an error page"})
    found = hashlib.sha256(b"an error page").hexdigest()[:8]
    with pytest.raises(OSError, match=f"starts with {found}, expected 0123abcd"):
        pyiqa_access._download("https://host/weights-0123abcd.pth", target)
    assert list(target.parent.iterdir()) == []


def test_a_broken_download_leaves_nothing(tmp_path, monkeypatch):
    class Broken(io.BytesIO):
        def read(self, size=-1):
            raise ConnectionResetError("cut off")

    monkeypatch.setattr(pyiqa_access, "_open_within", lambda url, seconds: Broken())
    with pytest.raises(OSError, match="cut off"):
        pyiqa_access._download("https://host/weights.pth", tmp_path / "weights.pth")
    assert list(tmp_path.iterdir()) == []


def test_a_silent_network_is_waited_for_once(monkeypatch):
    monkeypatch.setattr(pyiqa_access, "_silent_hosts", set())
    monkeypatch.setattr(pyiqa_access.urllib.request, "urlopen", lambda url, timeout: time.sleep(5))
    started = time.monotonic()
    with pytest.raises(OSError, match=r"silent\.host gave no answer within 0\.2 s"):
        pyiqa_access._open_within("https://silent.host/a.pth", 0.2)
    with pytest.raises(OSError, match="did not answer before"):
        pyiqa_access._open_within("https://silent.host/b.pth", 5)
    assert time.monotonic() - started < 2


def test_an_unwritable_cache_is_a_clear_error(tmp_path, monkeypatch):
    pytest.importorskip("pyiqa", reason="needs pyiqa")
    (tmp_path / "hub").write_text("a file where a folder is needed")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    serve(monkeypatch, {"brisque_svm_weights.pth": b"content"})
    with pytest.raises(PyiqaUnavailable, match=r"brisque_svm_weights\.pth"):
        create_metric("brisque", device="cpu")
