"""Speed of a training step, against what the machine can do and against a plain transcription of the formulas.

    python -m benchmarks.training [--size 224] [--batch 4] [--precisions fp32 bf16] [--device cpu|cuda] [--compile]
                                  [--rounds 3] [--losses 20]

A step is what the recipe does with one batch: N = 2 supervision steps, each with its loss (mean absolute error, for both
programs), backward pass and optimizer step. Printed: images/s of the transcription (tests/models/reference.py, float32) and
of the network in turn, A B A B, the ratio, the efficiency (multiply-adds of all steps, those of a backward pass counted
twice, over the best convolution or matrix product in the same run), peak memory; then the losses of `--losses` steps of
both from the same start.
"""
from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext

import torch

from benchmarks.ceiling import H_MACS, L_MACS, ceiling, seconds
from benchmarks.inference import PRECISIONS, peak_gib, reference_module
from engine.device import training_precision
from exp_config import Config
from models import HVR, State

# Multiply-adds per pixel of a supervision step: forward 4 L and 2 H, backward twice the last of each.
MACS = 4 * L_MACS + 2 * H_MACS + 2 * (L_MACS + H_MACS)


def batches(size: int, batch: int, device: str) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Bright random pictures, their dark versions, the seeds of the latents; the same sequence each time."""
    generator = torch.Generator().manual_seed(0)
    while True:
        bright = torch.rand(batch, 3, size, size, generator=generator) * 2 - 1
        yield bright.to(device), bright.to(device) * 0.3 - 0.6, torch.randint(2**31, (batch,), generator=generator)


class Trainer:
    """One program's model, optimizer and batches: `call(x, zH, zL)` returns the new zH, zL and the output."""

    def __init__(self, model: HVR, call: Callable, options: argparse.Namespace, precision: str) -> None:
        self.model, self.call = model, call
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
        self.batches = batches(options.size, options.batch, options.device)
        self.device, self.dtype = options.device, PRECISIONS[precision]

    def step(self) -> list[torch.Tensor]:
        """One batch; the loss of each supervision step."""
        bright, dark, seeds = next(self.batches)
        zH, zL = self.model.initial_state(dark, seeds=seeds.to(self.device))
        losses = []
        for _ in range(self.model.N):
            with nullcontext() if self.dtype == torch.float32 else torch.autocast(self.device, self.dtype):
                zH, zL, out = self.call(dark, zH, zL)
            loss = (out.float() - bright).abs().mean()
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            zH, zL = zH.detach(), zL.detach()
            losses.append(loss.detach())
        return losses


def fresh_model(device: str) -> HVR:
    torch.manual_seed(0)
    return HVR.from_config(Config()).to(device).train()


def plain_trainer(options: argparse.Namespace) -> Trainer:
    model = fresh_model(options.device)
    return Trainer(model, reference_module().Reference(dict(model.named_parameters())).train_call, options, "fp32")


def network_trainer(options: argparse.Namespace, precision: str, compiled: bool) -> Trainer:
    model = fresh_model(options.device)
    run = torch.compile(model) if compiled else model

    def call(x: torch.Tensor, zH: torch.Tensor, zL: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        state, out = run(x, State(zH, zL))
        return state.zH, state.zL, out

    return Trainer(model, call, options, precision)


def compare(options: argparse.Namespace, precision: str, compiled: bool) -> None:
    """Print one row: both programs in turn."""
    plain, network = plain_trainer(options), network_trainer(options, precision, compiled)
    if options.device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    network.step()
    peak = peak_gib(options.device)  # of a CPU process: before the transcription ran
    plain.step()
    pairs, rates = [], []
    for _ in range(options.rounds):
        slow = seconds(plain.step, options.device, 1)[0]
        fast = seconds(network.step, options.device, 1)[0]
        pairs.append(slow / fast)
        rates.append((options.batch / slow, options.batch / fast))
    a, b = (max(rate) for rate in zip(*rates, strict=True))
    efficiency = b * options.size**2 * MACS * network.model.N / 1e9 / ceiling(options.device, network.dtype)["best"]
    name = precision + " compiled" * compiled
    print(f"| {options.device} | {name} | {a:.2f} | {b:.2f} | {statistics.median(pairs):.1f} | {efficiency:.2f} | {peak:.2f} |",
          flush=True)


def compare_losses(options: argparse.Namespace) -> None:
    """Print the largest relative difference of the losses, float32."""
    plain, network = plain_trainer(options), network_trainer(options, "fp32", False)
    worst = 0.0
    for _ in range(options.losses):
        for expected, found in zip(plain.step(), network.step(), strict=True):
            worst = max(worst, abs(found.item() / expected.item() - 1))
    print(f"losses of {options.losses} steps, float32: largest relative difference {worst:.1e}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=224, help="side of a picture, a multiple of 8")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--precisions", nargs="*", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true", help="rows with torch.compile, too")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--losses", type=int, default=20, help="steps whose losses are compared; 0: none")
    options = parser.parse_args(arguments)
    print("| device | precision | transcription images/s | network images/s | ratio | efficiency | peak GiB |")
    print("|---|---|---|---|---|---|---|")
    for precision in options.precisions:
        if training_precision(precision, options.device == "cpu") != precision:
            print(f"| {options.device} | {precision} | trained in fp32 on this processor: see above |")
            continue
        for compiled in [False] + [True] * options.compile:
            compare(options, precision, compiled)
    if options.losses:
        compare_losses(options)


if __name__ == "__main__":
    main()
