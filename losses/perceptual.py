"""LPIPS: distance of deep features (Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual
Metric", CVPR 2018), version 0.1 on AlexNet with pyiqa's weights.

    lpips(p, t) = sum over layers l of mean over positions of w_l . (f_l(p)/|f_l(p)| - f_l(t)/|f_l(t)|)^2
"""
from __future__ import annotations

import weakref

import torch
from torch import Tensor
from torch.nn import functional as F

from exp_config.pyiqa_access import create_metric

MIN_SIDE = 31          # below it AlexNet's second pooling has nothing left to pool
NORM_EPSILON = 1e-10   # as in the reference implementation
TINY = 1e-20           # below float32's resolution of any norm that matters; keeps the root's gradient finite at 0


class LpipsLoss:
    """Mean LPIPS of a batch. The network is frozen and in eval mode; gradients reach the prediction alone.

    Deep supervision compares several predictions with one target: the target's features are kept as long as that very
    tensor lives and is not written to.
    Raises PyiqaUnavailable (a ValueError) when pyiqa or a weight file cannot be had.
    """

    def __init__(
        self,
        device: torch.device | str = "cpu",
        *,
        normalize_one_to_one: bool = True,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.normalize_one_to_one = normalize_one_to_one
        self.dtype = dtype
        network = create_metric("lpips", device=device, as_loss=True).net
        assert isinstance(network, torch.nn.Module)
        network.to(dtype)
        self._scale: torch.nn.Module = network.scaling_layer  # type: ignore[assignment]
        self._alexnet: torch.nn.Module = network.net.to(memory_format=torch.channels_last)  # type: ignore[union-attr,assignment]
        # Each layer's weights w_l as a (1, C, 1, 1) convolution; in eval mode the dropout before it does nothing.
        self._layer_weights = [layer.model[-1].weight for layer in network.lins]  # type: ignore[union-attr]
        self._target: weakref.ref[Tensor] | None = None
        self._target_version = -1
        self._target_features: list[Tensor] = []

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Both (B, 3, H, W) RGB in the model's range ([-1, 1], or [0, 1]), clamped to it; a 0-d tensor.

        Raises ValueError on images with a side below 31.
        """
        if min(prediction.shape[-2:]) < MIN_SIDE:
            height, width = prediction.shape[-2:]
            raise ValueError(
                f"the lpips loss needs images of at least {MIN_SIDE}x{MIN_SIDE} pixels, found {height}x{width}; "
                "set a larger height and width, or the weight of lpips to 0"
            )
        total = torch.zeros((), dtype=self.dtype, device=prediction.device)
        features = zip(self._features(prediction), self._features_of_target(target), self._layer_weights, strict=True)
        for ours, theirs, weight in features:
            total = total + F.conv2d((ours - theirs).square(), weight).mean()
        return total

    def _features(self, image: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in the model's range -> five maps (B, C_l, H_l, W_l), each position's vector of length 1."""
        image = image.to(self.dtype)
        image = (image if self.normalize_one_to_one else 2 * image - 1).clamp(-1, 1)
        image = self._scale(image).contiguous(memory_format=torch.channels_last)
        return [_unit_vectors(layer) for layer in self._alexnet(image)]

    def _features_of_target(self, target: Tensor) -> list[Tensor]:
        if torch.is_inference_mode_enabled() or target.is_inference():
            return self._features(target)  # such tensors carry no version, and must not be kept for training
        known = self._target() if self._target is not None else None
        if known is not target or self._target_version != target._version:
            with torch.no_grad():
                self._target_features = self._features(target)
            self._target, self._target_version = weakref.ref(target, self._forget), target._version
        return self._target_features

    def _forget(self, reference: weakref.ref[Tensor]) -> None:
        """Let go of the features of a batch that is gone."""
        if reference is self._target:
            self._target, self._target_features = None, []


def _unit_vectors(features: Tensor) -> Tensor:
    """(B, C, H, W) -> the same, each position's vector over its length; 0 stays 0, with a finite gradient."""
    length = (features.square().sum(1, keepdim=True) + TINY).sqrt()  # (B, 1, H, W)
    return features / (length + NORM_EPSILON)
