"""The GPU kernels compile for the GPUs of today: with Triton's own compiler, which needs no GPU."""
import pytest
import torch

triton = pytest.importorskip("triton", reason="needs Triton, which PyTorch brings on Linux")
pytest.importorskip("triton.backends.nvidia.compiler", reason="needs Triton's compiler for NVIDIA GPUs")

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402
from triton.runtime.jit import JITFunction  # noqa: E402

from exp_config import Config  # noqa: E402
from models import HVR  # noqa: E402
from models.kernels.gpu.norm_gradient import norm_act_with_gradients  # noqa: E402
from models.kernels.gpu.recursion import Recursion  # noqa: E402
from models.kernels.gpu.steps import Weights  # noqa: E402
from models.kernels.gpu.swin_gradient import fused_block  # noqa: E402

WITH_PRODUCTS = {"swin_block_kernel", "mlp_gradient_kernel", "attention_gradient_kernel"}
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


def launches(monkeypatch, run):
    """The kernels that `run()` launches, each with its arguments, once per kernel; nothing is computed."""
    seen = {}
    with monkeypatch.context() as patch:
        patch.setattr(JITFunction, "__getitem__", lambda kernel, grid: lambda *arguments, **settings: seen.setdefault(
            kernel.fn.__name__, (kernel, arguments, settings)))
        run()
    return seen


def picture():
    """A picture in bfloat16."""
    model = HVR.from_config(Config()).requires_grad_(False)
    weights = Weights(model.tensors(), model.sizes, torch.bfloat16)
    Recursion(weights, torch.zeros(1, 3, 16, 16)).enhance(torch.zeros(2, 1, 24, 16, 16), "LH")


def gradients():
    """Those of a Swin block and of a GroupNorm, products in bfloat16."""
    model = HVR.from_config(Config())
    block, norm = model.H_net_model.layers[0].residual_group.blocks[1], model.L_net_model.conv0_0.conv[1]
    x = torch.zeros(1, 16, 16, 24, requires_grad=True)
    fused_block(block.tensors(), block.sizes, x, torch.bfloat16).sum().backward()
    x = torch.zeros(1, 24, 16, 16, dtype=torch.bfloat16, requires_grad=True)
    norm_act_with_gradients(x, norm.num_groups, norm.weight, norm.bias, norm.eps).sum().backward()


@pytest.mark.parametrize(("run", "names"), [
    (picture, {"swin_block_kernel", "statistics_kernel", "norm_act_kernel", "update_latent_kernel", "pool_kernel",
               "upsample_kernel", "embed_kernel", "residual_kernel", "replace_latent_kernel", "head_kernel"}),
    (gradients, {"swin_block_kernel", "mlp_gradient_kernel", "attention_gradient_kernel", "statistics_kernel",
                 "norm_act_kernel", "norm_gradient_sums_kernel", "norm_gradient_kernel"})], ids=["picture", "gradients"])
def test_kernels_compile_for_a_hopper_gpu(monkeypatch, tmp_path, run, names):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    with torch.set_grad_enabled(run is gradients):
        kernels = launches(monkeypatch, run)
    assert set(kernels) == names
    for name, (kernel, arguments, settings) in kernels.items():
        binary = compiled(kernel, 90, arguments, **settings)
        assert len(binary.asm["cubin"]) > 1000, name
        assert name not in WITH_PRODUCTS or "wgmma" in binary.asm["ptx"], name
