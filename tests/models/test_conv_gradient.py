"""The native 3x3 convolution with gradients equals PyTorch's."""
import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models import conv_gradient, native_library
from models.conv_gradient import Conv3x3, applies
from models.swin2sr import ImageConv

pytestmark = pytest.mark.skipif(native_library.library() is None, reason="no C++ compiler: plain PyTorch runs instead")


def run(conv, x, gy):
    x = x.clone().requires_grad_()
    y = conv(x)
    y.backward(gy)
    return y.detach(), x.grad, conv.weight.grad


def assert_near(found, expected):
    assert (found.double() - expected).norm() <= 3e-6 * expected.norm()


@pytest.mark.parametrize("channels", [(24, 24), (48, 24), (4, 96), (144, 48)])
@pytest.mark.parametrize("shape", [(2, 8, 8), (1, 13, 21), (3, 5, 40), (1, 1, 1), (2, 33, 16), (1, 6, 1100)])
def test_values_and_gradients_against_float64(channels, shape):
    torch.manual_seed(0)
    B, H, W = shape
    conv = Conv3x3(*channels, bias=False)
    x, gy = torch.randn(B, channels[0], H, W), torch.randn(B, channels[1], H, W)
    assert applies(conv, x)
    exact = nn.Conv2d(*channels, 3, padding=1, bias=False).double()
    exact.weight.data.copy_(conv.weight.data)
    for found, expected in zip(run(conv, x, gy), run(exact, x.double(), gy.double()), strict=True):
        assert_near(found, expected)


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
    conv, x = Conv3x3(4, 4, bias=False), torch.randn(1, 4, 8, 8)
    conv(x).sum().backward()
    expected = conv.weight.grad.clone()
    conv.weight.requires_grad_(False)
    monkeypatch.setattr(conv_gradient, "weights_gradient", None)      # would fail if it were called
    y = x.clone().requires_grad_()
    conv(y).sum().backward()
    assert y.grad is not None and torch.equal(conv.weight.grad, expected)


def test_same_bits_with_any_number_of_threads():
    torch.manual_seed(0)
    conv = Conv3x3(48, 24, bias=False)
    x, gy = torch.randn(3, 48, 40, 36), torch.randn(3, 24, 40, 36)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(run(copy.deepcopy(conv), x, gy))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_where_the_kernels_do_not_apply():
    x = torch.zeros(1, 4, 8, 8)
    assert applies(Conv3x3(4, 4), x)
    assert not applies(Conv3x3(3, 4), torch.zeros(1, 3, 8, 8))
    assert not applies(Conv3x3(4, 6), x)
    assert not applies(Conv3x3(4, 4).double(), x.double())
    assert not applies(Conv3x3(4, 4), x[:0])
    with torch.no_grad():
        assert not applies(Conv3x3(4, 4), x)
    with torch.autocast("cpu", torch.bfloat16):
        assert not applies(Conv3x3(4, 4), x)
    assert Conv3x3(3, 6)(torch.zeros(1, 3, 8, 8)).shape == (1, 6, 8, 8)  # PyTorch's own then
