"""Where and how exactly to compute."""
from __future__ import annotations

import logging
import platform
import subprocess
import sys

import pytest
import torch

import engine.device
from engine.device import DeviceError, autocast_dtype, choose_device, training_precision
from exp_config.config import PROJECT_ROOT


def test_devices():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type in ("cpu", "cuda", "mps")
    for name in ("tpu", "cuda:x", "cpu:1"):
        with pytest.raises(DeviceError, match="expected auto, cpu, cuda"):
            choose_device(name)
    with pytest.raises(DeviceError, match="cuda:99|no CUDA GPU"):
        choose_device("cuda:99")


def test_every_process_of_a_launcher_gets_its_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for variables in ({"LOCAL_RANK": "1"}, {"SLURM_NTASKS": "8", "SLURM_PROCID": "5", "SLURM_LOCALID": "3"}):
        with monkeypatch.context() as launched:
            for name, value in variables.items():
                launched.setenv(name, value)
            assert choose_device("auto") == choose_device("cuda") == torch.device("cuda", 1)
    assert choose_device("cuda:0") == torch.device("cuda", 0)


def test_auto_precision(monkeypatch):
    gpu = torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert autocast_dtype("auto", gpu) is torch.bfloat16
    assert autocast_dtype("auto", gpu, eight_bit=False) is None
    assert autocast_dtype("auto", torch.device("cpu")) is None
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert autocast_dtype("auto", gpu) is None


@pytest.fixture
def cpu_with(monkeypatch):
    """Pretend that the CPU computes in 16 bits, or that there are kernels for it."""
    engine.device._say_once.cache_clear()

    def pretend(*, sixteen_bits: bool, kernels: bool = False) -> None:
        monkeypatch.setattr(engine.device, "cpu_has", lambda dtype: sixteen_bits)
        monkeypatch.setattr(engine.device, "has_cpu_kernels", lambda: kernels)

    return pretend


@pytest.mark.parametrize(("sixteen_bits", "kernels", "expected"), [
    (True, False, torch.bfloat16), (False, False, None), (True, True, None), (False, True, None)])
def test_bf16_on_a_cpu_only_where_it_gains(cpu_with, caplog, sixteen_bits, kernels, expected):
    cpu_with(sixteen_bits=sixteen_bits, kernels=kernels)
    with caplog.at_level(logging.WARNING):
        assert [autocast_dtype("bf16", torch.device("cpu")) for _ in range(3)] == [expected] * 3
    assert caplog.text.count("computing in float32") == (expected is None)
    assert autocast_dtype("fp32", torch.device("cpu")) is None
    assert autocast_dtype("bf16", torch.device("cuda", 0)) is torch.bfloat16


def test_training_in_bf16_on_a_cpu_without_it(cpu_with, caplog):
    cpu_with(sixteen_bits=False)
    assert training_precision("bf16", on_cpu=True) == "no" and "training in float32" in caplog.text
    assert training_precision("bf16", on_cpu=False) == "bf16"
    assert training_precision("fp16", on_cpu=True) == "fp16"  # refused later, with a message
    cpu_with(sixteen_bits=True)
    assert training_precision("bf16", on_cpu=True) == "bf16"


def test_what_the_cpu_has_is_found_out():
    assert {type(engine.device.cpu_has(dtype)) for dtype in (torch.bfloat16, torch.float16)} == {bool}


PAGE_FAULTS = """
import resource
import torch
from engine.device import keep_freed_memory
def fill():
    torch.empty(10 * 2**20).fill_(1.0)
def faults():
    for _ in range(8):
        fill()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(32):
        fill()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
plain = faults()
keep_freed_memory(2**20)                       # smaller than what is filled
beyond = faults()
keep_freed_memory()
print(plain, beyond, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="an allocator other than glibc's")
def test_freed_memory_is_kept_for_the_next_tensor():
    plain, beyond, kept = map(int, subprocess.check_output([sys.executable, "-c", PAGE_FAULTS], cwd=PROJECT_ROOT).split())
    assert kept < plain / 3  # a smaller allocation in between may cost a block its place
    assert beyond > plain / 2
