"""Run folders: checkpoint/<project>_<experiment>_<time>/, one training at a time in each."""
from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import TextIO

from engine.training import checkpoints
from engine.training.checkpoints import BEST, LATEST, CheckpointError
from exp_config import PROJECT_ROOT, Config
from exp_config.places import expanded

ID_FILE, LOCK_FILE = "wandb_id.txt", ".in_use"


def new_run_folder(config: Config) -> Path:
    """Make a run folder with a name not taken yet. Raises CheckpointError where it cannot be made."""
    parent = config.path(config.checkpoint_dir)
    name = f"{config.project_name}_{config.exp_name}_{time.strftime('%Y%m%d_%H%M%S')}"
    for suffix in ("", *(f"_{number}" for number in range(2, 100))):
        folder = parent / (name + suffix)
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            if not parent.is_dir():
                break
        except OSError as error:
            raise CheckpointError(f"the run folder {folder} cannot be made: {error}; set checkpoint_dir") from None
    raise CheckpointError(f"no run folder {parent / name} can be made: is {parent} a folder? Set checkpoint_dir")


def find_checkpoint(given: str) -> Path:
    """Absolute path of a checkpoint folder, given with or without trailing slash, from here or the project folder."""
    try:
        candidates = [Path(os.path.abspath(base / expanded(given))) for base in (Path.cwd(), PROJECT_ROOT)]
    except ValueError as error:
        raise CheckpointError(str(error)) from None
    for folder in candidates:
        if folder.is_dir() or any(stage.exists() for stage in checkpoints.stages(folder)):
            return folder
    return candidates[0]


def run_folder_of(checkpoint: Path) -> Path | None:
    """The run folder that a checkpoint lies in, None for one that was copied elsewhere."""
    run = checkpoint.parent
    return run if checkpoint.name in (LATEST, BEST) and (run / "config.json").is_file() else None


def lock(run: Path) -> TextIO:
    """Claim the run folder until the returned file is closed or the process ends.

    By hand, since filelock would not tell which process has it, nor go on where a file system has no locks.
    Raises CheckpointError while another training writes there, and where it cannot be written.
    """
    import fcntl

    try:
        file = open(run / LOCK_FILE, "a+", encoding="utf-8")  # noqa: SIM115 (closed by the caller)
    except OSError as error:
        raise CheckpointError(f"the run folder {run} cannot be written: {error.strerror or error}. Copy the checkpoint folder "
                              "elsewhere and resume from there: it goes on in a new run folder") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        owner = file.read().strip()
        file.close()
        raise CheckpointError(f"another training (process {owner}) writes in {run}; let it end first") from None
    except OSError:
        return file  # a file system without locks
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def run_id(run: Path) -> str:
    """The run's id for wandb, made once and kept beside the checkpoints."""
    file = run / ID_FILE
    if not file.is_file() or not file.read_text(encoding="utf-8").strip():
        file.write_text(secrets.token_hex(4) + "\n", encoding="utf-8")
    return file.read_text(encoding="utf-8").strip()
