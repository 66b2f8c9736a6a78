"""How a broken-off training goes on: the command line that resumes it, with the launcher that started it."""
from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

import torch

from engine.training.launch import told_to_use_cpu

NODE_RANK = ("--node_rank", "--node-rank", "--machine_rank")  # of torchrun and of accelerate launch
OF_NEW_RUNS = ("--resume_from_checkpoint", "--init_weights")


def how_to_resume(arguments: Sequence[str], checkpoint: Path, world: int, launcher: Sequence[str]) -> str:
    """What to type after an interruption. arguments: this program's command line, the script first; world: processes;
    launcher: what was typed before the script."""
    several = [option for option in NODE_RANK if any(word.partition("=")[0] == option for word in launcher)]
    where = f" (on each machine, with its own {several[0]})" if several else ""
    return f"resume with{where}:\n  {resume_command(arguments, checkpoint, world, launcher)}"


def resume_command(arguments: Sequence[str], checkpoint: Path, world: int, launcher: Sequence[str] = ()) -> str:
    """The command line that goes on from `checkpoint`: the present one, with what only a new run needs left out.

    launcher: words before the script, as typed; where they are not known (srun, mpirun) those for `world` processes here.
    """
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if skip:
            skip = False
        elif argument in OF_NEW_RUNS:
            skip = True
        elif not argument.startswith(tuple(f"{option}=" for option in OF_NEW_RUNS)):
            kept.append(argument)
    on_cpu = told_to_use_cpu(os.environ)
    if not launcher:
        on_gpus = torch.cuda.is_available() and not on_cpu
        launcher = (["python"] if world == 1 else ["accelerate", "launch", "--num_processes", str(world)] if on_gpus else
                    ["torchrun", "--nproc_per_node", str(world)])
    chosen = on_cpu and launcher[0] != "accelerate" and (world > 1 or torch.cuda.is_available())
    return ("ACCELERATE_USE_CPU=true " if chosen else "") + shlex.join(
        [*launcher, *kept, "--resume_from_checkpoint", str(checkpoint)])
