"""An L step and an H step on a GPU: convolutions by cuDNN, everything between them by the Triton kernels.

Maps are (B, H, W, C), C last, in one type: float32, bfloat16 or float16. What is saved against the modules as they are:
- Nothing is concatenated: outputs go straight into their channels of a wide map. x00, the upsampled map and x01 share one
  of 4 f channels; conv0_1, which knows nothing of x01 yet, gives those channels weight 0.
- GroupNorm and LeakyReLU are two passes, in place; L's last 1x1 convolution, its update of zL and the sum zH + zL are one.
- The 1x1 convolution after a layer's 3x3 one is multiplied into it; biases, residuals and LayerNorm are one pass.

Passes over maps of D = E = f = 24 channels at full resolution: about 55 for an L step, 27 for an H step.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models import triton_maps as maps
from models import triton_swin
from models.triton_norm import norm_act, padded, update_latent
from models.triton_swin import SwinBlockWeights, pad, swin_block

if TYPE_CHECKING:
    from models.hvr import HVR

CONV_LIMIT = 2**31 - 1  # values of a map that cuDNN takes in one call; larger photos go through in strips


@dataclass(frozen=True)
class Conv:
    """Weight (o, i, 3, 3) of a convolution without bias, then GroupNorm and LeakyReLU."""

    weight: Tensor
    groups: int
    gamma: Tensor  # float32, like beta
    beta: Tensor
    eps: float

    @classmethod
    def of(cls, conv: nn.Conv2d, norm: nn.GroupNorm, dtype: torch.dtype, weight: Tensor | None = None) -> Conv:
        weight = conv.weight if weight is None else weight
        return cls(conv_weight(weight, dtype), norm.num_groups, norm.weight.float(), norm.bias.float(), norm.eps)


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


def supported(model: HVR) -> bool:
    """Whether the kernels can run a network of these sizes."""
    H: Any = model.H_net_model
    layers = [layer.residual_group.blocks for layer in H.layers]
    widest = 4 * model.L_net_model.final_conv.in_channels
    return bool(layers) and widest <= 256 and all(triton_swin.supported(block) for blocks in layers for block in blocks)


class Weights:
    """The network's parameters as the steps read them: a copy, for one type of maps.

    dtype: of the maps and the convolutions' operands. precision: of float32 products in the kernels, "ieee" or "tf32".
    dot_dtype: of the kernels' products; that of the maps unless given (Triton's interpreter has no product of bfloat16).
    """

    @torch.no_grad()
    def __init__(self, model: HVR, dtype: torch.dtype, precision: str = "ieee", dot_dtype: torch.dtype | None = None) -> None:
        L: Any = model.L_net_model
        H: Any = model.H_net_model
        dot_dtype = dot_dtype or dtype
        self.dtype, self.precision, self.tanh = dtype, precision, model.normalize_one_to_one
        self.embed_weight, self.embed_bias = (p.detach().float().clone() for p in model.embed_layer.embedding.parameters())
        self.blocks = {name: self._block(getattr(L, name)) for name in ("conv0_0", "conv1_0", "conv2_0", "conv1_1")}
        self.f = f = L.final_conv.in_channels
        skip, rest = L.conv0_1.conv[0].weight.split([f, 2 * f], 1)          # of x00 and the upsampled map
        self.blocks["conv0_1"] = self._block(L.conv0_1, torch.cat([skip, rest, torch.zeros_like(skip)], 1))
        x00, x01, rest = L.conv0_2.conv[0].weight.split([f, f, 2 * f], 1)
        self.blocks["conv0_2"] = self._block(L.conv0_2, torch.cat([x00, rest, x01], 1))
        self.final = matrix(L.final_conv, dot_dtype)
        self.embedding = (*matrix(H.patch_embed.proj, dot_dtype), *vectors(H.patch_embed.norm), H.patch_embed.norm.eps)
        self.layers = [self._layer(layer, dot_dtype) for layer in H.layers]
        self.norm = (*vectors(H.norm), H.norm.eps)
        D = H.norm.weight.numel()
        self.after = conv_weight(H.conv_after_body.weight, dtype), pad(H.conv_after_body.bias.float(), padded(D))
        head: Any = model.head_layer.embedding
        self.head = pad(head.weight.float().flatten(1), padded(D)).contiguous(), head.bias.float().clone()

    def _block(self, block: Any, first: Tensor | None = None) -> tuple[Conv, Conv]:
        conv1, norm1, _, conv2, norm2, _ = block.conv
        return Conv.of(conv1, norm1, self.dtype, first), Conv.of(conv2, norm2, self.dtype)

    def _layer(self, layer: Any, dot_dtype: torch.dtype) -> Layer:
        proj, conv = layer.patch_embed.proj, layer.conv
        mix = proj.weight.double().flatten(1)                               # (o, m)
        weight = torch.einsum("om,miyx->oiyx", mix, conv.weight.double())
        bias = mix @ conv.bias.double() + proj.bias.double()
        blocks = [SwinBlockWeights.of(block, dot_dtype) for block in layer.residual_group.blocks]
        return Layer(blocks, conv_weight(weight, self.dtype), pad(bias.float(), padded(len(bias))))


def matrix(conv: Any, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """A 1x1 convolution as (i, o) and bias (o,) float32, both padded."""
    o, i = conv.weight.shape[:2]
    weight = pad(conv.weight.flatten(1).t(), padded(i), padded(o)).to(dtype).contiguous()
    return weight, pad(conv.bias.float(), padded(o))


def vectors(norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    size = padded(norm.weight.numel())
    return pad(norm.weight.float(), size), pad(norm.bias.float(), size)


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
    y = norm_act(conv3x3(x, first.weight), first.groups, first.gamma, first.beta, first.eps)
    return norm_act(conv3x3(y, second.weight), second.groups, second.gamma, second.beta, second.eps, out)


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
    f, blocks = weights.f, weights.blocks
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
    y = conv3x3(norm_act(y, first.groups, first.gamma, first.beta, first.eps), second.weight)
    update_latent(y, second.groups, second.gamma, second.beta, second.eps, *weights.final, m.zH, m.zL, m.z, weights.precision)


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
