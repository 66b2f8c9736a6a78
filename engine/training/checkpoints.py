"""Checkpoint folders: complete in themselves, and replaced so that a crash at any moment leaves a whole one.

    HVR.safetensors, config.json   the weights to enhance photos with (averaged ones where ema_decay is set), settings
    training_state.pt              raw weights, optimizer, scaler, average, progress, random states of every rank

Replacing folder `f`: files are written to `.f.writing` and flushed to the disk; renamed to `.f.ready` (from now on the
save counts); `f` renamed to `.f.old`; `.f.ready` renamed to `f`; `.f.old` deleted. `repair` finishes this after a crash.
"""
from __future__ import annotations

import os
import random
import shutil
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from exp_config import Config
from models import HVR, save_weights

LATEST, BEST = "checkpoint_epoch_latest", "best_model"
WEIGHTS_FILE, STATE_FILE = "HVR.safetensors", "training_state.pt"
FORMAT = 1


class CheckpointError(ValueError):
    """A checkpoint that cannot be written or read; the message names the folder and what is left of it."""


@dataclass
class Progress:
    """How far a run is. Epochs, batches and steps count what is done; a step is one batch of all processes."""

    epoch: int = 0                      # whole epochs, their validation included
    batch: int = 0                      # steps of the epoch in training
    step: int = 0                       # steps since the start
    best_loss: float = float("inf")     # lowest validation loss so far, that of best_model
    identity_loss: float | None = None  # validation loss of returning the input
    evaluation_due: bool = False        # the benchmarks have not been scored yet after this epoch
    history_lines: int = 0              # lines of history.jsonl that belong to this state
    photos_per_step: int = 0            # of all processes and micro-batches, to find the place in an epoch again
    epoch_sums: dict[str, float] = field(default_factory=dict)  # of this epoch's logged losses, for their mean

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Progress:
        """Known fields of a checkpoint of any edition."""
        return cls(**{f.name: values[f.name] for f in fields(cls) if f.name in values})


def random_states() -> dict[str, Any]:
    """This process's global random states: Python, NumPy, torch, and the current GPU's."""
    version, numbers, following = random.getstate()
    name, keys, *rest = np.random.get_state()
    states: dict[str, Any] = {"python": (version, torch.tensor(numbers), following),
                              "numpy": (name, torch.from_numpy(keys.astype(np.int64)), *rest),
                              "torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def set_random_states(states: dict[str, Any]) -> None:
    """Continue from `random_states()`."""
    (version, numbers, following), (name, keys, *rest) = states["python"], states["numpy"]
    random.setstate((version, tuple(numbers.tolist()), following))
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(states["torch"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def save(folder: Path, config: Config, weights: HVR, progress: Progress, state: dict[str, Any]) -> None:
    """Replace `folder` by a checkpoint of the model with its present weights and `state` (tensors, numbers, texts).

    Raises CheckpointError where it cannot be written; `folder` is then what it was before.
    """
    writing, ready, _ = stages(folder)
    try:
        repair(folder)
        writing.mkdir(parents=True)
        save_weights(weights, writing / WEIGHTS_FILE, config)
        torch.save({"format": FORMAT, "progress": asdict(progress), **state}, writing / STATE_FILE)
        _flush(writing)
        os.rename(writing, ready)
        repair(folder)
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as RuntimeError
        shutil.rmtree(writing, ignore_errors=True)
        kept = "the previous checkpoint there is whole" if folder.is_dir() else "there is no checkpoint there yet"
        raise CheckpointError(f"could not save {folder} ({error}); {kept}. Is the disk full, or the folder not "
                              "writable?") from error


def repair(folder: Path) -> None:
    """Finish or undo a replacement of `folder` that a crash broke off. Only for the one process that writes there."""
    writing, ready, old = stages(folder)
    if writing.exists():
        shutil.rmtree(writing)
    if ready.exists():
        if folder.exists():
            if old.exists():
                shutil.rmtree(old)
            os.rename(folder, old)
        os.rename(ready, folder)
        _flush_folder(folder.parent)
    elif old.exists() and not folder.exists():
        os.rename(old, folder)
    if old.exists():
        shutil.rmtree(old)


def load(folder: Path) -> dict[str, Any]:
    """The training state of a checkpoint folder, on the CPU; "progress" is a Progress.

    Raises CheckpointError where there is none, or where it is damaged or of a later edition.
    """
    file = folder / STATE_FILE
    if not file.is_file():
        raise CheckpointError(f"no checkpoint to resume from: {file} is not there. Expected a folder such as "
                              f"checkpoint/HVR-SSLE_default_<time>/{LATEST}{_found_near(folder)}")
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{file} is damaged or no training state: {type(error).__name__}: {error}"
                              f"{_found_near(folder.parent)}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        found = state.get("format") if isinstance(state, dict) else type(state).__name__
        raise CheckpointError(f"{file} is a training state of format {found}; this program reads format {FORMAT}")
    state["progress"] = Progress.from_dict(state["progress"])
    return state


def stages(folder: Path) -> tuple[Path, Path, Path]:
    """The hidden siblings that a replacement of `folder` goes through: being written, complete, replaced."""
    writing, ready, old = (folder.with_name(f".{folder.name}.{stage}") for stage in ("writing", "ready", "old"))
    return writing, ready, old


def _found_near(folder: Path) -> str:
    """Checkpoints below a mistaken path, for the error message."""
    for place in (folder, folder.parent):
        names = [str(place / name) for name in (LATEST, BEST) if (place / name / STATE_FILE).is_file()]
        if names:
            return f"; did you mean {' or '.join(names)}?"
    return ""


def _flush(folder: Path) -> None:
    """Everything in `folder` to the disk."""
    for file in folder.iterdir():
        with open(file, "rb") as opened:
            os.fsync(opened.fileno())
    _flush_folder(folder)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
