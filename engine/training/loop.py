"""The training loop: epochs of supervised steps, validation, checkpoints, evaluation.

    for each epoch:  for each step: K micro-batches, N supervision steps, each with its own optimizer step
                     validation -> best_model; checkpoint_epoch_latest; the benchmarks every `save_every` epochs
"""
from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data.pairs.loading import PairBatch, batches_of
from engine.interruption import Interrupted, StopRequest
from engine.training import checkpoints
from engine.training.benchmark_round import score_benchmarks
from engine.training.checkpoints import BEST, LATEST, CheckpointError, Progress
from engine.training.meter import LossMeter, NonFiniteError, Problem, add_up, means
from engine.training.parts import Parts
from engine.training.schedule import learning_rate
from engine.training.step import TOTAL
from engine.training.tracking import Tracker
from engine.training.validation import identity_loss, validation_loss, validation_of
from exp_config import Config

logger = logging.getLogger(__name__)

SHORTEST = 1e-6    # seconds between two readings of a clock that may be coarse
MAX_SKIPPED = 100  # optimizer steps in a row that fp16 scaling may leave out before the run is given up


class Training:
    """A run from its present progress to its end; `run()` may be called once."""

    def __init__(self, config: Config, parts: Parts, run: Path, tracker: Tracker | None, stop: StopRequest,
                 progress: Progress) -> None:
        """tracker: on the main process only."""
        self.config, self.parts, self.run_folder, self.tracker, self.stop = config, parts, run, tracker, stop
        self.progress = progress
        self.ranks, self.device = parts.ranks, parts.accelerator.device
        self.meter = LossMeter(parts.step.names, self.device)
        self.micro_batches = config.gradient_accumulation_steps
        self.steps_per_epoch = len(parts.train_loader.batch_sampler) // self.micro_batches
        self.photos_per_step = config.batch_size * self.micro_batches * self.ranks.world
        self._unsaved: CheckpointError | None = None
        self._name_absent = True  # benchmarks that are not here are named once

    def run(self) -> None:
        """Train to the end. Raises Interrupted (after saving), NonFiniteError, or CheckpointError where the end result
        could not be saved."""
        if self.progress.step == 0:
            self.save(LATEST)  # an unwritable folder shows now, and a run can be resumed from its first step on
        self._measure_identity()
        self._evaluate_if_due()
        while self.progress.epoch < self.config.epochs:
            if self.progress.batch < self.steps_per_epoch:  # else it was stopped between the last step and validation
                self._train_epoch()
            self._end_epoch()
        if self._unsaved is not None:
            raise self._unsaved

    def _train_epoch(self) -> None:
        """The rest of the present epoch's steps, then a save: validation may be repeated, training is not."""
        progress = self.progress
        rate = learning_rate(self.config, progress.epoch)
        for group in self.parts.optimizer.param_groups:
            group["lr"] = rate
        bar = tqdm(total=self.steps_per_epoch, initial=progress.batch, unit="step", disable=not self.ranks.is_main,
                   desc=f"epoch {progress.epoch + 1}/{self.config.epochs}", dynamic_ncols=True,
                   mininterval=0.2 if sys.stderr.isatty() else 15)
        with bar:
            since, steps, reported = time.perf_counter(), 0, False
            for batches in self._steps():
                rows = self.parts.step(batches)
                progress.batch, progress.step, steps = progress.batch + 1, progress.step + 1, steps + 1
                ids = [image_id for batch in batches for image_id in batch["image_id"]]
                self.meter.add(rows, progress.step, ids, tolerate=self.parts.step.skipped > 0)
                if progress.step % self.config.log_every == 0:
                    since, steps, reported = *self._log_line(bar, since, steps), True
                if self._save_is_due():
                    self.save(LATEST)
                bar.update()
            self.check_finite()
            self._read_meter()
            epoch_means = means(progress.epoch_sums)
            if not reported:  # an epoch of fewer steps than log_every
                bar.set_postfix_str(f"loss {epoch_means[TOTAL]:.4f}", refresh=True)
        self._report("epoch", {**epoch_means, "learning_rate": rate})
        self.save(LATEST)

    def _save_is_due(self) -> bool:
        """Within an epoch; its last step is saved anyway, together with the epoch's means."""
        every, batch = self.config.save_every_steps, self.progress.batch
        return every > 0 and batch % every == 0 and batch < self.steps_per_epoch

    def _steps(self) -> Iterator[list[PairBatch]]:
        """The micro-batches of each step of the present epoch that is still to do; ends early by Interrupted or an error.

        All ranks leave at the same step: whether to go on is agreed before each.
        """
        loader = self.parts.train_loader
        loader.batch_sampler.set_epoch(self.progress.epoch, self.progress.batch * self.micro_batches)
        batches = batches_of(loader)
        while self.progress.batch < self.steps_per_epoch:
            try:
                group = list(islice(batches, self.micro_batches))
            except RuntimeError:  # a loader process died; by the signal that also asks this one to stop?
                if self.stop.signal_name is None:
                    raise
                group = []
            if self.device.type == "cpu":
                self.check_finite()  # costs nothing there, so the very step stops the run
            if self.ranks.any(self.stop.signal_name is not None):
                self.save(LATEST)
                raise Interrupted(self.stop.signal_name or "another process")
            yield group

    def _log_line(self, bar: tqdm, since: float, steps: int) -> tuple[float, int]:
        """Report the means since the last line; -> the present time and 0, to count from."""
        self.check_finite()
        numbers = self._read_meter()
        now = time.perf_counter()
        speed = steps * self.photos_per_step / max(now - since, SHORTEST)
        bar.set_postfix_str(f"loss {numbers[TOTAL]:.4f}, {speed:.1f} images/s", refresh=False)
        self._report("train", {**numbers, "learning_rate": self.parts.optimizer.param_groups[0]["lr"]}, speed)
        return now, 0

    def _read_meter(self) -> dict[str, float]:
        """Means since the last reading, over all ranks; the epoch's sums take them in."""
        sums = self.meter.read(self.ranks)
        self.progress.epoch_sums = add_up(self.progress.epoch_sums, sums)
        return means(sums)

    def check_finite(self) -> None:
        """Raise NonFiniteError on every rank where one had a loss or gradient that is not finite. Waits for the GPU."""
        problem = self.meter.problem()
        if self.parts.step.skipped >= MAX_SKIPPED:
            problem = Problem(f"step {self.progress.step}: fp16 scaling has left out {MAX_SKIPPED} optimizer steps in a row",
                              loss_is_finite=True)
        if not self.ranks.any(problem is not None):
            return
        problems = {rank: found for rank, found in enumerate(self.ranks.gather(problem)) if found is not None}
        culprits = {rank: found for rank, found in problems.items() if not found.loss_is_finite} or problems
        found = [f"process {rank}, {culprit.text}" for rank, culprit in culprits.items()]
        raise NonFiniteError(f"a loss or gradient is not finite: {'; '.join(found)}. Training stops; {self._last_good()}. "
                             "Look at these photos, or try a lower learning_rate or max_grad_norm, or autocast_dtype=no")

    def _last_good(self) -> str:
        folder = self.run_folder / LATEST
        return f"the last good checkpoint is {folder}" if folder.is_dir() else "there is no checkpoint yet"

    def _measure_identity(self) -> None:
        if self.progress.identity_loss is None:
            with self.stop.at_once():
                self.progress.identity_loss = identity_loss(
                    self.parts.accelerator, self.ranks, self.parts.model, self.parts.step.loss, self._val_batches())[TOTAL]

    def _val_batches(self) -> Iterator[PairBatch]:
        self.parts.val_loader.batch_sampler.set_epoch(0)
        return batches_of(self.parts.val_loader)

    def _end_epoch(self) -> None:
        """Validate, save, evaluate when due."""
        progress, parts = self.progress, self.parts
        with self.stop.at_once(), self._averaged():
            losses = validation_loss(parts.accelerator, self.ranks, parts.model, parts.step.loss, self._val_batches())
        progress.epoch, progress.batch, progress.epoch_sums = progress.epoch + 1, 0, {}
        last = progress.epoch == self.config.epochs
        progress.evaluation_due = progress.epoch == 1 or progress.epoch % self.config.save_every == 0 or last
        improved = losses[TOTAL] < progress.best_loss
        self._report("val", {**losses, "identity": progress.identity_loss})
        if self.ranks.is_main:
            logger.info("epoch %d/%d: validation loss %.4f%s (input unchanged: %.4f; best: %.4f)", progress.epoch,
                        self.config.epochs, losses[TOTAL], " *" if improved else "", progress.identity_loss,
                        min(losses[TOTAL], progress.best_loss))
        if improved:  # best_model first: were the latest checkpoint first, a crash between would lose the better one
            before, progress.best_loss = progress.best_loss, losses[TOTAL]
            if not self.save(BEST):
                progress.best_loss = before
        self.save(LATEST)
        self._evaluate_if_due()

    def _evaluate_if_due(self) -> None:
        """Score the benchmarks of eval_dataset; a run that is stopped meanwhile does it when it goes on."""
        if not self.progress.evaluation_due:
            return
        with self.stop.at_once(), self._averaged():
            scores, pictures = score_benchmarks(self.config, self.parts.model, self.run_folder, self.device,
                                                self.progress.epoch, name_absent=self._name_absent)
        self._name_absent = False
        self.progress.evaluation_due = False
        if scores and self.tracker is not None:
            self._report("eval", scores)
            self.tracker.pictures(self.progress.step, pictures)
            logger.info("epoch %d: %s", self.progress.epoch, ", ".join(f"{k} {v:.4g}" for k, v in scores.items()))
        self.save(LATEST)

    def _averaged(self) -> AbstractContextManager[None]:
        """A block in which the model has the weights that photos are enhanced with."""
        return nullcontext() if self.parts.average is None else self.parts.average.applied()

    def _report(self, kind: str, numbers: dict[str, float], speed: float | None = None) -> None:
        if self.tracker is not None:
            epoch = min(self.progress.epoch + (kind in ("train", "epoch")), self.config.epochs)
            self.tracker.report(kind, self.progress.step, epoch, numbers, speed)
            self.progress.history_lines = self.tracker.history.lines

    def save(self, name: str) -> bool:
        """Write the checkpoint folder `name` of this run, by the main process; whether it is there.

        A failure is reported and the training goes on: the next save tries again. All ranks must call this.
        """
        self.check_finite()
        rank_states = self.ranks.gather({"random": checkpoints.random_states(), "meter": self.meter.state()})
        self.progress.photos_per_step = self.photos_per_step
        try:
            self.ranks.on_main(lambda: self._write(name, rank_states))
            self._unsaved = None
        except CheckpointError as error:
            if self.progress.step == 0:
                raise
            self._unsaved = error
            if self.ranks.is_main:
                logger.error("%s. The training goes on and tries again at the next save", error)
        return self._unsaved is None

    def _write(self, name: str, rank_states: list[Any]) -> None:
        state = self._state(rank_states)
        with self._averaged():
            checkpoints.save(self.run_folder / name, self.config, self.parts.model, self.progress, state)

    def load_rank_state(self, states: list[Any]) -> None:
        """Continue with this rank's random states and running sums of a checkpoint by as many ranks; with another number
        of them the random states stay fresh ones."""
        if len(states) != self.ranks.world:
            return
        mine = states[self.ranks.rank]
        checkpoints.set_random_states(mine["random"])
        self.meter.load_state(mine["meter"])

    def _state(self, rank_states: list[Any]) -> dict[str, Any]:
        """Everything that the next step depends on."""
        scaler = self.parts.accelerator.scaler
        return {
            "model": {name: value.detach().cpu().clone() for name, value in self.parts.model.named_parameters()},
            "optimizer": self.parts.optimizer.state_dict(),
            "scheduler": {"epoch": self.progress.epoch, "learning_rate": self.parts.optimizer.param_groups[0]["lr"]},
            "scaler": None if scaler is None else scaler.state_dict(),
            "average": None if self.parts.average is None else self.parts.average.state_dict(),
            "ranks": rank_states,
            "loss": dict(self.parts.step.loss.weights),
            "validation": validation_of(self.config, self.parts.val_loader.dataset),
        }
