"""The training loss: the weighted sum of the losses that `loss_weight` names."""
from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from exp_config.pyiqa_access import WEIGHT_FILES, PyiqaUnavailable, weights_root
from losses.color import color_loss
from losses.detail import detail_loss
from losses.exposure import exposure_l2_loss, exposure_loss
from losses.perceptual import LpipsLoss
from losses.pixel import mae_loss, mse_loss
from losses.quality import NAMES as QUALITY_NAMES
from losses.quality import QualityLoss
from losses.saturation import chroma_distance, sat_loss
from losses.seams import seams_loss
from losses.smoothness import satv_loss, tv_loss
from losses.spatial import spa_loss

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


# The losses that are plain functions; `TotalLoss._build` adds those that are built.
FUNCTIONS: dict[str, Callable[[Images], Tensor]] = {
    "mae": lambda images: mae_loss(images.prediction, images.target),
    "mse": lambda images: mse_loss(images.prediction, images.target),
    "sat": lambda images: sat_loss(images.unit_prediction, images.unit_target),
    "chroma": lambda images: chroma_distance(images.unit_prediction, images.unit_target),
    "detail": lambda images: detail_loss(images.unit_prediction, images.unit_target),
    "seams": lambda images: seams_loss(images.unit_prediction, images.unit_target),
    "color": lambda images: color_loss(images.unit_prediction),
    "spa": lambda images: spa_loss(images.unit_prediction, images.unit_input),
    "tv": lambda images: tv_loss(images.unit_prediction),
    "satv": lambda images: satv_loss(images.unit_prediction),
}
NAMES = (*FUNCTIONS, "exposure", "exposure_l2", "lpips", *QUALITY_NAMES)


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
                self._losses[name] = self._build(name, exposure_mean, device)
            except PyiqaUnavailable as error:
                if name != "lpips":
                    raise
                if lpips_required:
                    raise PyiqaUnavailable(_what_helps(error)) from error
                self.missing[name] = str(error)
                logger.warning("training goes on without the lpips loss: %s", error)
            else:
                self.weights[name] = float(weight)
        if not self._losses:
            raise ValueError(f"no loss is left of loss_weight {dict(loss_weight)}; not to be had: {list(self.missing)}")
        if set(self._losses) == {"nrqm"}:
            raise ValueError("nrqm has no gradient; give loss_weight another loss beside it")

    def __call__(self, prediction: Tensor, target: Tensor, input: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """(total, parts) of (B, 3, H, W) images in the model's range.

        `total` is a 0-d tensor to differentiate; `parts` the unweighted losses by name, 0-d and detached. Nothing waits
        for the GPU. Passing the same `target` object again saves its lpips features.
        Raises ValueError for images of other or different shapes, or too small for one of the losses.
        """
        if not prediction.shape == target.shape == input.shape or prediction.dim() != 4 or prediction.shape[1] != 3:
            shapes = ", ".join(str(tuple(image.shape)) for image in (prediction, target, input))
            raise ValueError(f"prediction, target and input must be of one shape (B, 3, H, W), found {shapes}")
        with torch.autocast(prediction.device.type, enabled=False):
            images = Images(_precise(prediction), _precise(target), _precise(input), self.normalize_one_to_one)
            values = {name: loss(images).to(images.prediction.dtype) for name, loss in self._losses.items()}
            total = torch.stack([self.weights[name] * value for name, value in values.items()]).sum()
        return total, {name: value.detach() for name, value in values.items()}

    def _build(self, name: str, exposure_mean: float, device: torch.device | str) -> Callable[[Images], Tensor]:
        if name == "exposure":
            return lambda images: exposure_loss(images.unit_prediction, exposure_mean)
        if name == "exposure_l2":
            return lambda images: exposure_l2_loss(images.unit_prediction, exposure_mean)
        if name == "lpips":
            # It does its own clamping: it knows a target that it saw before by the tensor's identity.
            lpips = LpipsLoss(device, normalize_one_to_one=self.normalize_one_to_one)
            return lambda images: lpips(images.prediction, images.target)
        if name in QUALITY_NAMES:
            quality = QualityLoss(name, device)
            return lambda images: quality(images.unit_prediction, images.unit_target)
        return FUNCTIONS[name]


def _what_helps(error: PyiqaUnavailable) -> str:
    """Of a published loss that cannot be had: without it the weights would not be the paper's."""
    return (f"the loss lpips that loss_weight asks for cannot be had: {error}\n"
            "What helps:\n"
            "  pip install --no-deps -r requirements-metrics.txt          installs pyiqa (non-commercial licence)\n"
            f"  {' and '.join(WEIGHT_FILES['lpips'])} in {weights_root()}          its weight files, fetched at the first use\n"
            "  --set lpips_required=false          trains without it: another recipe than the published one")


def _precise(image: Tensor) -> Tensor:
    """Half precision becomes float32; float32 and float64 stay the very same tensor."""
    return image if image.dtype in (torch.float32, torch.float64) else image.float()


def _check(loss_weight: Mapping[str, float]) -> None:
    unknown = sorted(set(loss_weight) - set(NAMES))
    if unknown:
        raise ValueError(f"unknown loss in loss_weight: {', '.join(unknown)}; there are: {', '.join(sorted(NAMES))}")
    for name, weight in loss_weight.items():
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < math.inf:
            raise ValueError(f"loss_weight[{name!r}] is {weight!r}; expected a finite number >= 0")
