"""What the kernels know of a network: sizes, tensors by name, and the plain formulas that they must agree with.

Letters: B batch, H W height and width, D latent channels, E embedding channels, f features of L, w window side, n = w*w pixels
of a window, h heads.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

EPS = 1e-5  # of every norm
Latents = tuple[Tensor, Tensor]                   # zH, zL, (B, D, H, W) each
OnStep = Callable[[str, Latents], None] | None    # sees the kind of each step, "L" or "H", and the latents after it


@dataclass(frozen=True)
class BlockSizes:
    """A SwinV2 block. shift: pixels of its cyclic shift to the top left, 0 for none."""

    dim: int
    heads: int
    hidden: int
    window: int
    shift: int


@dataclass(frozen=True)
class NetworkSizes:
    """layers: the blocks of each layer of H. tanh: whether the head ends in tanh, else in a sigmoid."""

    D: int
    E: int
    f: int
    groups: int
    layers: tuple[tuple[BlockSizes, ...], ...]
    tanh: bool


class Block(Protocol):
    """A SwinV2 block."""

    @property
    def sizes(self) -> BlockSizes: ...

    def tensors(self) -> dict[str, Tensor]:
        """Its parameters under their names in weight files, and what follows from them: attn.similarity_scale (h, 1, 1),
        attn.position_bias (1 or 4, h, n, n), the mask of a shifted block's four kinds of windows included."""

    def plain(self, x: Tensor) -> Tensor:
        """The formula. x (B, H, W, D) -> the same shape."""

    def parameters(self) -> Iterator[nn.Parameter]: ...


class Steps(Protocol):
    """The recursion on given images."""

    def run(self, latents: Iterable[Tensor], steps: str, on_step: OnStep = None) -> Latents:
        """Take over zH and zL, then take `steps` in order, for example "LLH": -> the latents after them.

        `latents` gives the two one after the other, so that only one need exist beside the copies here.
        """

    def enhance(self, latents: Iterable[Tensor], steps: str, on_step: OnStep = None) -> tuple[Latents, Tensor]:
        """The same: -> the latents, which may be views of a larger memory, and the image (B, 3, H, W) in the model's range."""


class Network(Protocol):
    """The whole network."""

    training: bool

    @property
    def sizes(self) -> NetworkSizes: ...

    def tensors(self) -> dict[str, Tensor]:
        """Its parameters under their names in weight files, and those of `Block.tensors` of each block."""

    def plain(self, x: Tensor) -> Steps:
        """The formulas on images x (B, 3, H, W), H and W whole windows."""

    def parameters(self) -> Iterator[nn.Parameter]: ...


def part(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors of the part `name`, under the rest of their names."""
    return {key.removeprefix(f"{name}."): tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}


def block_name(layer: int, number: int) -> str:
    """Of a Swin block among a network's parts."""
    return f"H_net_model.layers.{layer}.residual_group.blocks.{number}"
