"""H, the global module: Swin2SR's deep feature extraction at full resolution (paper sec. III-C).

SwinV2 blocks: Liu et al., "Swin Transformer V2", CVPR 2022; Swin2SR: Conde et al., ECCVW 2022.
Letters: B batch, D channels, H W height and width, w window side, n = w*w tokens of a window, h heads, d = D/h.
Inside, features are (B, H, W, D): the same memory as a channels-last (B, D, H, W), so going in and out is free.
"""
from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.kernels import BlockSizes, conv3x3, softmax_attention, swin_block

MAX_LOGIT_SCALE = math.log(100.0)
MASKED = -100.0  # added to the similarity of pixels that were not neighbours before the cyclic shift


def relative_coordinates(window: int) -> Tensor:
    """Log-spaced offsets between the pixels of a window, (2w-1, 2w-1, 2) in [-1, 1] (SwinV2, eq. 4)."""
    c = torch.arange(1 - window, window, dtype=torch.float32) * 8 / (window - 1)
    c = torch.sign(c) * torch.log2(c.abs() + 1) / math.log2(8)
    return torch.stack(torch.meshgrid(c, c, indexing="ij"), -1)


def relative_position_index(window: int) -> Tensor:
    """Row of the coordinate table for each pair of pixels of a window, (n, n) int64."""
    y, x = (t.flatten() for t in torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij"))
    dy, dx = y[:, None] - y[None, :], x[:, None] - x[None, :]
    return (dy + window - 1) * (2 * window - 1) + dx + window - 1


def shifted_masks(window: int) -> Tensor:
    """Masks of the four kinds of windows after the cyclic shift by w//2, (4, n, n): 0 inside a region, else MASKED.

    Kind = 2 * (window in the last row) + (window in the last column); kind 0 is not masked at all.
    """
    side = torch.arange(window) >= window - window // 2         # rows (columns) that came around
    part_y, part_x = side.repeat_interleave(window).long(), side.repeat(window).long()
    region = torch.stack([last_row * part_y * 2 + last_column * part_x for last_row in (0, 1) for last_column in (0, 1)])
    return MASKED * (region[:, :, None] != region[:, None, :]).float()


class WindowAttention(nn.Module):
    """Cosine attention with a continuous position bias inside windows of w x w pixels (SwinV2, sec. 3.3)."""

    coordinates: Tensor
    index: Tensor
    masks: Tensor

    def __init__(self, dim: int, window: int, num_heads: int, shifted: bool) -> None:
        super().__init__()
        self.num_heads, self.window, self.shifted = num_heads, window, shifted
        self.logit_scale = nn.Parameter(torch.full((num_heads, 1, 1), math.log(10.0)))
        self.cpb_mlp = nn.Sequential(nn.Linear(2, 512), nn.ReLU(inplace=True), nn.Linear(512, num_heads, bias=False))
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(dim))
        self.v_bias = nn.Parameter(torch.zeros(dim))
        self.proj = nn.Linear(dim, dim)
        self.register_buffer("coordinates", relative_coordinates(window), persistent=False)
        self.register_buffer("index", relative_position_index(window), persistent=False)
        self.register_buffer("masks", shifted_masks(window) if shifted else torch.zeros(1, window**2, window**2),
                             persistent=False)

    def position_bias(self) -> Tensor:
        """Bias of every kind of window: (1 or 4, h, n, n) float32."""
        with torch.autocast(self.masks.device.type, enabled=False):
            table = self.cpb_mlp(self.coordinates).flatten(0, 1)            # ((2w-1)^2, h)
            bias = 16 * torch.sigmoid(table[self.index])                    # (n, n, h)
            return bias.permute(2, 0, 1)[None] + self.masks[:, None]        # (1 or 4, h, n, n)

    def similarity_scale(self) -> Tensor:
        """Factor of the cosine similarity per head, (h, 1, 1), at most 100."""
        return self.logit_scale.clamp(max=MAX_LOGIT_SCALE).exp()

    def forward(self, x: Tensor) -> Tensor:
        """x (B, H, W, D), already shifted where this block shifts; H, W multiples of w -> the same shape."""
        w, h = self.window, self.num_heads
        B, H, W, D = x.shape
        x = x.reshape(B, H // w, w, W // w, w, D).permute(0, 1, 3, 2, 4, 5).reshape(B, H // w, W // w, w * w, D)
        qkv = F.linear(x, self.qkv.weight, torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias]))
        q, k, v = qkv.unflatten(-1, (3, h, D // h)).movedim(-3, 0).transpose(-2, -3)  # each (B, H/w, W/w, h, n, d)
        q, k = F.normalize(q, dim=-1) * self.similarity_scale().to(q.dtype), F.normalize(k, dim=-1)
        out = self._attend(q.to(v.dtype), k.to(v.dtype), v).transpose(-2, -3).flatten(-2)  # (B, H/w, W/w, n, D)
        out = self.proj(out)
        return out.reshape(B, H // w, W // w, w, w, D).permute(0, 1, 3, 2, 4, 5).reshape(B, H, W, D)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """softmax(q k^T + bias) v for all windows; only the last row and column of windows are masked."""
        bias = self.position_bias().to(q.dtype)
        if not self.shifted:
            return softmax_attention(q, k, v, bias[0])

        def part(rows: slice, columns: slice, kind: int) -> Tensor:
            return softmax_attention(q[:, rows, columns], k[:, rows, columns], v[:, rows, columns], bias[kind])

        body, last = slice(None, -1), slice(-1, None)
        upper = torch.cat([part(body, body, 0), part(body, last, 1)], 2)
        lower = torch.cat([part(last, body, 2), part(last, last, 3)], 2)
        return torch.cat([upper, lower], 1)


class Mlp(nn.Module):
    """Linear, GELU, Linear on the last dimension."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class SwinBlock(nn.Module):
    """Post-norm block: x + LN(attention(x)), then x + LN(mlp(x)). (B, H, W, D) -> the same."""

    def __init__(self, dim: int, window: int, num_heads: int, mlp_ratio: float, shifted: bool) -> None:
        super().__init__()
        self.sizes = BlockSizes(dim, num_heads, int(dim * mlp_ratio), window, window // 2 if shifted else 0)
        self.attn = WindowAttention(dim, window, num_heads, shifted)
        self.norm1 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, self.sizes.hidden)
        self.norm2 = nn.LayerNorm(dim)

    def plain(self, x: Tensor) -> Tensor:
        """The formula."""
        s = self.sizes.shift
        attended = self.attn(x.roll((-s, -s), (1, 2)) if s else x)
        x = x + self.norm1(attended.roll((s, s), (1, 2)) if s else attended)
        return x + self.norm2(self.mlp(x))

    def forward(self, x: Tensor) -> Tensor:
        return swin_block(self, x)  # what is fastest here, `plain` or the same in one piece

    def tensors(self) -> dict[str, Tensor]:
        """All that the formula reads, by name: the parameters, and what follows from them alone."""
        return {**dict(self.named_parameters()), "attn.similarity_scale": self.attn.similarity_scale(),
                "attn.position_bias": self.attn.position_bias()}


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution with zeros around. (B, i, H, W) -> (B, o, H, W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return conv3x3(x, self.weight, self.bias)


class ImageConv(Conv3x3):
    """The same on (B, H, W, C), C last."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class PixelConv(nn.Conv2d):
    """A 1x1 convolution on (B, H, W, C), C last."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.flatten(1), self.bias)


class PatchEmbed(nn.Module):
    """1x1 convolution, then LayerNorm where asked for. (B, H, W, i) -> (B, H, W, o)."""

    def __init__(self, in_channels: int, dim: int, norm: bool) -> None:
        super().__init__()
        self.proj = PixelConv(in_channels, dim)
        self.norm = nn.LayerNorm(dim) if norm else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.proj(x)
        return x if self.norm is None else self.norm(x)


class Blocks(nn.Module):
    """The Swin blocks of a layer, every second one shifted."""

    def __init__(self, dim: int, depth: int, window: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__()
        blocks = [SwinBlock(dim, window, num_heads, mlp_ratio, shifted=j % 2 == 1) for j in range(depth)]
        self.sizes = tuple(block.sizes for block in blocks)
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


class SwinLayer(nn.Module):
    """Residual Swin transformer block of Swin2SR: x + embed(conv(blocks(x))). (B, H, W, D) -> the same."""

    def __init__(self, dim: int, depth: int, window: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.residual_group = Blocks(dim, depth, window, num_heads, mlp_ratio)
        self.conv = ImageConv(dim, dim)
        self.patch_embed = PatchEmbed(dim, dim, norm=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.patch_embed(self.conv(self.residual_group(x)))


class Swin2SRFeatures(nn.Module):
    """conv(LayerNorm(layers(embed(x)))) + x. (B, D, H, W), H and W multiples of w -> the same shape."""

    def __init__(self, dim: int, depths: list[int], num_heads: list[int], window: int = 8, mlp_ratio: float = 2.0) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(dim, dim, norm=True)
        layers = [SwinLayer(dim, n, window, h, mlp_ratio) for n, h in zip(depths, num_heads, strict=True)]
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(dim)
        self.conv_after_body = Conv3x3(dim, dim)
        self.sizes = tuple(layer.residual_group.sizes for layer in layers)
        self.apply(initialise)

    def forward(self, x: Tensor) -> Tensor:
        y = self.patch_embed(x.permute(0, 2, 3, 1))               # (B, H, W, D)
        for layer in self.layers:
            y = layer(y)
        return self.conv_after_body(self.norm(y).permute(0, 3, 1, 2)) + x


def initialise(module: nn.Module) -> None:
    """Linear layers: weights from a truncated normal of std 0.02, zero bias. Convolutions keep torch's default."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
