"""What test_triton.py runs in a process of its own: the GPU kernels under Triton's interpreter, compared with PyTorch.

Prints one JSON object {case: {"error": ||found - expected|| / ||expected||, ...}}. Not collected by pytest.
"""
import contextlib
import copy
import json
import os
import sys
from types import SimpleNamespace

os.environ["TRITON_INTERPRET"] = "1"  # before triton is imported
os.environ["HVR_NATIVE"] = "0"

import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from engine.program import run_program
from exp_config import Config
from models import HVR, State
from models.kernels.gpu import maps, norm_gradient, prepared, recursion, steps, swin_gradient, training
from models.kernels.gpu import norm as norms
from models.kernels.gpu.swin import SwinBlockWeights, swin_block
from models.swin2sr import SwinBlock
from models.unetpp import ConvBlock
from models.weights import load_state

TYPES = {"float32": (torch.float32, torch.float32), "float16": (torch.float16, torch.float16),
         "bfloat16": (torch.bfloat16, torch.float32)}  # of maps, and of products: the interpreter has none of bfloat16


def error(found, expected):
    difference = (found.double() - expected.double()).norm() / expected.double().norm()
    return {"error": difference.item()}


def random_block(dim, window, heads, ratio, shifted):
    block = SwinBlock(dim, window, heads, ratio, shifted).eval().requires_grad_(False)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    block.attn.logit_scale.fill_(1.7)
    return block


def swin(name, shape, *, window=8, heads=4, ratio=2.0, shifted=True, kind="float32", in_place=False):
    dtype, dot = TYPES[kind]
    block = random_block(shape[-1], window, heads, ratio, shifted)
    x = torch.randn(shape).to(dtype)
    weights = SwinBlockWeights.of(block.tensors(), block.sizes, dot)
    expected = block.double().plain(x.double())
    found = swin_block(x, weights, x if in_place else torch.full_like(x, float("nan")))
    return {name: error(found, expected) | {"in_place": found is x}}


def gradients(name, shape, programs=1, **settings):
    """Of x and of every parameter, the position bias's MLP and the logit scale beyond its clamp among them."""
    block = random_block(shape[-1], settings.get("window", 8), settings.get("heads", 4), settings.get("ratio", 2.0),
                         settings.get("shifted", True)).requires_grad_(True)
    with torch.no_grad():
        block.attn.logit_scale[0] = 10.0
    swin_gradient.PROGRAMS = programs
    x, g_y, found = torch.randn(shape), torch.randn(shape), []
    for compute in (lambda x: swin_gradient.fused_block(block.tensors(), block.sizes, x, torch.float32), block.plain):
        at = x.clone().requires_grad_()
        found.append(torch.autograd.grad(compute(at), (at, *block.parameters()), g_y))
    ours, plain = found
    return {name: {"error": max(error(a, b)["error"] if b.any() else a.abs().max().item()
                                for a, b in zip(ours, plain, strict=True))}}


def gradient_check():
    """The comparison before first use passes the right kernels and finds wrong ones."""
    block = random_block(20, 4, 2, 1.5, shifted=True)
    right = training.disagreement(block, torch.device("cpu"), torch.float32)
    compute = swin_gradient.block_gradients
    swin_gradient.block_gradients = lambda *arguments: [g * 1.01 for g in compute(*arguments)]
    return {"gradient_check": {"right": right, "wrong": training.disagreement(block, torch.device("cpu"), torch.float32)}}


def norm(name, shape, groups, mean=0.0, kind="float32", to_slice=False):
    dtype = TYPES[kind][0]
    x = (torch.randn(shape) + mean + torch.arange(shape[0])[:, None, None, None]).to(dtype)
    gamma, beta = torch.randn(shape[-1]), torch.randn(shape[-1])
    channels_first = x.double().permute(0, 3, 1, 2)
    expected = F.leaky_relu(F.group_norm(channels_first, groups, gamma.double(), beta.double(), 1e-5), 0.01).permute(0, 2, 3, 1)
    wide = torch.full((*shape[:-1], 2 * shape[-1]), float("nan"), dtype=dtype)
    out = wide[..., shape[-1]:] if to_slice else None
    found = norms.norm_act(x, groups, gamma, beta, 1e-5, out)
    return {name: error(found, expected) | {"rest_untouched": bool(wide[..., : shape[-1]].isnan().all())}}


def norm_gradients(name, shape, groups, mean=0.0):
    """Output and gradients of GroupNorm with LeakyReLU."""
    group_norm = torch.nn.GroupNorm(groups, shape[1])
    for parameter in group_norm.parameters():
        torch.nn.init.normal_(parameter)
    x, g_y, found = torch.randn(shape) + mean, torch.randn(shape), []
    for net, dtype in ((group_norm, torch.float32), (copy.deepcopy(group_norm).double(), torch.float64)):
        at = x.to(dtype).requires_grad_()
        y = (norm_gradient.norm_act_with_gradients(at, groups, net.weight, net.bias, net.eps) if net is group_norm
             else F.leaky_relu(net(at), 0.01))
        found.append((y.detach(), *torch.autograd.grad(y, (at, *net.parameters()), g_y.to(dtype))))
    return {name: {"error": max(error(a, b)["error"] for a, b in zip(*found, strict=True))}}


