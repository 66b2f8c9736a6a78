"""Run by test_processes.py, two CPU processes: what one rank finds is written as JSON or a tensor file.

    torchrun --nproc_per_node 2 two_ranks.py FOLDER    (FOLDER/config.json: batch_size 2; results go there)
    python two_ranks.py FOLDER two_machines
"""
from __future__ import annotations

import json
import os
import socket
import sys
from dataclasses import replace
from pathlib import Path

import torch

from engine.processes import joined_processes
from engine.program import run_program
from engine.training.launch import PROCESS_TIMEOUT, start_accelerator
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


def end_of_a_broken_training(config_file: Path, rank: int) -> int:
    """Exit status of train.py where the photos of rank 1 give NaN."""
    import train
    from losses.total import TotalLoss

    original = TotalLoss.__call__

    def broken(self, prediction, target, input):
        total, parts = original(self, prediction, target, input)
        return (total * float("nan") if rank == 1 and torch.is_grad_enabled() else total), parts

    TotalLoss.__call__ = broken
    return train.main(["--config_path", str(config_file)])


def short_epochs(config: Config) -> None:
    """Trainings whose epochs have fewer steps than log_every, with one validation photo for two processes."""
    for steps in EPOCHS_OF_STEPS:
        run_training(replace(config, batch_size=1, train_folders=2 * config.train_folders, max_train_photos=2 * steps,
                             max_val_photos=1, log_every=10, checkpoint_dir=f"{config.checkpoint_dir}/steps_{steps}"))


def on_one_machine(folder: Path) -> int:
    config = Config.from_json(folder / "config.json")
    found = gradients_and_losses(config)
    accumulated = gradients_and_losses(replace(config, batch_size=1, gradient_accumulation_steps=2))
    torch.save({"plain": found, "accumulated": accumulated}, folder / f"found_{torch.distributed.get_rank()}.pt")
    run_training(config)
    return 0


def on_two_machines(folder: Path) -> int:
    """Forks with the variables that torchrun sets for two machines of one process each; their exit statuses are written."""
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])  # imports the half of torch that each fork would import again
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    machines = []
    for rank in (0, 1):
        machines.append(os.fork())
        if machines[-1] == 0:
            os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1",
                           "GROUP_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            os.dup2(os.open(folder / f"said_{rank}", os.O_CREAT | os.O_WRONLY), 2)
            run_program(lambda rank=rank: on_a_machine(folder, rank))
    statuses = [os.waitstatus_to_exitcode(os.waitpid(machine, 0)[1]) for machine in machines]
    (folder / "statuses.json").write_text(json.dumps(statuses))
    return 0


def on_a_machine(folder: Path, rank: int) -> int:
    short_epochs(Config.from_json(folder / "config.json"))
    return end_of_a_broken_training(folder / "config.json", rank)


if __name__ == "__main__":
    run_program(lambda: (on_two_machines if sys.argv[2:] else on_one_machine)(Path(sys.argv[1])))
