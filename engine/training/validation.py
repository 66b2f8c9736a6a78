"""Validation loss: of the network, and of returning the input unchanged."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from data.pairs.colour_cast import has_cast
from data.pairs.dataset import LowLightPairs
from data.pairs.degradation import final_ranges
from data.pairs.loading import PairBatch
from engine.processes import Processes
from engine.training.step import TOTAL, unpack
from exp_config import Config
from losses.total import TotalLoss
from models import HVR


def validation_loss(accelerator: Accelerator, ranks: Processes, model: HVR, loss: TotalLoss,
                    batches: Iterable[PairBatch]) -> dict[str, float]:
    """Mean over all validation photos of the loss of the sampled output: {"loss": total, "mae": .., ...}.

    The ranks share the photos (each in one rank's `batches` only); every rank gets the same exact mean. The initial
    states come from the photos' own seeds, so two epochs are comparable.
    """
    def output(low: Tensor, seeds: Tensor) -> Tensor:
        with accelerator.autocast():
            return model.sample(low, seeds=seeds)[1].float()

    model.eval()
    try:
        return _mean_loss(accelerator, ranks, model, loss, batches, output)
    finally:
        model.train()


def identity_loss(accelerator: Accelerator, ranks: Processes, model: HVR, loss: TotalLoss,
                  batches: Iterable[PairBatch]) -> dict[str, float]:
    """The same of returning the dark input unchanged: what a training has to beat."""
    return _mean_loss(accelerator, ranks, model, loss, batches, lambda low, _seeds: low)


def validation_of(config: Config, photos: LowLightPairs) -> dict[str, Any]:
    """What decides on the validation loss of given weights, beside the network and the losses, as plain values: losses
    can be compared where these are equal."""
    return {"photos": photos.digest(), "size": [config.height, config.width],
            "curves": [*map(list, final_ranges(config)), config.alpha_distribution, config.l_distribution],
            "steps": [config.z_distribution, config.hvr_t, config.hvr_c, config.hvr_n_supervision],
            "exposure_mean": config.exposure_mean} | _beyond_the_curve(config)


def _beyond_the_curve(config: Config) -> dict[str, Any]:
    """Exposure, kept colour, casts and uneven light; nothing where there is none, so that earlier checkpoints, which do not
    know of them, compare as equal."""
    names = ("uneven_light_rate", "uneven_l_range", "uneven_gain_range", "uneven_colour_spread", "uneven_glare_range")
    uneven = {name: getattr(config, name) for name in names} if config.uneven_light_rate > 0.0 else {}
    kept = {"colour_kept_range": config.colour_kept_range} if max(config.colour_kept_range) > 0.0 else {}
    cast = {name: getattr(config, name) for name in ("cast_gain_spread", "cast_black_spread")} if has_cast(config) else {}
    exposure = {"normal_mean_range": config.normal_mean_range} if max(config.normal_mean_range) > 0.0 else {}
    reference = {"reference_mean": config.reference_mean} if max(config.reference_mean) > 0.0 else {}
    return uneven | kept | cast | exposure | reference


@torch.no_grad()
def _mean_loss(accelerator: Accelerator, ranks: Processes, model: HVR, loss: TotalLoss, batches: Iterable[PairBatch],
               output: Callable[[Tensor, Tensor], Tensor]) -> dict[str, float]:
    names = (TOTAL, *loss.weights)
    sums = torch.zeros(len(names) + 1, dtype=torch.float64)  # losses times photos, then the photos
    for batch in batches:
        low, normal = unpack(batch, model, accelerator.device)
        total, parts = loss(output(low, batch["state_seed"]), normal, low)
        values = torch.stack([total, *parts.values(), torch.ones_like(total)])
        sums += values.to("cpu", torch.float64) * len(low)
    *sums_of_losses, photos = ranks.sum(sums).tolist()
    return {name: value / photos for name, value in zip(names, sums_of_losses, strict=True)}
