"""What a training is made of: network, optimizer, loss, loaders, built from the config on every rank."""
from __future__ import annotations

import logging
import math
import warnings
from dataclasses import dataclass, replace

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed

from data.pairs.loading import build_loader
from engine.processes import Processes
from engine.program import quick_imports
from engine.training.ema import WeightAverage
from engine.training.muon import Muon
from engine.training.step import SupervisedStep
from exp_config import Config
from losses.total import TotalLoss
from models import HVR

logger = logging.getLogger(__name__)


@dataclass
class Parts:
    """What a training is made of, the same on every rank but for its share of the photos."""

    accelerator: Accelerator
    ranks: Processes
    model: HVR
    optimizer: torch.optim.Optimizer
    step: SupervisedStep
    average: WeightAverage | None
    train_loader: torch.utils.data.DataLoader
    val_loader: torch.utils.data.DataLoader


def build_parts(config: Config, accelerator: Accelerator, ranks: Processes) -> Parts:
    """Network with fresh weights of config.seed, AdamW, loss and loaders. ValueErrors say what cannot be had."""
    with accelerator.local_main_process_first():  # it fetches or caches what the others then find
        train_loader = build_loader(config, True, ranks.rank, ranks.world)
        val_loader = build_loader(replace_workers(config), False, ranks.rank, ranks.world)
        loss = TotalLoss(config.loss_weight, exposure_mean=config.exposure_mean, device=accelerator.device,
                         normalize_one_to_one=config.normalize_one_to_one, lpips_required=config.lpips_required)
    photos_per_step = config.batch_size * config.gradient_accumulation_steps * ranks.world
    if len(train_loader.batch_sampler) < config.gradient_accumulation_steps:
        raise ValueError(f"the training photos do not fill one step of {photos_per_step} photos (batch_size x "
                         "gradient_accumulation_steps x processes); give more photos, or lower one of these")
    if len({tuple(weights) for weights in ranks.gather(loss.weights)}) > 1:
        raise ValueError(f"the processes do not have the same losses: {ranks.gather(dict(loss.missing))}; make the missing "
                         "weights available on every machine")
    torch.manual_seed(config.seed)
    model = HVR.from_config(config).to(accelerator.device)
    set_seed((config.seed + 1 + ranks.rank) % 2**32)  # from here on no rank draws what another one draws
    average = WeightAverage(model, config.ema_decay) if config.ema_decay else None
    optimizer = build_optimizer(config, model, accelerator.device)
    with warnings.catch_warnings():
        # Newer torch renames DDP's broadcast_buffers; accelerate, and torch before that, know only this name.
        warnings.filterwarnings("ignore", message=".*broadcast_buffers", category=FutureWarning)
        network, optimizer = accelerator.prepare(model, optimizer)
    compiled = config.compile and accelerator.device.type == "cuda"
    if config.compile and not compiled:
        logger.warning("compile = true is for GPUs; training on %s without it", accelerator.device)
    step = SupervisedStep(accelerator, model, network, optimizer, loss, supervision_steps=config.hvr_n_supervision,
                          max_grad_norm=config.max_grad_norm, progressive_steps=config.hvr_n_progressive,
                          change_weight=config.change_weight, compile=compiled, average=average)
    return Parts(accelerator, ranks, model, optimizer, step, average, train_loader, val_loader)


def build_optimizer(config: Config, model: HVR, device: torch.device) -> torch.optim.Optimizer:
    """The optimizer that the config names."""
    with quick_imports():  # the first one brings torch's compiler
        if config.optimizer == "muon":
            return Muon(model.parameters(), config.learning_rate)
        return torch.optim.AdamW(model.parameters(), config.learning_rate, fused=device.type in ("cpu", "cuda"))


def replace_workers(config: Config) -> Config:
    """Validation needs fewer loader processes: they stay alive beside those of the training."""
    return replace(config, num_workers=math.ceil(config.num_workers / 2))
