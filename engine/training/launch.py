"""The processes of a training: started through accelerate, after checking that all those asked for are there."""
from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import (
    DistributedDataParallelKwargs,
    GradientAccumulationPlugin,
    InitProcessGroupKwargs,
    TorchDynamoPlugin,
)

from engine.device import keep_freed_memory, training_precision
from exp_config import Config

logger = logging.getLogger(__name__)

PROCESS_TIMEOUT = timedelta(minutes=30)  # how long a rank waits for another one before the run ends with an error

LAUNCHERS = ("torchrun", "accelerate", "accelerate-launch")
LAUNCHER_MODULES = ("torch.distributed.run", "torch.distributed.launch", "accelerate.commands.launch")
TRUE = ("true", "1", "yes", "y", "on", "t")
OTHER_WAYS = {"ACCELERATE_USE_DEEPSPEED": "DeepSpeed", "ACCELERATE_USE_FSDP": "FSDP",
              "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM", "ACCELERATE_USE_PARALLELISM_CONFIG": "a parallelism config",
              "ACCELERATE_USE_SAGEMAKER": "SageMaker"}
TWO_ON_CPU = "ACCELERATE_USE_CPU=true torchrun --nproc_per_node 2 train.py ..."


class LaunchError(ValueError):
    """A start that cannot give the processes or the device asked for; the message says what to type instead."""


def start_accelerator(config: Config) -> Accelerator:
    """Join the other processes and choose the device.

    Raises LaunchError for: fewer processes than asked for, a missing GPU, an occupied port, fp16 without a GPU, a way of
    sharing the network among GPUs that is not built here.
    """
    _check_gpus(os.environ)
    check_accelerate_variables(config, os.environ)
    on_cpu = told_to_use_cpu(os.environ) or not (torch.cuda.is_available() or torch.backends.mps.is_available())
    if on_cpu:
        keep_freed_memory()
    try:
        accelerator = Accelerator(  # plugins that say "none": without them accelerate asks its variables
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
            dynamo_plugin=TorchDynamoPlugin(backend="no"),
            mixed_precision=training_precision(config.autocast_dtype, on_cpu),
            kwargs_handlers=[InitProcessGroupKwargs(timeout=PROCESS_TIMEOUT),
                             DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)])
    except (RuntimeError, ValueError, OSError) as error:
        raise LaunchError(_explain(error)) from error
    check_process_count(accelerator.num_processes, asked_processes(os.environ, _launcher_arguments()), os.environ)
    if config.autocast_dtype == "fp16" and accelerator.device.type == "cpu":
        raise LaunchError("autocast_dtype = 'fp16' needs a GPU, found only the CPU; use --set autocast_dtype=bf16 or =no")
    return accelerator


def check_accelerate_variables(config: Config, environ: Mapping[str, str]) -> None:
    """What ACCELERATE_* variables (set by hand, by `accelerate config` or by options of `accelerate launch`) would change.

    The config decides on every number: where a variable asks for something else, one warning says so. Raises LaunchError
    for those that would train in another way altogether.
    """
    for name, option in OTHER_WAYS.items():
        if environ.get(name, "").lower() in TRUE:
            raise LaunchError(f"{name}={environ[name]} asks for {option}, which this training does not have (its network has "
                              f"0.35 million weights): unset {name}, or start without that option of accelerate launch")
    own = {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": ("gradient_accumulation_steps", str(config.gradient_accumulation_steps)),
           "ACCELERATE_MIXED_PRECISION": ("autocast_dtype", config.autocast_dtype),
           "ACCELERATE_DYNAMO_BACKEND": ("compile", "inductor" if config.compile else "no"),
           "ACCELERATE_GRADIENT_CLIPPING": ("max_grad_norm", f"{config.max_grad_norm:g}")}
    for name, (field, value) in own.items():
        asked = environ.get(name, "").lower()
        if asked not in ("", "no", "1" if field == "gradient_accumulation_steps" else "", value):
            logger.warning("%s=%s has no effect: %s in the config decides (--set %s=...)", name, environ[name], field, field)


