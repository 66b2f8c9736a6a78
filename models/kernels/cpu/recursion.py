"""The recursion on the CPU without gradients, by the kernels of hvr.cpp: several times faster than plain PyTorch and in the
memory of about five feature maps. The same function up to float32 rounding; each picture of a batch on its own.

Maps lie row by row, each row with all its channels: (B, H, D, S), S = W rounded up to whole vectors.
"""
from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from models.kernels.contract import Latents, NetworkSizes, OnStep, block_name, part
from models.kernels.cpu.library import MAX_LAYERS, Dims

WINDOW = 8  # side of the windows that the kernels know
L_BLOCKS = ("conv0_0", "conv1_0", "conv2_0", "conv0_1", "conv1_1", "conv0_2")


def _both(t: Mapping[str, Tensor], *names: str) -> list[Tensor]:
    """Weight and bias of each layer."""
    return [t[f"{name}.{kind}"] for name in names for kind in ("weight", "bias")]


def _conv_block(t: Mapping[str, Tensor]) -> list[Tensor]:
    return [t["conv.0.weight"], *_both(t, "conv.1"), t["conv.3.weight"], *_both(t, "conv.4")]


def _swin_block(t: Mapping[str, Tensor]) -> list[Tensor]:
    return [*(t[f"attn.{name}"] for name in ("qkv.weight", "q_bias", "v_bias", "similarity_scale", "position_bias")),
            *_both(t, "attn.proj", "norm1", "mlp.fc1", "mlp.fc2", "norm2")]


def parameters_in_order(t: Mapping[str, Tensor], sizes: NetworkSizes) -> list[Tensor]:
    """What weights.h takes, in its order."""
    tensors = _both(t, "embed_layer.embedding")
    for name in L_BLOCKS:
        tensors += _conv_block(part(t, f"L_net_model.{name}"))
    tensors += _both(t, "L_net_model.final_conv", "H_net_model.patch_embed.proj", "H_net_model.patch_embed.norm")
    for i, blocks in enumerate(sizes.layers):
        for j in range(len(blocks)):
            tensors += _swin_block(part(t, block_name(i, j)))
        tensors += _both(t, f"H_net_model.layers.{i}.conv", f"H_net_model.layers.{i}.patch_embed.proj")
    tensors += _both(t, "H_net_model.norm", "H_net_model.conv_after_body", "head_layer.embedding")
    return [tensor.detach().float().contiguous() for tensor in tensors]


def dimensions(sizes: NetworkSizes) -> Dims:
    """The same sizes as hvr.cpp reads them."""
    dims = Dims(D=sizes.D, E=sizes.E, f=sizes.f, groups=sizes.groups, hidden=sizes.layers[0][0].hidden,
                layers=len(sizes.layers), tanh=int(sizes.tanh))
    for i, blocks in enumerate(sizes.layers):
        dims.depths[i], dims.heads[i] = len(blocks), blocks[0].heads
    return dims


def supported(sizes: NetworkSizes, lib: ctypes.CDLL) -> bool:
    """Whether the kernels can run a network of these sizes."""
    if not 0 < len(sizes.layers) <= MAX_LAYERS or not all(sizes.layers):
        return False
    first = sizes.layers[0][0]
    return (first.window == WINDOW and sizes.D % 4 == sizes.f % 4 == first.hidden % 4 == 0
            and all(lib.hvr_supported_head(sizes.D // blocks[0].heads) for blocks in sizes.layers))


class Recursion:
    """L and H steps on the latents of images x (B, 3, H, W), H and W multiples of 8."""

    def __init__(self, tensors: Mapping[str, Tensor], sizes: NetworkSizes, x: Tensor, lib: ctypes.CDLL) -> None:
        B, _, self.H, self.W = x.shape
        self.lib, self.dims, self.threads = lib, dimensions(sizes), torch.get_num_threads()
        parameters = parameters_in_order(tensors, sizes)
        pointers = (ctypes.c_void_p * len(parameters))(*(t.data_ptr() for t in parameters))
        self.weights = ctypes.c_void_p(lib.hvr_pack(ctypes.byref(self.dims), pointers))
        self.x = x.contiguous()
        row = -(-self.W // lib.hvr_lanes()) * lib.hvr_lanes()
        self.zH, self.zL = (self._memory(B, self.H, sizes.D, row) for _ in range(2))
        self.memory = self._memory(16 + lib.hvr_workspace(ctypes.byref(self.dims), self.H, self.W, self.threads))
        self.aligned = self.memory.data_ptr() + -self.memory.data_ptr() % 64

    def _memory(self, *shape: int) -> Tensor:
        tensor = torch.empty(shape)
        self.lib.hvr_large_pages(tensor.data_ptr(), tensor.numel())
        return tensor

    def __del__(self) -> None:
        if weights := getattr(self, "weights", None):
            self.lib.hvr_free(weights)

    def run(self, latents: Iterable[Tensor], steps: str, on_step: OnStep = None) -> Latents:
        """See `contract.Steps`."""
        self._take(latents, steps, on_step)
        zH, zL = self.latents()
        return zH.contiguous(), zL.contiguous()

    def enhance(self, latents: Iterable[Tensor], steps: str, on_step: OnStep = None) -> tuple[Latents, Tensor]:
        """See `contract.Steps`."""
        self._take(latents, steps, on_step)
        return self.latents(), self.head()

    def _take(self, latents: Iterable[Tensor], steps: str, on_step: OnStep) -> None:
        for map, z in zip((self.zH, self.zL), latents, strict=True):
            map[..., : self.W].copy_(z.permute(0, 2, 1, 3))
        del z
        for kind in steps:
            self.step(kind)
            if on_step is not None:
                on_step(kind, self.latents())

    def latents(self) -> Latents:
        """zH and zL as (B, D, H, W): views, which the next step changes."""
        zH, zL = (map[..., : self.W].permute(0, 2, 1, 3) for map in (self.zH, self.zL))
        return zH, zL

    def step(self, kind: str) -> None:
        """One L step (changes zL) or H step (changes zH)."""
        for x, zH, zL in zip(self.x, self.zH, self.zL, strict=True):
            self.lib.hvr_step(self.weights, kind.encode(), x.data_ptr(), zH.data_ptr(), zL.data_ptr(), self.H, self.W,
                              self.aligned, self.threads)

    def head(self) -> Tensor:
        """The image (B, 3, H, W) of zH in the model's range."""
        out = torch.empty(len(self.zH), 3, self.H, self.W)
        for image, zH in zip(out, self.zH, strict=True):
            self.lib.hvr_head(self.weights, zH.data_ptr(), self.H, self.W, image.data_ptr(), self.aligned, self.threads)
        return out
