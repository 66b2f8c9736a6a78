"""Which recursion is chosen, on GPUs that are not there: fake tensors have a device and nothing else."""
import contextlib

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from exp_config import Config
from models import HVR, executor, fast, gpu_training

pytest.importorskip("triton", reason="needs Triton, which PyTorch brings on Linux")


@pytest.fixture
def on_gpu(monkeypatch):
    """A module (any will do) and a picture "on a GPU", and the types that the kernels are asked for."""
    from models import gpu

    asked = []
    monkeypatch.setattr(gpu, "on", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(gpu, "prepare", lambda model, device, dtype: asked.append(dtype))
    with FakeTensorMode():
        try:
            made = torch.nn.Linear(1, 1, device="cuda"), torch.empty(1, 3, 8, 8, device="cuda")
        except (AssertionError, RuntimeError) as error:
            pytest.skip(f"this PyTorch has no fake GPU tensors: {error}")
        yield *made, asked


@torch.no_grad()
def test_gpu_kernels_are_asked_for_in_the_type_of_autocast(on_gpu, monkeypatch):
    model, x, asked = on_gpu
    assert executor.fast_recursion(model, x) is None  # `prepare` found nothing here
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: device == "cuda")  # it cannot be, without a GPU
    monkeypatch.setattr(torch, "get_autocast_dtype", lambda device: torch.bfloat16)
    executor.fast_recursion(model, x)
    assert asked == [torch.float32, torch.bfloat16]


def test_gpu_kernels_are_not_asked_for(on_gpu, monkeypatch):
    model, x, asked = on_gpu
    monkeypatch.setattr(gpu_training, "trusted", lambda *arguments: pytest.fail("asked for"))
    executor.fast_recursion(model, x)                                    # gradients are wanted
    with torch.no_grad():
        executor.fast_recursion(model, x.double())
        executor.fast_recursion(model, x[:0])
        executor.fast_recursion(torch.nn.Linear(1, 1), x)                # parameters elsewhere
        monkeypatch.setenv("HVR_TRITON", "0")
        executor.fast_recursion(model, x)
    assert gpu_training.block_with_gradients(model, torch.empty(1, 8, 8, 24, device="cuda")) is None
    assert asked == []


@torch.no_grad()
def test_missing_triton_is_said_once(on_gpu, monkeypatch, caplog):
    model, x, asked = on_gpu
    monkeypatch.setitem(__import__("sys").modules, "models.gpu", None)   # its import fails
    monkeypatch.delattr("models.gpu")
    executor.gpu_kernels.cache_clear()
    assert executor.fast_recursion(model, x) is None and executor.fast_recursion(model, x) is None
    executor.gpu_kernels.cache_clear()
    assert asked == [] and [record.message for record in caplog.records].count(caplog.records[0].message) == 1
    assert "plain PyTorch is used" in caplog.text


@torch.no_grad()
def test_the_cpu_has_its_own():
    x = torch.zeros(1, 3, 8, 8)
    found = executor.fast_recursion(HVR.from_config(Config()), x)
    assert found is None or isinstance(found, fast.Recursion)


def test_weights_packed_for_the_kernels_follow_a_fused_optimizer(monkeypatch):
    """It changes parameters without counting up their versions."""
    from models import gpu

    monkeypatch.setattr(gpu, "trusted", lambda *arguments: True)
    model, place = HVR.from_config(Config()).train(), (torch.device("cpu"), torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), 0.1, fused=True)

    def packed():
        return gpu.prepare(model, *place).weights.layers[0].blocks[0].fc1.clone()

    def step():
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()

    before = packed()
    step()
    after = packed()
    assert not torch.equal(before, after)
    model.eval()
    assert torch.equal(packed(), after) and gpu.prepare(model, *place) is gpu.prepare(model, *place)
    model.train()
    step()
    in_training = packed()
    model.eval()
    assert torch.equal(packed(), in_training) and not torch.equal(in_training, after)
