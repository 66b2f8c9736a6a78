"""Muon: weight matrices move along their orthogonalised momentum, everything else by AdamW.

Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; scale of the steps from Liu et al.,
"Muon is Scalable for LLM Training", 2025, so that AdamW's learning rates hold. (`torch.optim.Muon` takes 2-D tensors
alone. Views of the convolutions would do, but it iterates in bfloat16: its step differs by 1.6 % of its length. Besides it
takes one matrix at a time, and checkpoints and gradient scaling would have to know 45 views beside the weights.)

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
                by_size: dict[tuple[int, int], list[Tensor]] = {}
                for weight in group["params"]:
                    if weight.grad is not None:
                        by_size.setdefault((weight.shape[0], weight[0].numel()), []).append(weight)
                for weights in by_size.values():
                    self._step_matrices(weights, group)
        super().step()
        return loss

    def _step_matrices(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        """One step of matrices of equal size, together: a GPU would wait for the launches of so many small products."""
        gradients, momenta = [], []
        for weight in weights:
            state = self.state[weight]
            if not state:
                state.update(step=torch.tensor(0.0), momentum=torch.zeros_like(weight))  # AdamW wants a step in every state
            state["step"] += 1
            momenta.append(state["momentum"])
            gradients.append(weight.grad)
            weight.grad = None  # AdamW passes over it
        torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
        ahead = torch._foreach_lerp(gradients, momenta, MOMENTUM)
        directions = orthogonalised(torch.stack([matrix.flatten(1) for matrix in ahead]))
        length = RMS * math.sqrt(max(directions.shape[1:]))
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(weights, [d.view_as(w) for d, w in zip(directions, weights, strict=True)],
                            alpha=-group["lr"] * length)


def is_matrix(parameter: Tensor) -> bool:
    """Whether a tensor, flattened to (first dimension, all others), has two rows and columns at least."""
    return parameter.dim() >= 2 and min(parameter.shape[0], parameter[0].numel()) >= 2


def orthogonalised(matrices: Tensor) -> Tensor:
    """(..., m, n) -> nearly U V^T of the singular value decomposition U S V^T of each, float32: singular values of 0.7 to 1.2
    where they were not far below the largest. By Newton-Schulz iteration."""
    a, b, c = QUINTIC
    x = matrices.float()
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x
