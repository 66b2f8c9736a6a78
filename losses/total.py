"""The training loss: the weighted sum of the losses that `loss_weight` names."""
from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from exp_config.pyiqa_access import PyiqaUnavailable
from losses.perceptual import LpipsLoss
from losses.pixel import mae_loss, mse_loss
from losses.saturation import sat_loss

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Images:
    """What the losses of one supervision step look at; all (B, 3, H, W) in the model's range, float32 or float64."""

    prediction: Tensor
    target: Tensor
    input: Tensor
    normalize_one_to_one: bool  # the range is [-1, 1]; else [0, 1]

    @cached_property
    def unit_prediction(self) -> Tensor:
        """The prediction clamped to its range and mapped to [0, 1]."""
        return self._to_unit(self.prediction)

    @cached_property
    def unit_target(self) -> Tensor:
        """The target clamped to its range and mapped to [0, 1]."""
        return self._to_unit(self.target)

    @cached_property
    def unit_input(self) -> Tensor:
        """The input clamped to its range and mapped to [0, 1]."""
        return self._to_unit(self.input)

    def _to_unit(self, image: Tensor) -> Tensor:
        return ((image + 1) / 2 if self.normalize_one_to_one else image).clamp(0, 1)


# Name -> builder of the loss from (exposure_mean, normalize_one_to_one, device).
BUILDERS: dict[str, Callable[[float, bool, torch.device | str], Callable[[Images], Tensor]]] = {
    "mae": lambda *_: lambda images: mae_loss(images.prediction, images.target),
    "mse": lambda *_: lambda images: mse_loss(images.prediction, images.target),
    "sat": lambda *_: lambda images: sat_loss(images.unit_prediction, images.unit_target),
    "lpips": lambda _, one_to_one, device: _lpips(one_to_one, device),
}


class TotalLoss:
    """sum of weight * loss over `loss_weight` = {name: weight}; a weight of 0 builds nothing.

    Loss by loss: `mae` and `mse` compare images in the model's own range; all others compare images clamped to it and
    mapped to [0, 1] (lpips: [-1, 1], as its network is defined). Everything is computed in float32 (float64 stays),
    under autocast too.

    Where pyiqa or its weights cannot be had, `lpips` is left out with one warning, or raises with `lpips_required`.
    Attributes: `weights`, the {name: weight} in use; `missing`, {name: reason} of what was left out.
    Raises ValueError for an unknown name, a weight that is no finite number >= 0, or when no loss is left.
    """

    def __init__(
        self,
        loss_weight: Mapping[str, float],
        *,
        exposure_mean: float = 0.5,
        normalize_one_to_one: bool = True,
        lpips_required: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        _check(loss_weight)
        self.normalize_one_to_one = normalize_one_to_one
        self.missing: dict[str, str] = {}
        self.weights: dict[str, float] = {}
        self._losses: dict[str, Callable[[Images], Tensor]] = {}
        for name, weight in loss_weight.items():
            if weight == 0:
                continue
            try:
                self._losses[name] = BUILDERS[name](exposure_mean, normalize_one_to_one, device)
            except PyiqaUnavailable as error:
                if name != "lpips" or lpips_required:
                    raise
                self.missing[name] = str(error)
                logger.warning("training goes on without the lpips loss: %s", error)
            else:
                self.weights[name] = float(weight)
        if not self._losses:
            raise ValueError(f"no loss is left: loss_weight is {dict(loss_weight)}, not to be had: {self.missing or 'none'}")

    def __call__(self, prediction: Tensor, target: Tensor, input: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """(total, parts) of (B, 3, H, W) images in the model's range.

        `total` is a 0-d tensor to differentiate; `parts` the unweighted losses by name, 0-d and detached. Nothing waits
        for the GPU. Passing the same `target` object again saves its lpips features.
        """
        with torch.autocast(prediction.device.type, enabled=False):
            images = Images(_precise(prediction), _precise(target), _precise(input), self.normalize_one_to_one)
            values = {name: loss(images) for name, loss in self._losses.items()}
            total = torch.stack([self.weights[name] * value for name, value in values.items()]).sum()
        return total, {name: value.detach() for name, value in values.items()}


def _lpips(normalize_one_to_one: bool, device: torch.device | str) -> Callable[[Images], Tensor]:
    loss = LpipsLoss(device, normalize_one_to_one=normalize_one_to_one)
    return lambda images: loss(images.prediction, images.target)


def _precise(image: Tensor) -> Tensor:
    """Half precision becomes float32; float32 and float64 stay the very same tensor."""
    return image if image.dtype in (torch.float32, torch.float64) else image.float()


def _check(loss_weight: Mapping[str, float]) -> None:
    unknown = sorted(set(loss_weight) - set(BUILDERS))
    if unknown:
        raise ValueError(f"unknown loss in loss_weight: {', '.join(unknown)}; there are: {', '.join(sorted(BUILDERS))}")
    for name, weight in loss_weight.items():
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < math.inf:
            raise ValueError(f"loss_weight[{name!r}] is {weight!r}; expected a finite number >= 0")