def norm_gradient_check():
    """The comparison before first use passes the right kernels and finds wrong ones."""
    training.NORM_CHECK_SIZE = (8, 8)
    gamma, beta, cases = torch.ones(24, requires_grad=True), torch.zeros(24, requires_grad=True), {}
    settings = 2, gamma, beta, 1e-5, torch.device("cpu")
    for kind, dtype in (("right", torch.float32), ("right_bfloat16", torch.bfloat16)):
        cases[kind] = training.norm_disagreement(*settings, dtype)
    compute = training.norm_act_with_gradients
    training.norm_act_with_gradients = lambda x, *rest: compute(x, *rest) + 0.01 * x
    cases["wrong"] = training.norm_disagreement(*settings, torch.float32)
    training.norm_act_with_gradients = compute
    return {"norm_gradient_check": cases}


def conv_block():
    """L's block in a training on a GPU, its output and gradients; the convolutions are PyTorch's."""
    block = ConvBlock(8, 12, 2)
    training.torch = FakeCuda()
    x, found = torch.randn(2, 8, 8, 12), []

    def by_kernels(x):
        for conv, norm in (block.conv[:2], block.conv[3:5]):
            x = training.conv_norm_act_with_gradients(x, conv.weight, norm.num_groups, norm.weight, norm.bias, norm.eps,
                                                      torch.float32)
        return x

    for compute in (by_kernels, block.conv):
        at = x.clone().requires_grad_()
        y = compute(at)
        found.append((y.detach(), *torch.autograd.grad(y.square().sum(), (at, *block.parameters()))))
    training.torch = torch
    return {"conv_block": {"error": max(error(a, b)["error"] for a, b in zip(*found, strict=True))}}


class FakeCuda:
    """torch, but for the choice of a GPU to launch on."""

    cuda = SimpleNamespace(device=lambda _: contextlib.nullcontext())

    def __getattr__(self, name):
        return getattr(torch, name)


def levels():
    wide = torch.randn(2, 4, 6, 40)
    x = wide[..., 8:32]
    channels_first = x.permute(0, 3, 1, 2)
    out = torch.full((2, 8, 12, 40), float("nan"))
    maps.upsample(x, out[..., 16:])
    up = F.interpolate(channels_first, scale_factor=2, mode="bilinear", align_corners=True).permute(0, 2, 3, 1)
    return {"pool": error(maps.pool(x), F.max_pool2d(channels_first, 2).permute(0, 2, 3, 1)),
            "upsample": error(out[..., 16:], up) | {"rest_untouched": bool(out[..., :16].isnan().all())}}


def strips():
    x, weight = torch.randn(2, 9, 8, 12), torch.randn(6, 12, 3, 3)
    whole = steps.conv3x3(x, weight)
    return {f"conv_limit_{limit}": error(steps.conv3x3(x, weight, limit), whole) for limit in (1, 400, 600)}


def golden_network():
    model = HVR.from_config(Config())
    load_state(model, load_file(sys.argv[1]), "golden")
    return model.eval().requires_grad_(False)


@torch.no_grad()
def whole_recursion():
    """A whole supervision step of two pictures, from latents to picture, against the plain modules."""
    model = golden_network()
    x, (zH, zL) = torch.rand(2, 3, 8, 16) * 2 - 1, torch.randn(2, 2, 24, 8, 16)
    seen = []
    (high, low), out = model.sample(x, State(zH, zL), T=1, C=1, N=1)
    cases = {}
    for kind, count in (("float32", 2), ("bfloat16", 1)):  # pictures
        dtype, dot = TYPES[kind]
        x, zH, zL, high, low, out = (t[:count] for t in (x, zH, zL, high, low, out))
        run = recursion.Recursion(steps.Weights(model.tensors(), model.sizes, dtype, dot_dtype=dot), x)
        (found_zH, found_zL), picture = run.enhance((zH, zL), "LH", lambda kind, z: seen.append((kind, str(z[1].dtype))))
        cases |= {f"{kind}_zH": error(found_zH - zH, high - zH), f"{kind}_zL": error(found_zL - zL, low - zL),
                  f"{kind}_picture": error(picture, out)}
    return cases | {"on_step": {"seen": seen}}


@torch.no_grad()
def first_check():
    """The comparison before first use passes the right weights and finds wrong ones."""
    prepared.CHECK_SIZE = (8, 8)
    model = golden_network()
    weights = steps.Weights(model.tensors(), model.sizes, torch.float32)
    right = prepared.disagreement(model, weights, torch.device("cpu"))
    weights.layers[1].blocks[0].position_bias.mul_(1.05)
    return {"first_check": {"right": right, "wrong": prepared.disagreement(model, weights, torch.device("cpu"))}}


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    results = {}
    results |= swin("swin_shifted", (1, 16, 16, 24))
    results |= swin("swin_unshifted", (1, 8, 16, 24), shifted=False)
    results |= swin("swin_small_window", (2, 4, 8, 20), window=4, heads=2, ratio=1.5)
    results |= swin("swin_float16", (1, 8, 8, 24), kind="float16", in_place=True)
    results |= swin("swin_bfloat16", (1, 8, 8, 24), kind="bfloat16", in_place=True)
    results |= gradients("gradients_shifted", (1, 8, 8, 24))
    results |= gradients("gradients_unshifted_small", (1, 8, 12, 20), 4, window=4, heads=2, ratio=1.5, shifted=False)
    results |= gradient_check()
    results |= norm("norm", (2, 7, 13, 24), 2)
    results |= norm("norm_large_mean", (1, 9, 16, 48), 4, mean=300.0, to_slice=True)
    results |= norm("norm_bfloat16", (1, 8, 8, 24), 2, kind="bfloat16")
    results |= norm_gradients("norm_gradients", (2, 24, 7, 13), 2)
    results |= norm_gradients("norm_gradients_wide", (1, 48, 12, 24), 4, 9.0)
    results |= norm_gradient_check() | conv_block()
    results |= levels() | strips() | whole_recursion() | first_check()
    print(json.dumps(results))
    return 0


run_program(main)
