"""A plain, straight transcription of the network's formulas, run the way the published implementation runs them.

Nothing is cached or fused: masks and position biases are built on every call, masks are added to every window of a shifted
block, features go through (B, H*W, D) sequences, rolls and separate attention passes, and inputs are concatenated. The
golden tests hold it to the published outputs; the tests and benchmarks compare the real network with it.
"""
from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

Weights = dict[str, Tensor]


def block(w: Weights, name: str, x: Tensor, groups: int) -> Tensor:
    """Twice: 3x3 convolution, GroupNorm, LeakyReLU."""
    for conv, norm in ((0, 1), (3, 4)):
        x = F.conv2d(x, w[f"{name}.conv.{conv}.weight"], padding=1)
        x = F.group_norm(x, groups, w[f"{name}.conv.{norm}.weight"], w[f"{name}.conv.{norm}.bias"])
        x = F.leaky_relu(x, 0.01)
    return x


def local_module(w: Weights, x_e: Tensor, z: Tensor, groups: int) -> Tensor:
    """L: the light UNet++ (paper sec. III-B)."""
    def up(x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)

    p = "L_net_model"
    x00 = block(w, f"{p}.conv0_0", torch.cat([x_e, z], 1), groups)
    x10 = block(w, f"{p}.conv1_0", F.max_pool2d(x00, 2), groups)
    x20 = block(w, f"{p}.conv2_0", F.max_pool2d(x10, 2), groups)
    x01 = block(w, f"{p}.conv0_1", torch.cat([x00, up(x10)], 1), groups)
    x11 = block(w, f"{p}.conv1_1", torch.cat([x10, up(x20)], 1), groups)
    x02 = block(w, f"{p}.conv0_2", torch.cat([x00, x01, up(x11)], 1), groups)
    return F.conv2d(x02, w[f"{p}.final_conv.weight"], w[f"{p}.final_conv.bias"])


