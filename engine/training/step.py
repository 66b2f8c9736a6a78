"""One training step: deep supervision over a batch of photos, exact under gradient accumulation.

Letters: B photos of a micro-batch, K micro-batches of a step, N supervision steps.
"""
from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from data.pairs.loading import PairBatch
from engine.training.ema import WeightAverage
from losses.total import TotalLoss
from models import HVR, State

TOTAL, CHANGE, GRAD_NORM = "loss", "change", "grad_norm"


class SupervisedStep:
    """`step(batches)` trains on K micro-batches of B photos as on one batch of K * B.

    A supervision step n is: for each micro-batch forward, loss / K, backward; then one optimizer step with the clipped
    sum of gradients. All micro-batches finish supervision step n before any begins n + 1, because the optimizer step lies
    between; so K carried states stand side by side, and of each graph only one is alive at a time.
    """

    def __init__(self, accelerator: Accelerator, model: HVR, network: nn.Module, optimizer: torch.optim.Optimizer,
                 loss: TotalLoss, *, supervision_steps: int, max_grad_norm: float, progressive_steps: int = 0,
                 change_weight: float = 0.0, compile: bool = False, average: WeightAverage | None = None) -> None:
        """model: the bare network; network, optimizer: as accelerate prepared them. max_grad_norm 0: no clipping.

        progressive_steps: a number of supervision steps from 0 to this, drawn for each micro-batch, goes before the N that
        are trained, without gradients. So later states are trained too at no more optimizer steps for each batch, against
        pictures that get worse with more steps ("overthinking": Bansal et al., "End-to-end algorithm synthesis with
        recurrent networks", NeurIPS 2022, whose progressive loss this is; it is not in the paper).

        change_weight: to the loss of every supervision step but a photo's first, so many times the mean absolute difference
        between its picture and the one before (in the model's range, the latter without gradients) is added: a state that
        hardly changes any more is what later steps should hold (not in the paper either).
        """
        self.accelerator, self.model, self.network, self.optimizer = accelerator, model, network, optimizer
        self.loss, self.average = loss, average
        self.N, self.progressive_steps, self.change_weight = max(supervision_steps, 1), progressive_steps, change_weight
        self.max_grad_norm = max_grad_norm or float("inf")
        change = (CHANGE,) if change_weight else ()
        self.names = (TOTAL, *loss.weights, *change, GRAD_NORM)  # of the values that a call returns
        self.skipped = 0                                # optimizer steps in a row that fp16 scaling left out
        self._forward = torch.compile(network) if compile else network

    def __call__(self, batches: Sequence[PairBatch]) -> Tensor:
        """Train on the micro-batches (equal sizes): -> means over them, a row for each supervision step (N, len(names)).

        The result stays on the device; nothing here waits for a GPU.
        """
        pairs = [unpack(batch, self.model, self.accelerator.device) for batch in batches]
        begun = [self._begin(low, batch["state_seed"]) for (low, _), batch in zip(pairs, batches, strict=True)]
        states, pictures = [state for state, _ in begun], [picture for _, picture in begun]
        rows = torch.zeros(self.N, len(self.names), device=self.accelerator.device)
        for row in rows:
            for k, (low, normal) in enumerate(pairs):
                last = k == len(pairs) - 1
                with nullcontext() if last else self.accelerator.no_sync(self.network):
                    state, output = self._forward(low, states[k])
                    total, parts = self.loss(output, normal, low)
                    if self.change_weight:
                        before = output.detach() if pictures[k] is None else pictures[k]
                        change = (output - before).float().abs().mean()
                        total = total + self.change_weight * change
                        parts = {**parts, CHANGE: change.detach()}
                    self.accelerator.backward(total / len(pairs))
                states[k], pictures[k] = state.detach(), output.detach()
                row[:-1] += torch.stack([total.detach(), *parts.values()]) / len(pairs)
            row[-1] = self._update()
        return rows

    def _begin(self, low: Tensor, seeds: Tensor) -> tuple[State, Tensor | None]:
        """Where training on a micro-batch begins: its initial state, or the one after some untrained supervision steps and
        the picture there."""
        state = self.model.initial_state(low, seeds=seeds.to(low.device, non_blocking=True))
        picture, untrained = None, int(seeds[0]) % (self.progressive_steps + 1)
        if untrained:
            with self.accelerator.autocast():
                state, picture = self.model.sample(low, state, N=untrained)
        return state, picture

    def _update(self) -> Tensor:
        """Clip, take the optimizer step, clear the gradients: -> the gradients' norm before clipping."""
        norm = self.accelerator.clip_grad_norm_(self.network.parameters(), self.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if getattr(self.optimizer, "step_was_skipped", False):
            self.skipped += 1
        else:
            self.skipped = 0
            if self.average is not None:
                self.average.update()
        return norm.detach()


def unpack(batch: PairBatch, model: HVR, device: torch.device) -> tuple[Tensor, Tensor]:
    """uint8 batch of the loader -> (low, normal) (B, 3, H, W) float32 in the model's range, on the device."""
    low, normal = (batch[name].to(device, non_blocking=True).float().div_(255) for name in ("low", "normal"))
    return model.to_model_range(low), model.to_model_range(normal)
