"""A training from the command line to its end: new or resumed, alone or one of several processes."""
from __future__ import annotations

import json
import logging
import shlex
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.interruption import Interrupted, StopRequest
from engine.processes import joined_processes
from engine.training import checkpoints, runs
from engine.training.checkpoints import BEST, LATEST, CheckpointError, Progress
from engine.training.launch import PROCESS_TIMEOUT, launcher_command, start_accelerator
from engine.training.loop import Training
from engine.training.parts import Parts, build_parts
from engine.training.resuming import how_to_resume
from engine.training.tracking import Tracker
from engine.training.validation import validation_of
from exp_config import NETWORK_FIELDS, Config, ConfigError
from models.weights import load_state, read_weights

logger = logging.getLogger(__name__)

RECURSION_FIELDS = ("z_distribution", "hvr_t", "hvr_c", "hvr_n_supervision")


@dataclass
class Start:
    """Where a run lives and what it starts from; `state` is that of the checkpoint resumed from."""

    run: Path
    run_id: str
    state: dict[str, Any] | None = None


def run_training(config: Config, *, resume_from: str | None = None, init_weights: str | None = None,
                 arguments: Sequence[str] = ()) -> None:
    """Train as `config` says, in a new run folder or on from a checkpoint folder.

    init_weights: a weights file to start a new run from. arguments: the command line, for telling how to resume.
    Raises ValueErrors that say what is wrong, and Interrupted after Ctrl-C or SIGTERM.
    """
    accelerator = start_accelerator(config)
    ranks = joined_processes(PROCESS_TIMEOUT)
    logging.getLogger().setLevel(logging.INFO if ranks.is_main else logging.ERROR)
    parts = build_parts(config, accelerator, ranks)
    if init_weights is not None and resume_from is None:
        warn_of_other_network(config, Path(init_weights).with_name("config.json"))
        load_state(parts.model, read_weights(init_weights), init_weights)
    if resume_from is None:
        parts.model.scale_colours(*config.colour_gains)
        if parts.average is not None:
            parts.average.restart()
    with ExitStack() as held:  # the run folder's lock
        start = ranks.on_main(lambda: _find_start(config, resume_from, held))
        if start is not None:
            _train(config, parts, start, arguments)


def _train(config: Config, parts: Parts, start: Start, arguments: Sequence[str]) -> None:
    """From the start that was found to the end, or to an interruption."""
    ranks = parts.ranks
    launcher = launcher_command(arguments[0]) if arguments else []  # asked now: after a Ctrl-C it may be gone first
    progress = Progress() if start.state is None else restore(config, parts, start.state)
    tracker = Tracker(start.run, start.run_id, config, progress.history_lines) if ranks.is_main else None
    if ranks.is_main:
        config.to_json(start.run / "config.json")
        logger.info("%s %s: %s, %d process(es), %s", "resuming" if start.state else "training", start.run,
                    parts.accelerator.device, ranks.world,
                    parts.accelerator.mixed_precision if parts.accelerator.mixed_precision != "no" else "float32")
    try:
        with StopRequest() as stop:
            training = Training(config, parts, start.run, tracker, stop, progress)
            if start.state is not None:
                training.load_rank_state(start.state["ranks"])
            training.run()
    except (Interrupted, KeyboardInterrupt, RuntimeError, MemoryError, OSError):
        if ranks.is_main and (start.run / LATEST).is_dir():
            print(how_to_resume(arguments, start.run / LATEST, ranks.world, launcher), file=sys.stderr)
        raise
    finally:
        if tracker is not None:
            tracker.close()
    if ranks.is_main:
        logger.info("done: %s holds the weights of the lowest validation loss, %.4f", start.run / BEST, progress.best_loss)


