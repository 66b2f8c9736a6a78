"""The network's formulas faster, on tensors: what `models/` computes, by code made for a device.

`choice.py` alone decides what runs where; the network calls the functions here. `cpu/` holds C++, compiled on first use, and
`gpu/` Triton and CUDA graphs. Nothing here knows the network's modules: it gets tensors by name and sizes (`contract.py`).
"""
from models.kernels.choice import (
           conv3x3,
           conv_norm_act,
           fill_in_pieces,
           has_cpu_kernels,
           recursion,
           softmax_attention,
           swin_block,
)
from models.kernels.contract import BlockSizes, NetworkSizes

__all__ = ["BlockSizes", "NetworkSizes", "conv3x3", "conv_norm_act", "fill_in_pieces", "has_cpu_kernels", "recursion",
           "softmax_attention", "swin_block"]
