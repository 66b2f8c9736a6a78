"""Distances between pixel values: mean absolute and mean squared error (spec: on the model's own range)."""
from __future__ import annotations

from torch import Tensor


def mae_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """mean |prediction - target|; two tensors of one shape, any range; a 0-d tensor."""
    return (prediction - target).abs().mean()


def mse_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """mean (prediction - target)^2; two tensors of one shape, any range; a 0-d tensor."""
    return (prediction - target).square().mean()
