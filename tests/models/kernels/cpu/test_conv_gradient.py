"""The native 3x3 convolution with gradients equals PyTorch's."""
import pytest
import torch
from torch.nn import functional as F

from models.kernels import conv3x3
from models.kernels.cpu import conv_gradient
from models.kernels.cpu.library import library
from models.swin2sr import ImageConv

pytestmark = pytest.mark.skipif(library() is None, reason="no C++ compiler: plain PyTorch runs instead")


@pytest.fixture
def kernels_run(monkeypatch):
    """Shapes of the weights that the kernels took."""
    found, compute = [], conv_gradient.conv_with_gradients
    monkeypatch.setattr(conv_gradient, "conv_with_gradients",
                        lambda x, weight: found.append(tuple(weight.shape)) or compute(x, weight))
    return found


def run(x, weight, gy):
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    y = conv3x3(x, weight)
    y.backward(gy)
    return y.detach(), x.grad, weight.grad


def assert_near(found, expected):
    assert (found.double() - expected).norm() <= 3e-6 * expected.norm()


@pytest.mark.parametrize("channels", [(24, 24), (48, 24), (4, 96), (144, 48)])
@pytest.mark.parametrize("shape", [(2, 8, 8), (1, 13, 21), (3, 5, 40), (1, 1, 1), (2, 33, 16), (1, 6, 1100)])
def test_values_and_gradients_against_float64(channels, shape, kernels_run):
    torch.manual_seed(0)
    B, H, W = shape
    i, o = channels
    x, weight, gy = torch.randn(B, i, H, W), 0.1 * torch.randn(o, i, 3, 3), torch.randn(B, o, H, W)
    found, expected = (run(*(t.to(dtype) for t in (x, weight, gy))) for dtype in (torch.float32, torch.float64))
    assert kernels_run == [(o, i, 3, 3)]                              # not in float64
    for ours, exact in zip(found, expected, strict=True):
        assert_near(ours, exact)


def test_bias_and_channels_last():
    torch.manual_seed(0)
    conv = ImageConv(24, 24)
    x = torch.randn(2, 16, 24, 24)
    conv(x).square().sum().backward()
    exact = F.conv2d(x.permute(0, 3, 1, 2).double(), conv.weight.double(), conv.bias.double(), padding=1)
    weight, bias = torch.autograd.grad(exact.square().sum(), (conv.weight, conv.bias))
    assert_near(conv(x).detach(), exact.detach().permute(0, 2, 3, 1))
    assert_near(conv.weight.grad, weight.double())
    assert_near(conv.bias.grad, bias.double())


def test_only_the_gradients_that_are_wanted(monkeypatch):
    x, weight = torch.randn(1, 4, 8, 8), torch.randn(4, 4, 3, 3, requires_grad=True)
    conv3x3(x, weight).sum().backward()
    expected = weight.grad.clone()
    weight.requires_grad_(False)
    monkeypatch.setattr(conv_gradient, "weights_gradient", None)      # would fail if it were called
    y = x.clone().requires_grad_()
    conv3x3(y, weight).sum().backward()
    assert y.grad is not None and torch.equal(weight.grad, expected)


def test_same_bits_with_any_number_of_threads():
    torch.manual_seed(0)
    x, weight, gy = torch.randn(3, 48, 40, 36), torch.randn(24, 48, 3, 3), torch.randn(3, 24, 40, 36)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(run(x, weight, gy))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_where_the_kernels_do_not_apply(kernels_run):
    x, weight = torch.zeros(1, 4, 8, 8), torch.zeros(4, 4, 3, 3)
    conv3x3(torch.zeros(1, 3, 8, 8), torch.zeros(4, 3, 3, 3))
    conv3x3(x, torch.zeros(6, 4, 3, 3))
    conv3x3(x.double(), weight.double())
    conv3x3(x[:0], weight)
    with torch.no_grad():
        conv3x3(x, weight)
    with torch.autocast("cpu", torch.bfloat16):
        conv3x3(x, weight)
    assert kernels_run == []
    conv3x3(x, weight)
    assert kernels_run == [(4, 4, 3, 3)]
