"""An L step and an H step on a GPU: convolutions by cuDNN, everything between them by the Triton kernels.

Maps are (B, H, W, C), C last, in one type: float32, bfloat16 or float16. What is saved against the plain formulas:
- Nothing is concatenated: outputs go straight into their channels of a wide map. x00, the upsampled map and x01 share one
  of 4 f channels; conv0_1, which knows nothing of x01 yet, gives those channels weight 0.
- GroupNorm and LeakyReLU are two passes, in place; L's last 1x1 convolution, its update of zL and the sum zH + zL are one.
- The 1x1 convolution after a layer's 3x3 one is multiplied into it; biases, residuals and LayerNorm are one pass.

Passes over maps of D = E = f = 24 channels at full resolution: about 55 for an L step, 27 for an H step.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from models.kernels.contract import EPS, NetworkSizes, block_name, part
from models.kernels.gpu import maps, swin
from models.kernels.gpu.norm import norm_act, padded, update_latent
from models.kernels.gpu.swin import SwinBlockWeights, pad, swin_block

CONV_LIMIT = 2**31 - 1  # values of a map that cuDNN takes in one call; larger photos go through in strips


@dataclass(frozen=True)
class Conv:
    """Weight (o, i, 3, 3) of a convolution without bias, then GroupNorm and LeakyReLU."""

    weight: Tensor
    groups: int
    gamma: Tensor  # float32, like beta
    beta: Tensor


@dataclass(frozen=True)
class Layer:
    """A layer of H: Swin blocks, and the 3x3 convolution that is both of its own. bias (Dp,) float32."""

    blocks: list[SwinBlockWeights]
    weight: Tensor
    bias: Tensor


@dataclass
class Maps:
    """The recursion's state. `wide` (B, H, W, E + D) holds the embedded image and, in its last D channels, z = zH + zL."""

    zH: Tensor
    zL: Tensor
    wide: Tensor

    @property
    def z(self) -> Tensor:
        return self.wide[..., -self.zH.shape[-1]:]


def conv_weight(weight: Tensor, dtype: torch.dtype) -> Tensor:
    return weight.to(dtype).contiguous(memory_format=torch.channels_last)


def supported(sizes: NetworkSizes) -> bool:
    """Whether the kernels can run a network of these sizes."""
    blocks = [block for layer in sizes.layers for block in layer]
    return bool(blocks) and 4 * sizes.f <= 256 and all(swin.supported(block) for block in blocks)


class Weights:
    """The network's parameters as the steps read them: a copy, for one type of maps.

    tensors: as of `contract.Network`. dtype: of the maps and the convolutions' operands. precision: of float32 products in the
    kernels, "ieee" or "tf32". dot_dtype: of the kernels' products; that of the maps unless given (Triton's interpreter has no
    product of bfloat16).
    """

    @torch.no_grad()
    def __init__(self, tensors: Mapping[str, Tensor], sizes: NetworkSizes, dtype: torch.dtype, precision: str = "ieee",
                 dot_dtype: torch.dtype | None = None) -> None:
        L, H, dot_dtype = part(tensors, "L_net_model"), part(tensors, "H_net_model"), dot_dtype or dtype
        self.dtype, self.precision, self.sizes = dtype, precision, sizes
        self.embed_weight, self.embed_bias = (p.detach().float().clone() for p in weight_bias(tensors, "embed_layer.embedding"))
        f = sizes.f
        skip, rest = L["conv0_1.conv.0.weight"].split([f, 2 * f], 1)          # of x00 and the upsampled map
        L["conv0_1.conv.0.weight"] = torch.cat([skip, rest, torch.zeros_like(skip)], 1)
        x00, x01, rest = L["conv0_2.conv.0.weight"].split([f, f, 2 * f], 1)
        L["conv0_2.conv.0.weight"] = torch.cat([x00, rest, x01], 1)
        self.blocks = {name: self._block(part(L, name)) for name in ("conv0_0", "conv1_0", "conv2_0", "conv0_1", "conv1_1",
                                                                     "conv0_2")}
        self.final = matrix(*weight_bias(L, "final_conv"), dot_dtype)
        self.embedding = (*matrix(*weight_bias(H, "patch_embed.proj"), dot_dtype), *vectors(H, "patch_embed.norm"), EPS)
        self.layers = [self._layer(part(H, f"layers.{i}"),
                                   [SwinBlockWeights.of(part(tensors, block_name(i, j)), own, dot_dtype)
                                    for j, own in enumerate(blocks)]) for i, blocks in enumerate(sizes.layers)]
        self.norm = (*vectors(H, "norm"), EPS)
        weight, bias = weight_bias(H, "conv_after_body")
        self.after = conv_weight(weight, dtype), pad(bias.float(), padded(len(bias)))
        weight, bias = weight_bias(tensors, "head_layer.embedding")
        self.head = pad(weight.float().flatten(1), padded(weight.shape[1])).contiguous(), bias.float().clone()

    def _block(self, t: Mapping[str, Tensor]) -> tuple[Conv, Conv]:
        first, second = (Conv(conv_weight(t[f"conv.{conv}.weight"], self.dtype), self.sizes.groups,
                              *(p.float() for p in weight_bias(t, f"conv.{norm}"))) for conv, norm in ((0, 1), (3, 4)))
        return first, second

    def _layer(self, t: Mapping[str, Tensor], blocks: list[SwinBlockWeights]) -> Layer:
        (proj, proj_bias), (conv, conv_bias) = weight_bias(t, "patch_embed.proj"), weight_bias(t, "conv")
        mix = proj.double().flatten(1)                                      # (o, m)
        weight = torch.einsum("om,miyx->oiyx", mix, conv.double())
        bias = mix @ conv_bias.double() + proj_bias.double()
        return Layer(blocks, conv_weight(weight, self.dtype), pad(bias.float(), padded(len(bias))))