def _find_start(config: Config, resume_from: str | None, held: ExitStack) -> Start | None:
    """On the main process: make or claim the run folder, and read the checkpoint to resume from; None where it has no epoch
    left to train."""
    if resume_from is None:
        run = runs.new_run_folder(config)
        held.enter_context(runs.lock(run))
        return Start(run, runs.run_id(run))
    folder = runs.find_checkpoint(resume_from)
    own = runs.run_folder_of(folder)
    if own is not None:
        held.enter_context(runs.lock(own))
        for name in (LATEST, BEST):
            checkpoints.repair(own / name)
    state = checkpoints.load(folder)
    saved = type(config).from_checkpoint(folder / "config.json")
    check_same_network(config, saved, folder)
    for name, value in vars(config).items():
        if json.dumps(value) != json.dumps(getattr(saved, name)) and name not in ("exp_name", "checkpoint_dir"):
            logger.warning("setting changed since the checkpoint: %s = %r, was %r", name, value, getattr(saved, name))
    progress = state["progress"]
    if progress.epoch >= config.epochs and not progress.evaluation_due:
        logger.warning("this run has finished already: %s stands after epoch %d, and epochs = %d. To go on: --set epochs=%d, "
                       "or more", folder, progress.epoch, config.epochs, progress.epoch + 1)
        return None
    if own is None:  # a checkpoint that was copied elsewhere goes on in a new run folder
        own = runs.new_run_folder(config)
        held.enter_context(runs.lock(own))
    return Start(own, runs.run_id(own), state)


def check_same_network(config: Config, saved: Config, folder: Path) -> None:
    """Raise CheckpointError where `config` describes another network than the checkpoint's: some fields change the
    function without changing the shape of any weight."""
    changed = [f"{name} = {getattr(config, name)!r}, in the checkpoint {getattr(saved, name)!r}"
               for name in NETWORK_FIELDS if getattr(config, name) != getattr(saved, name)]
    if changed:
        raise CheckpointError(f"{folder} is of another network: {'; '.join(changed)}. Resume with the config that it was "
                              f"trained with: --config_path {folder / 'config.json'}")


def warn_of_other_network(config: Config, beside: Path) -> None:
    """One warning where the config.json beside weights to start from describes another network or recursion."""
    try:
        own = type(config).from_checkpoint(beside)
    except ConfigError:  # none there, or one of another program
        return
    changed = {name: getattr(own, name) for name in NETWORK_FIELDS + RECURSION_FIELDS
               if getattr(own, name) != getattr(config, name)}
    if changed:
        told = ", ".join(f"{name} = {value!r} (in this run {getattr(config, name)!r})" for name, value in changed.items())
        options = " ".join(shlex.quote(f"{name}={value if isinstance(value, str) else json.dumps(value)}")
                           for name, value in changed.items())
        logger.warning("%s, beside these weights, has %s. To take that over: --set %s", beside, told, options)


def restore(config: Config, parts: Parts, state: dict[str, Any]) -> Progress:
    """Put a checkpoint's state into the parts of a run; -> its progress."""
    progress: Progress = state["progress"]
    load_state(parts.model, state["model"], "the checkpoint")
    try:
        parts.optimizer.load_state_dict(state["optimizer"])
    except ValueError:  # other groups of parameters
        logger.warning("the checkpoint is of another optimizer than %s: the optimizer starts anew", config.optimizer)
    if parts.accelerator.scaler is not None and state["scaler"] is not None:
        parts.accelerator.scaler.load_state_dict(state["scaler"])
    if parts.average is not None:
        if state["average"] is None:
            parts.average.restart()
            logger.warning("the checkpoint has no averaged weights: the average starts anew from its weights")
        else:
            parts.average.load_state_dict(state["average"])
    now = validation_of(config, parts.val_loader.dataset)
    then = state.get("validation", now)  # older checkpoints do not say
    changed = [name for name in now if now[name] != then.get(name)]
    changes = [f"the validation has changed ({', '.join(changed)})"] if changed else []
    if state["loss"] != parts.step.loss.weights:
        changes.append(f"the loss is {parts.step.loss.weights} now, {state['loss']} in the checkpoint")
    if changes:
        logger.warning("%s: the search for the lowest validation loss starts anew", "; ".join(changes))
        progress.best_loss, progress.identity_loss = float("inf"), None
    photos = config.batch_size * config.gradient_accumulation_steps * parts.ranks.world
    if progress.photos_per_step != photos:
        logger.warning("a step has %d photos now, %d in the checkpoint: the numbers will differ from an unbroken run's",
                       photos, progress.photos_per_step)
        progress.batch = progress.batch * progress.photos_per_step // photos
    return progress
