"""L, the local module: a light UNet++ (paper sec. III-B) that predicts the update of the low-level latent map.

Letters: B batch, E embedding channels, D latent channels, f `init_features`, H W height and width.
"""
from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.kernels import conv_norm_act


class ConvBlock(nn.Module):
    """Twice: 3x3 convolution without bias, GroupNorm, LeakyReLU(0.01). (B, i, H, W) -> (B, o, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, num_groups: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.GroupNorm(num_groups, out_channels),
            nn.LeakyReLU(0.01, inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.GroupNorm(num_groups, out_channels),
            nn.LeakyReLU(0.01, inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        conv1, norm1, _, conv2, norm2, _ = cast("list[Any]", self.conv)
        for conv, norm in ((conv1, norm1), (conv2, norm2)):
            x = conv_norm_act(x, conv.weight, norm.num_groups, norm.weight, norm.bias, norm.eps)
        return x


def upsample(x: Tensor) -> Tensor:
    """Bilinear, twice the size, corners aligned. (B, C, H, W) -> (B, C, 2H, 2W)."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


class LightUNetPP(nn.Module):
    """Three levels, one nested skip per level.

    in_channels: E + D; out_channels: D; init_features: f, doubled at each level;
    num_groups: groups of every GroupNorm (it changes the function, but no tensor's shape).
    """

    def __init__(self, in_channels: int, out_channels: int, init_features: int = 24, num_groups: int = 2) -> None:
        super().__init__()
        f, self.num_groups = init_features, num_groups
        self.pool = nn.MaxPool2d(2)
        self.conv0_0 = ConvBlock(in_channels, f, num_groups)
        self.conv1_0 = ConvBlock(f, 2 * f, num_groups)
        self.conv2_0 = ConvBlock(2 * f, 4 * f, num_groups)
        self.conv0_1 = ConvBlock(f + 2 * f, f, num_groups)
        self.conv1_1 = ConvBlock(2 * f + 4 * f, 2 * f, num_groups)
        self.conv0_2 = ConvBlock(f + f + 2 * f, f, num_groups)
        self.final_conv = nn.Conv2d(f, out_channels, 1)

    def forward(self, x_e: Tensor, z: Tensor) -> Tensor:
        """x_e (B, E, H, W), z (B, D, H, W), H and W multiples of 4 -> update of zL (B, D, H, W)."""
        x00 = self.conv0_0(torch.cat([x_e, z], 1))                   # (B, f, H, W)
        x10 = self.conv1_0(self.pool(x00))                           # (B, 2f, H/2, W/2)
        x20 = self.conv2_0(self.pool(x10))                           # (B, 4f, H/4, W/4)
        x01 = self.conv0_1(torch.cat([x00, upsample(x10)], 1))       # (B, f, H, W)
        x11 = self.conv1_1(torch.cat([x10, upsample(x20)], 1))       # (B, 2f, H/2, W/2)
        x02 = self.conv0_2(torch.cat([x00, x01, upsample(x11)], 1))  # (B, f, H, W)
        return self.final_conv(x02)                                  # (B, D, H, W)
