"""The recursion on the CPU without gradients, by the kernels of models/native: several times faster than plain PyTorch and
in the memory of about five feature maps. The same function up to float32 rounding; each picture of a batch on its own.

Maps lie row by row, each row with all its channels: (B, H, D, S), S = W rounded up to whole vectors.
`Recursion.of(model, x)` is None where the kernels do not apply: then the modules run as they are.
"""
from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from models import native_library
from models.latents import State
from models.swin2sr import SwinBlock, SwinLayer
from models.unetpp import ConvBlock

if TYPE_CHECKING:
    from models.hvr import HVR

WINDOW = 8  # side of the windows that the kernels know


def _conv_block(block: ConvBlock) -> list[Tensor]:
    first, norm1, _, second, norm2, _ = cast(Any, block.conv)
    return [first.weight, norm1.weight, norm1.bias, second.weight, norm2.weight, norm2.bias]


def _both(*modules: Any) -> list[Tensor]:
    """Weight and bias of each layer."""
    return [tensor for module in modules for tensor in (module.weight, module.bias)]


def _swin_block(block: SwinBlock) -> list[Tensor]:
    a = block.attn
    return [a.qkv.weight, a.q_bias, a.v_bias, a.similarity_scale(), a.compute_position_bias(),
            *_both(a.proj, block.norm1, block.mlp.fc1, block.mlp.fc2, block.norm2)]


def _swin_layers(model: HVR) -> list[tuple[SwinLayer, list[SwinBlock]]]:
    """The layers of H, each with its blocks."""
    layers = cast("list[SwinLayer]", list(model.H_net_model.layers))
    return [(layer, cast("list[SwinBlock]", list(layer.residual_group.blocks))) for layer in layers]


def parameters_in_order(model: HVR) -> list[Tensor]:
    """What native/weights.h takes, in its order."""
    L, H = model.L_net_model, model.H_net_model
    tensors = _both(model.embed_layer.embedding)
    for block in (L.conv0_0, L.conv1_0, L.conv2_0, L.conv0_1, L.conv1_1, L.conv0_2):
        tensors += _conv_block(block)
    tensors += _both(L.final_conv, H.patch_embed.proj, H.patch_embed.norm)
    for layer, swin_blocks in _swin_layers(model):
        for swin_block in swin_blocks:
            tensors += _swin_block(swin_block)
        tensors += _both(layer.conv, layer.patch_embed.proj)
    return [t.detach().float().contiguous() for t in tensors + _both(H.norm, H.conv_after_body, model.head_layer.embedding)]


def dimensions(model: HVR) -> native_library.Dims:
    """The sizes of the network."""
    first = cast(Any, model.L_net_model.conv0_0.conv)
    layers = [blocks for _, blocks in _swin_layers(model)]
    dims = native_library.Dims(
        D=model.z_dims, E=model.embed_layer.embedding.out_channels, f=first[0].out_channels, groups=first[1].num_groups,
        hidden=layers[0][0].mlp.fc1.out_features, layers=len(layers), tanh=int(model.normalize_one_to_one))
    for i, blocks in enumerate(layers):
        dims.depths[i], dims.heads[i] = len(blocks), blocks[0].attn.num_heads
    return dims


def supported(model: HVR, lib: ctypes.CDLL) -> bool:
    """Whether the kernels can run a network of these sizes."""
    layers = [blocks for _, blocks in _swin_layers(model)]
    if not 0 < len(layers) <= native_library.MAX_LAYERS or not all(len(blocks) for blocks in layers):
        return False
    d = dimensions(model)
    heads = [blocks[0].attn.num_heads for blocks in layers]
    return (layers[0][0].attn.window == WINDOW and d.D % 4 == d.f % 4 == d.hidden % 4 == 0
            and all(lib.hvr_supported_head(d.D // h) for h in heads))


class Recursion:
    """L and H steps on the latents of images x (B, 3, H, W), H and W multiples of 8."""

    def __init__(self, model: HVR, x: Tensor, lib: ctypes.CDLL) -> None:
        B, _, self.H, self.W = x.shape
        self.lib, self.dims, self.threads = lib, dimensions(model), torch.get_num_threads()
        tensors = parameters_in_order(model)
        pointers = (ctypes.c_void_p * len(tensors))(*(t.data_ptr() for t in tensors))
        self.weights = ctypes.c_void_p(lib.hvr_pack(ctypes.byref(self.dims), pointers))
        self.x = x.contiguous()
        row = -(-self.W // lib.hvr_lanes()) * lib.hvr_lanes()
        self.zH, self.zL = (self._memory(B, self.H, model.z_dims, row) for _ in range(2))
        self.memory = self._memory(16 + lib.hvr_workspace(ctypes.byref(self.dims), self.H, self.W, self.threads))
        self.aligned = self.memory.data_ptr() + -self.memory.data_ptr() % 64

    def _memory(self, *shape: int) -> Tensor:
        tensor = torch.empty(shape)
        self.lib.hvr_large_pages(tensor.data_ptr(), tensor.numel())
        return tensor

    def __del__(self) -> None:
        if weights := getattr(self, "weights", None):
            self.lib.hvr_free(weights)

    @staticmethod
    def of(model: HVR, x: Tensor) -> Recursion | None:
        """For CPU float32 images where no gradients are wanted, or None."""
        if (torch.is_grad_enabled() or x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu")
                or torch.compiler.is_compiling() or next(model.parameters()).device.type != "cpu" or x.numel() == 0):
            return None
        lib = native_library.library()
        return Recursion(model, x, lib) if lib is not None and supported(model, lib) else None

    def run(self, latents: Iterator[Tensor], steps: str, on_step: Callable[[str, State], None] | None = None) -> State:
        """Take over zH and zL, (B, D, H, W) each, then take `steps`. -> the state (see `state`).

        `latents` gives the two one after the other, so that only one need exist beside the copies here.
        """
        for map, z in zip((self.zH, self.zL), latents, strict=True):
            map[..., : self.W].copy_(z.permute(0, 2, 1, 3))
        del z
        for kind in steps:
            self.step(kind)
            if on_step is not None:
                on_step(kind, State(*(z.clone() for z in self.state())))
        return self.state()

    def state(self) -> State:
        """zH and zL as (B, D, H, W): views, which the next step changes."""
        return State(*(map[..., : self.W].permute(0, 2, 1, 3) for map in (self.zH, self.zL)))

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
