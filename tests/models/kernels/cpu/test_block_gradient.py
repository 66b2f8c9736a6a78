"""The native Swin block with gradients equals the plain one."""
import copy

import pytest
import torch

from models.kernels.cpu import block_gradient
from models.kernels.cpu.library import library
from models.swin2sr import SwinBlock

pytestmark = pytest.mark.skipif(library() is None, reason="no C++ compiler: plain PyTorch runs instead")


def run(block, x, gy, plain=False):
    x = x.clone().requires_grad_()
    y = block.plain(x) if plain else block(x)
    y.backward(gy)
    return y.detach(), x.grad, {name: p.grad for name, p in block.named_parameters()}


@pytest.fixture
def kernels_run(monkeypatch):
    """(B, H, W) of the blocks that the kernels took."""
    found, compute = [], block_gradient.block_with_gradients
    monkeypatch.setattr(block_gradient, "block_with_gradients",
                        lambda x, *rest: found.append(tuple(x.shape[:3])) or compute(x, *rest))
    return found


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 16, 24), (1, 40, 8)])
def test_values_and_gradients(shifted, shape, kernels_run):
    torch.manual_seed(0)
    block = SwinBlock(24, 8, 4, 2.0, shifted)
    with torch.no_grad():
        for p in block.parameters():
            p.add_(torch.randn_like(p) * 0.2)
        block.attn.logit_scale[0] = 10.0                                # beyond the clamp: no gradient
    x, gy = torch.randn(*shape, 24) * 2, torch.randn(*shape, 24)
    y, gx, gradients = run(copy.deepcopy(block), x, gy)
    assert kernels_run == [shape]
    y_plain, gx_plain, plain = run(block, x, gy, plain=True)
    torch.testing.assert_close(y, y_plain, atol=5e-5, rtol=1e-5)
    for name, expected in {**plain, "x": gx_plain}.items():
        found = gx if name == "x" else gradients[name]
        assert (found - expected).norm() <= 1e-4 * expected.norm() + 1e-6, name


def test_same_bits_with_any_number_of_threads():
    torch.manual_seed(0)
    block = SwinBlock(24, 8, 4, 2.0, shifted=True)
    x, gy = torch.randn(2, 24, 32, 24), torch.randn(2, 24, 32, 24)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(run(copy.deepcopy(block), x, gy))
    finally:
        torch.set_num_threads(before)
    (y1, g1, p1), (y2, g2, p2) = results
    assert torch.equal(y1, y2) and torch.equal(g1, g2) and all(torch.equal(p1[n], p2[n]) for n in p1)


def test_only_published_sizes_in_float32_on_the_cpu(kernels_run):
    x = torch.zeros(1, 8, 8, 24)
    SwinBlock(24, 8, 2, 2.0, False)(x)
    SwinBlock(24, 4, 4, 2.0, False)(x)
    SwinBlock(24, 8, 4, 2.0, False).double()(x.double())
    with torch.autocast("cpu", torch.bfloat16):
        SwinBlock(24, 8, 4, 2.0, False)(x)
    with torch.no_grad():
        SwinBlock(24, 8, 4, 2.0, False)(x)
    assert kernels_run == []
    SwinBlock(24, 8, 4, 2.0, False)(x)
    assert kernels_run == [(1, 8, 8)]
