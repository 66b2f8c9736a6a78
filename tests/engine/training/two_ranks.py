"""Run by test_processes.py under torchrun, two CPU processes: what one rank finds is written as JSON or a tensor file.

    torchrun --nproc_per_node 2 two_ranks.py FOLDER [short_epochs]    (FOLDER/config.json: batch_size 2; results go there)
"""
from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

from engine.processes import joined_processes
from engine.training.launch import PROCESS_TIMEOUT, start_accelerator
from engine.training.meter import NonFiniteError
from engine.training.parts import build_parts
from engine.training.session import run_training
from engine.training.validation import identity_loss, validation_loss
from exp_config import Config

EPOCHS_OF_STEPS = (1, 2, 9)


class Recorder:
    """Stands in for the optimizer: keeps the gradients of each step, changes no weight."""

    def __init__(self, parameters):
        self.parameters, self.gradients = list(parameters), []

    def step(self):
        self.gradients.append([p.grad.clone() for p in self.parameters])

    def zero_grad(self, set_to_none=True):
        for parameter in self.parameters:
            parameter.grad = None


def gradients_and_losses(config: Config) -> dict:
    """Gradients of the first step (both supervision steps), its values over all ranks, validation losses."""
    accelerator = start_accelerator(config)
    ranks = joined_processes(PROCESS_TIMEOUT)
    parts = build_parts(config, accelerator, ranks)
    parts.step.optimizer = recorder = Recorder(parts.model.parameters())
    parts.train_loader.batch_sampler.set_epoch(0)
    batches = iter(parts.train_loader)
    values = parts.step([next(batches) for _ in range(config.gradient_accumulation_steps)])
    arguments = (accelerator, ranks, parts.model, parts.step.loss)
    return {
        "gradients": recorder.gradients,
        "values": ranks.sum(values.mean(0)) / ranks.world,
        "validation": validation_loss(*arguments, parts.val_loader),
        "identity": identity_loss(*arguments, parts.val_loader),
        "draws": ranks.gather(torch.rand(2).tolist()),
        "world": ranks.world,
    }


def non_finite_on_one_rank(config: Config, rank: int) -> str:
    """The error that this rank sees when the other one's photos give NaN."""
    from losses.total import TotalLoss

    original = TotalLoss.__call__

    def broken(self, prediction, target, input):
        total, parts = original(self, prediction, target, input)
        return (total * float("nan") if rank == 1 and torch.is_grad_enabled() else total), parts

    TotalLoss.__call__ = broken
    try:
        run_training(replace(config, checkpoint_dir=config.checkpoint_dir + "/nan"))
    except NonFiniteError as error:
        return str(error)
    finally:
        TotalLoss.__call__ = original
    return "no error"


def short_epochs(config: Config) -> None:
    """Trainings whose epochs have fewer steps than log_every, with one validation photo for two processes."""
    for steps in EPOCHS_OF_STEPS:
        run_training(replace(config, batch_size=1, train_folders=2 * config.train_folders, max_train_photos=2 * steps,
                             max_val_photos=1, log_every=10, checkpoint_dir=f"{config.checkpoint_dir}/steps_{steps}"))


def main(folder: Path, only_short_epochs: bool) -> None:
    config = Config.from_json(folder / "config.json")
    if only_short_epochs:
        return short_epochs(config)
    found = gradients_and_losses(config)
    rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
    accumulated = gradients_and_losses(replace(config, batch_size=1, gradient_accumulation_steps=2))
    torch.save({"plain": found, "accumulated": accumulated}, folder / f"found_{rank}.pt")
    run_training(config)
    short_epochs(config)
    (folder / f"error_{rank}.json").write_text(json.dumps(non_finite_on_one_rank(config, rank)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] == ["short_epochs"])
