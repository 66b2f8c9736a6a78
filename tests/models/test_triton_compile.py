"""The GPU kernels compile for the GPUs of today: with Triton's own compiler, which needs no GPU."""
import pytest
import torch

triton = pytest.importorskip("triton", reason="needs Triton, which PyTorch brings on Linux")
pytest.importorskip("triton.backends.nvidia.compiler", reason="needs Triton's compiler for NVIDIA GPUs")

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402
from triton.runtime.jit import JITFunction  # noqa: E402

from exp_config import Config  # noqa: E402
from models import HVR, gpu, gpu_steps  # noqa: E402

TYPES = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.float16: "*fp16"}


def compiled(kernel, capability, arguments, num_warps=4, num_stages=3, **constants):
    """What a launch with these arguments would compile, for a GPU of this compute capability."""
    names = [parameter.name for parameter in kernel.params]
    signature = dict.fromkeys(constants, "constexpr")
    for name, value in zip(names, arguments, strict=False):
        signature[name] = TYPES[value.dtype] if isinstance(value, torch.Tensor) else "i32"
    aligned = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(names) if signature[name].startswith("*")}
    source = ASTSource(kernel, {name: signature[name] for name in names}, constants, aligned)
    options = {"num_warps": num_warps, "num_stages": num_stages}
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


def launches(monkeypatch, dtype):
    """The kernels that a picture takes, each with its arguments, once per kernel; nothing is computed."""
    seen = {}
    monkeypatch.setattr(JITFunction, "__getitem__", lambda kernel, grid: lambda *arguments, **settings: seen.setdefault(
        kernel.fn.__name__, (kernel, arguments, settings)))
    run = gpu.Recursion(gpu_steps.Weights(HVR.from_config(Config()).requires_grad_(False), dtype), torch.zeros(1, 3, 16, 16))
    run.run(iter(torch.zeros(2, 1, 24, 16, 16)), "LH")
    run.head()
    return seen


@torch.no_grad()
def test_kernels_compile_for_a_hopper_gpu(monkeypatch, tmp_path):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernels = launches(monkeypatch, torch.bfloat16)
    assert len(kernels) == 10
    for name, (kernel, arguments, settings) in kernels.items():
        binary = compiled(kernel, 90, arguments, **settings)
        assert len(binary.asm["cubin"]) > 1000, name
        assert name != "swin_block_kernel" or "wgmma" in binary.asm["ptx"]
