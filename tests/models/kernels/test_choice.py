"""What is chosen, on GPUs that are not there: fake tensors have a device and nothing else."""
import contextlib
import sys

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from exp_config import Config
from models import HVR, swin2sr
from models.kernels import attention, choice
from models.kernels.cpu.recursion import Recursion

pytest.importorskip("triton", reason="needs Triton, which PyTorch brings on Linux")


class Plain(torch.nn.Linear):
    """A module (any will do) whose formulas say so."""

    def plain(self, x):
        return "the formulas"


@pytest.fixture
def on_gpu(monkeypatch):
    """A module and a picture "on a GPU", and the types that the kernels are asked for."""
    from models.kernels.gpu import prepared

    asked = []
    monkeypatch.setattr(prepared, "on", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(prepared, "prepare", lambda network, device, dtype: asked.append(dtype))
    with FakeTensorMode():
        try:
            made = Plain(1, 1, device="cuda"), torch.empty(1, 3, 8, 8, device="cuda")
        except (AssertionError, RuntimeError) as error:
            pytest.skip(f"this PyTorch has no fake GPU tensors: {error}")
        yield *made, asked


@torch.no_grad()
def test_gpu_kernels_are_asked_for_in_the_type_of_autocast(on_gpu, monkeypatch):
    model, x, asked = on_gpu
    assert choice.recursion(model, x) == "the formulas"  # `prepare` found nothing here
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: device == "cuda")  # it cannot be, without a GPU
    monkeypatch.setattr(torch, "get_autocast_dtype", lambda device: torch.bfloat16)
    choice.recursion(model, x)
    assert asked == [torch.float32, torch.bfloat16]


def test_gpu_kernels_are_not_asked_for(on_gpu, monkeypatch):
    model, x, asked = on_gpu
    choice.recursion(model, x)                                    # gradients are wanted
    with torch.no_grad():
        choice.recursion(model, x.double())
        choice.recursion(model, x[:0])
        choice.recursion(Plain(1, 1), x)                # parameters elsewhere
        monkeypatch.setenv("HVR_TRITON", "0")
        choice.recursion(model, x)
    assert choice.swin_block(model, torch.empty(1, 8, 8, 24, device="cuda")) == "the formulas"
    assert asked == []


@torch.no_grad()
def test_missing_triton_is_said_once(on_gpu, monkeypatch, caplog):
    model, x, asked = on_gpu
    monkeypatch.setitem(sys.modules, "models.kernels.gpu.prepared", None)   # its import fails
    monkeypatch.delattr("models.kernels.gpu.prepared")
    choice.gpu_kernels.cache_clear()
    assert [choice.recursion(model, x) for _ in range(2)] == ["the formulas"] * 2
    choice.gpu_kernels.cache_clear()
    assert asked == [] and [record.message for record in caplog.records].count(caplog.records[0].message) == 1
    assert "plain PyTorch is used" in caplog.text


@torch.no_grad()
def test_the_cpu_has_its_own():
    x = torch.zeros(1, 3, 8, 8)
    found = choice.recursion(HVR.from_config(Config()), x)
    assert isinstance(found, Recursion if choice.has_cpu_kernels() else type(HVR.plain(HVR.from_config(Config()), x)))


def test_weights_packed_for_the_kernels_follow_a_fused_optimizer(monkeypatch):
    """It changes parameters without counting up their versions."""
    from models.kernels.gpu import prepared

    monkeypatch.setattr(prepared, "trusted", lambda *arguments: True)
    model, place = HVR.from_config(Config()).train(), (torch.device("cpu"), torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), 0.1, fused=True)

    def packed():
        return prepared.prepare(model, *place).weights.layers[0].blocks[0].fc1.clone()

    def step():
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()

    before = packed()
    step()
    after = packed()
    assert not torch.equal(before, after)
    model.eval()
    assert torch.equal(packed(), after) and prepared.prepare(model, *place) is prepared.prepare(model, *place)
    model.train()
    step()
    in_training = packed()
    model.eval()
    assert torch.equal(packed(), in_training) and not torch.equal(in_training, after)


def test_attention_in_a_gpus_portions_is_the_same(monkeypatch):
    """Heads padded to a multiple that fused kernels take, windows in calls of as many as a CUDA grid holds."""
    torch.manual_seed(0)
    q, k, v, bias = (torch.randn(*shape) for shape in [(2, 3, 4, 2, 16, 6)] * 3 + [(2, 16, 16)])
    expected = (q @ k.mT + bias).softmax(-1) @ v
    torch.testing.assert_close(choice.softmax_attention(q, k, v, bias), expected)
    monkeypatch.setattr(attention, "MAX_WINDOWS", 7)
    torch.testing.assert_close(attention.attention_in_portions(q, k, v, bias, 8), expected)


def test_the_gpu_kernels_mask_as_the_formula_does():
    from models.kernels.gpu import swin

    assert swin.MASKED_LOG2.value == swin2sr.MASKED * swin.LOG2E