def weight_bias(tensors: Mapping[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    return tensors[f"{name}.weight"], tensors[f"{name}.bias"]


def matrix(weight: Tensor, bias: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """A 1x1 convolution as (i, o) and bias (o,) float32, both padded."""
    o, i = weight.shape[:2]
    weight = pad(weight.flatten(1).t(), padded(i), padded(o)).to(dtype).contiguous()
    return weight, pad(bias.float(), padded(o))


def vectors(tensors: Mapping[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    """Weight and bias of a norm, float32, padded."""
    weight, bias = (pad(p.float(), padded(len(p))) for p in weight_bias(tensors, name))
    return weight, bias


def conv3x3(x: Tensor, weight: Tensor, limit: int = CONV_LIMIT) -> Tensor:
    """3x3 convolution with zeros around: x (B, H, W, i), weight (o, i, 3, 3) -> (B, H, W, o)."""
    B, H, W, _ = x.shape
    width = max(weight.shape[:2])
    if B * H * W * width <= limit:
        return F.conv2d(x.permute(0, 3, 1, 2), weight, padding=1).permute(0, 2, 3, 1).contiguous()
    out = x.new_empty(B, H, W, weight.shape[0])
    strip = max(limit // (W * width) - 2, 1)
    for image, result in zip(x, out, strict=True):
        for top in range(0, H, strip):
            first, last = max(top - 1, 0), min(top + strip + 1, H)           # with the neighbouring rows
            part = F.conv2d(image[None, first:last].permute(0, 3, 1, 2), weight, padding=1)
            end = min(top + strip, H)
            result[top:end] = part[0, :, top - first : end - first].permute(1, 2, 0)
    return out


def conv_block(x: Tensor, convs: tuple[Conv, Conv], out: Tensor | None = None) -> Tensor:
    """L's Block: x (B, H, W, i) -> (B, H, W, o), into `out`, some channels of a map, where given."""
    first, second = convs
    y = norm_act(conv3x3(x, first.weight), first.groups, first.gamma, first.beta, EPS)
    return norm_act(conv3x3(y, second.weight), second.groups, second.gamma, second.beta, EPS, out)


def new_maps(weights: Weights, x: Tensor) -> Maps:
    """Maps for images x (B, 3, H, W); latents not set yet."""
    B, _, H, W = x.shape
    E, D = len(weights.embed_bias), len(weights.layers[0].weight)
    zH, zL, wide = (torch.empty(B, H, W, C, dtype=weights.dtype, device=x.device) for C in (D, D, E + D))
    return Maps(zH, zL, wide)


def set_image(weights: Weights, m: Maps, x: Tensor) -> None:
    """Embed images x (B, 3, H, W) float32."""
    embedded = F.conv2d(x, weights.embed_weight, weights.embed_bias)
    m.wide[..., : embedded.shape[1]].copy_(embedded.permute(0, 2, 3, 1))


def local_step(weights: Weights, m: Maps) -> None:
    """zL <- zL + L(x_e, z), then z <- zH + zL."""
    f, blocks = weights.sizes.f, weights.blocks
    B, H, W, _ = m.wide.shape
    level0, level1 = m.wide.new_empty(B, H, W, 4 * f), m.wide.new_empty(B, H // 2, W // 2, 6 * f)
    x00, up, x01, x10 = level0[..., :f], level0[..., f : 3 * f], level0[..., 3 * f :], level1[..., : 2 * f]
    x01.zero_()                                                  # whatever was in memory there: weight 0 times NaN is NaN
    conv_block(m.wide, blocks["conv0_0"], x00)
    conv_block(maps.pool(x00), blocks["conv1_0"], x10)
    maps.upsample(x10, up)
    x20 = conv_block(maps.pool(x10), blocks["conv2_0"])          # (B, H/4, W/4, 4f)
    maps.upsample(x20, level1[..., 2 * f :])
    del x20, x10
    x11 = conv_block(level1, blocks["conv1_1"])                  # (B, H/2, W/2, 2f)
    del level1
    conv_block(level0, blocks["conv0_1"], x01)
    maps.upsample(x11, up)
    del x11
    first, second = blocks["conv0_2"]
    y = conv3x3(level0, first.weight)
    del level0, x00, up, x01
    y = conv3x3(norm_act(y, first.groups, first.gamma, first.beta, EPS), second.weight)
    update_latent(y, second.groups, second.gamma, second.beta, EPS, *weights.final, m.zH, m.zL, m.z, weights.precision)


def global_step(weights: Weights, m: Maps) -> None:
    """zH <- H(z), then z <- zH + zL."""
    y = maps.embed(m.z, *weights.embedding, weights.precision)
    for layer in weights.layers:
        inner = y
        for block in layer.blocks:
            inner = swin_block(inner, block, None if inner is y else inner, precision=weights.precision)
        last = layer is weights.layers[-1]
        maps.add_residual(y, conv3x3(inner, layer.weight), layer.bias, weights.norm if last else None)
        del inner
    weight, bias = weights.after
    maps.replace_latent(conv3x3(y, weight), bias, m.zH, m.zL, m.z)