def asked_processes(environ: Mapping[str, str], launcher: Sequence[str]) -> int:
    """How many processes this one was told there are: by torchrun's or MPI's variables or accelerate's command line."""
    for name in ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE"):
        if environ.get(name, "").isdigit():
            return int(environ[name])
    if "launch" not in launcher and not any(part.endswith("accelerate-launch") for part in launcher):
        return 1
    for position, part in enumerate(launcher):
        option, _, value = part.partition("=")
        if option in ("--num_processes", "--num-processes"):
            value = value or (launcher[position + 1] if position + 1 < len(launcher) else "")
            return int(value) if value.isdigit() else 1
    return 1


def check_process_count(found: int, asked: int, environ: Mapping[str, str]) -> None:
    """Raise LaunchError when fewer processes found each other than were asked for."""
    if found >= asked:
        return
    message = f"{asked} processes were asked for, but this one stands alone" if found == 1 else \
        f"{asked} processes were asked for, but only {found} found each other"
    if torch.cuda.is_available():
        advice = f"start them with: accelerate launch --multi_gpu --num_processes {asked} train.py ..."
    elif "WORLD_SIZE" in environ:
        advice = f"there is no GPU here; to train on the CPU: {TWO_ON_CPU}"
    else:
        advice = ("accelerate launch starts a single process on a machine without GPU, whatever --num_processes says. "
                  f"Either --num_processes 1, or: {TWO_ON_CPU}")
    raise LaunchError(f"{message}; nothing was trained. {advice}")


def _check_gpus(environ: Mapping[str, str]) -> None:
    """More processes on this machine than GPUs would end in CUDA's `invalid device ordinal`."""
    local = environ.get("LOCAL_WORLD_SIZE", "1")
    if told_to_use_cpu(environ) or not torch.cuda.is_available() or not local.isdigit():
        return
    if int(local) > torch.cuda.device_count():
        raise LaunchError(f"{local} processes on this machine, but {torch.cuda.device_count()} visible GPU(s): start at "
                          "most one process per GPU, and look at --gpu_ids and CUDA_VISIBLE_DEVICES")


def told_to_use_cpu(environ: Mapping[str, str]) -> bool:
    """Whether ACCELERATE_USE_CPU asks for a training without GPU."""
    return environ.get("ACCELERATE_USE_CPU", "false").lower() in TRUE


def launcher_command(script: str) -> list[str]:
    """What was typed before `script` to start this process: torchrun, accelerate launch and their options; empty where
    there was no launcher."""
    typed = _launcher_arguments()
    if script not in typed:
        return []
    before = typed[:typed.index(script)]
    for position, word in enumerate(before[:3]):  # python /somewhere/bin/torchrun, or python -m torch.distributed.run
        if Path(word).name in LAUNCHERS:
            return [Path(word).name, *before[position + 1:]]
        if word == "-m" and before[position + 1:position + 2] and before[position + 1] in LAUNCHER_MODULES:
            return ["python", *before[position:]]
    return []


def _launcher_arguments() -> list[str]:
    """Command line of the process that started this one (empty where it cannot be read)."""
    import psutil

    try:
        parent = psutil.Process().parent()
        return [] if parent is None else parent.cmdline()
    except psutil.Error:
        return []


def _explain(error: Exception) -> str:
    """accelerate's and torch's errors of a failed start, with what to do."""
    text = str(error)
    if "EADDRINUSE" in text or "address already in use" in text.lower():
        return (f"the port {os.environ.get('MASTER_PORT', '29500')} where the processes meet is occupied (by another "
                f"training?); choose one with accelerate launch --main_process_port PORT. {text.splitlines()[0]}")
    return f"the processes or the device could not be set up: {type(error).__name__}: {text}"

