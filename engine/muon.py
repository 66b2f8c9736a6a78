"""Muon: weight matrices move along their orthogonalised momentum, everything else by AdamW.

Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; scale of the steps from Liu et al.,
"Muon is Scalable for LLM Training", 2025, so that AdamW's learning rates hold. (`torch.optim.Muon` takes 2-D tensors only,
and most weights here are convolutions.)

Why here: brightness dominates every gradient of this task, and the directions of colour are small beside it; Adam scales
numbers one by one and cannot tell these directions apart. An orthogonal step is as long in each of them.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
RMS = 0.2                            # root mean square of a matrix's step at learning rate 1, as AdamW's usually is
QUINTIC = (3.4445, -4.7750, 2.0315)  # a s + b s^3 + c s^5 takes each singular value s in (0, 1] towards 1
ITERATIONS = 5


class Muon(torch.optim.AdamW):
    """`Muon(model.parameters(), lr)`: tensors of two or more dimensions, flattened to (first, all others), by Muon;
    the rest, and tensors with a single row or column, by AdamW. One state dict holds both."""

    def __init__(self, params: Iterable[nn.Parameter], lr: float, weight_decay: float = 0.01) -> None:
        parameters = list(params)
        kinds = [[p for p in parameters if is_matrix(p) is wanted] for wanted in (True, False)]
        groups = [{"params": kind, "orthogonal": wanted} for kind, wanted in zip(kinds, (True, False), strict=True) if kind]
        # Not fused: a fused optimizer gets fp16's overflow check itself, any other one is simply not called then.
        super().__init__(groups, lr=lr, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:  # type: ignore[override]
        """One step of all parameters that have a gradient; those of the matrices are used up (None) afterwards."""
        with torch.enable_grad():
            loss = None if closure is None else closure()
        for group in self.param_groups:
            if group["orthogonal"]:
                for weight in group["params"]:
                    if weight.grad is not None:
                        self._step_matrix(weight, weight.grad, group)
                        weight.grad = None  # AdamW passes over it
        super().step()
        return loss

    def _step_matrix(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state.update(step=torch.tensor(0.0), momentum=torch.zeros_like(weight))  # AdamW looks for a step in every state
        state["step"] += 1
        momentum = state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        direction = orthogonalised(gradient.lerp(momentum, MOMENTUM).flatten(1)).view_as(weight)
        rows, columns = weight.flatten(1).shape
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        weight.add_(direction, alpha=-group["lr"] * RMS * math.sqrt(max(rows, columns)))


def is_matrix(parameter: Tensor) -> bool:
    """Whether a tensor, flattened to (first dimension, all others), has two rows and columns at least."""
    return parameter.dim() >= 2 and min(parameter.shape[0], parameter[0].numel()) >= 2


def orthogonalised(matrix: Tensor) -> Tensor:
    """(m, n) -> nearly U V^T of its singular value decomposition U S V^T, float32: singular values of 0.7 to 1.2 where they
    were not far below the largest. By Newton-Schulz iteration."""
    a, b, c = QUINTIC
    x = matrix.float()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = a * x + torch.addmm(gram, gram, gram, beta=b, alpha=c) @ x
    return x.T if tall else x