def windows_of(x: Tensor, s: int) -> Tensor:
    """(B, H, W, D) -> (B * windows, s*s, D)."""
    B, H, W, D = x.shape
    return x.view(B, H // s, s, W // s, s, D).permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, s * s, D)


def image_of(windows: Tensor, s: int, H: int, W: int) -> Tensor:
    """(B * windows, s*s, D) -> (B, H, W, D)."""
    D = windows.shape[-1]
    return windows.view(-1, H // s, W // s, s, s, D).permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, H, W, D)


def attention_mask(H: int, W: int, s: int, shift: int) -> Tensor:
    """0 between pixels of one region after the shift, -100 otherwise: (windows, s*s, s*s)."""
    regions = torch.zeros(1, H, W, 1)
    spans = (slice(0, -s), slice(-s, -shift), slice(-shift, None))
    for i, rows in enumerate(spans):
        for j, columns in enumerate(spans):
            regions[:, rows, columns] = 3 * i + j
    region = windows_of(regions, s).squeeze(-1)
    return (region[:, None, :] != region[:, :, None]).float() * -100.0


def position_bias(w: Weights, name: str, s: int) -> Tensor:
    """16 sigmoid(MLP(log-spaced offsets)): (heads, s*s, s*s)."""
    c = torch.arange(1 - s, s, dtype=torch.float32)
    table = torch.stack(torch.meshgrid(c, c, indexing="ij"), -1) / (s - 1) * 8
    table = torch.sign(table) * torch.log2(table.abs() + 1) / math.log2(8)
    table = F.linear(F.relu(F.linear(table, w[f"{name}.cpb_mlp.0.weight"], w[f"{name}.cpb_mlp.0.bias"])),
                     w[f"{name}.cpb_mlp.2.weight"])
    at = torch.stack(torch.meshgrid(torch.arange(s), torch.arange(s), indexing="ij")).flatten(1)
    offset = at[:, :, None] - at[:, None, :] + s - 1
    index = offset[0] * (2 * s - 1) + offset[1]
    bias = table.view(-1, table.shape[-1])[index.view(-1)].view(s * s, s * s, -1).permute(2, 0, 1).contiguous()
    return 16 * torch.sigmoid(bias)


def window_attention(w: Weights, name: str, x: Tensor, s: int, heads: int, mask: Tensor | None) -> Tensor:
    """Cosine attention of SwinV2 in windows x (B * windows, n, D)."""
    B, n, D = x.shape
    bias = torch.cat([w[f"{name}.q_bias"], torch.zeros_like(w[f"{name}.v_bias"]), w[f"{name}.v_bias"]])
    qkv = F.linear(x, w[f"{name}.qkv.weight"], bias).reshape(B, n, 3, heads, D // heads).permute(2, 0, 3, 1, 4)
    q, k, v = qkv[0], qkv[1], qkv[2]
    attention = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)
    attention = attention * torch.clamp(w[f"{name}.logit_scale"], max=math.log(100.0)).exp()
    attention = attention + position_bias(w, name, s).unsqueeze(0)
    if mask is not None:
        windows = mask.shape[0]
        attention = attention.view(B // windows, windows, heads, n, n) + mask[None, :, None]
        attention = attention.view(-1, heads, n, n)
    x = (attention.softmax(-1) @ v).transpose(1, 2).reshape(B, n, D)
    return F.linear(x, w[f"{name}.proj.weight"], w[f"{name}.proj.bias"])


def swin_block(w: Weights, name: str, x: Tensor, size: tuple[int, int], s: int, heads: int, shift: int) -> Tensor:
    """x + LN(attention), then x + LN(mlp); x (B, H*W, D)."""
    (H, W), (B, n, D) = size, x.shape
    y = x.view(B, H, W, D)
    if shift:
        y = torch.roll(y, (-shift, -shift), (1, 2))
    mask = attention_mask(H, W, s, shift) if shift else torch.zeros(H * W // s**2, s * s, s * s)
    y = image_of(window_attention(w, f"{name}.attn", windows_of(y, s), s, heads, mask), s, H, W)
    if shift:
        y = torch.roll(y, (shift, shift), (1, 2))
    x = x + F.layer_norm(y.view(B, n, D), (D,), w[f"{name}.norm1.weight"], w[f"{name}.norm1.bias"])
    y = F.gelu(F.linear(x, w[f"{name}.mlp.fc1.weight"], w[f"{name}.mlp.fc1.bias"]))
    y = F.linear(y, w[f"{name}.mlp.fc2.weight"], w[f"{name}.mlp.fc2.bias"])
    return x + F.layer_norm(y, (D,), w[f"{name}.norm2.weight"], w[f"{name}.norm2.bias"])


def global_module(w: Weights, x: Tensor, depths: list[int], heads: list[int], s: int) -> Tensor:
    """H: the deep features of Swin2SR (paper sec. III-C)."""
    p = "H_net_model"
    B, D, H, W = x.shape

    def sequence(image: Tensor) -> Tensor:
        return image.flatten(2).transpose(1, 2)

    def image(tokens: Tensor) -> Tensor:
        return tokens.transpose(1, 2).contiguous().view(B, D, H, W)

    y = sequence(F.conv2d(x, w[f"{p}.patch_embed.proj.weight"], w[f"{p}.patch_embed.proj.bias"]))
    y = F.layer_norm(y, (D,), w[f"{p}.patch_embed.norm.weight"], w[f"{p}.patch_embed.norm.bias"])
    for i, depth in enumerate(depths):
        name, z = f"{p}.layers.{i}", y
        for j in range(depth):
            z = swin_block(w, f"{name}.residual_group.blocks.{j}", z, (H, W), s, heads[i], s // 2 * (j % 2))
        z = F.conv2d(image(z), w[f"{name}.conv.weight"], w[f"{name}.conv.bias"], padding=1)
        z = F.conv2d(z, w[f"{name}.patch_embed.proj.weight"], w[f"{name}.patch_embed.proj.bias"])
        y = y + sequence(z)
    y = image(F.layer_norm(y, (D,), w[f"{p}.norm.weight"], w[f"{p}.norm.bias"]))
    return F.conv2d(y, w[f"{p}.conv_after_body.weight"], w[f"{p}.conv_after_body.bias"], padding=1) + x


class Reference:
    """HVR on plain tensors: weights by name (gradients flow into them where they ask for any)."""

    def __init__(self, weights: Weights, *, T: int = 2, C: int = 2, N: int = 2, groups: int = 2, window: int = 8,
                 depths: tuple[int, ...] = (2, 2), heads: tuple[int, ...] = (4, 4)) -> None:
        self.weights, self.T, self.C, self.N, self.groups, self.window = weights, T, C, N, groups, window
        self.depths, self.heads = list(depths), list(heads)

    def _embed(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weights["embed_layer.embedding.weight"], self.weights["embed_layer.embedding.bias"])

    def _head(self, zH: Tensor) -> Tensor:
        return torch.tanh(F.conv2d(zH, self.weights["head_layer.embedding.weight"], self.weights["head_layer.embedding.bias"]))

    def _L(self, x_e: Tensor, zH: Tensor, zL: Tensor) -> Tensor:
        return zL + local_module(self.weights, x_e, zL + zH, self.groups)

    def _H(self, zH: Tensor, zL: Tensor) -> Tensor:
        return global_module(self.weights, zH + zL, self.depths, self.heads, self.window)

    @torch.no_grad()
    def sample(self, x: Tensor, zH: Tensor, zL: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """-> (zH, zL, output) for T, C, N of 1 or more; sizes are multiples of 8, or sides greater than their padding."""
        H, W = x.shape[-2:]
        pad = (0, -W % self.window, 0, -H % self.window)
        x, zH, zL = (F.pad(t, pad, mode="reflect") for t in (x, zH, zL))
        for _ in range(self.N):
            x_e = self._embed(x)
            for _ in range(self.C):
                for _ in range(self.T):
                    zL = self._L(x_e, zH, zL)
                zH = self._H(zH, zL)
        return zH[..., :H, :W], zL[..., :H, :W], self._head(zH)[..., :H, :W]

    def train_call(self, x: Tensor, zH: Tensor, zL: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One supervision step of training, sizes multiples of 8: gradients through the last L and H step only."""
        with torch.no_grad():
            x_e = self._embed(x)
            for c in range(self.C):
                for t in range(self.T):
                    if (c, t) != (self.C - 1, self.T - 1):
                        zL = self._L(x_e, zH, zL)
                if c != self.C - 1:
                    zH = self._H(zH, zL)
        x_e = self._embed(x)
        zL = self._L(x_e, zH.detach(), zL.detach())
        zH = self._H(zH.detach(), zL)
        return zH, zL, self._head(zH)
