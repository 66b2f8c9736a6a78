"""Speed of a training step, against what the machine can do and against a plain transcription of the formulas.

    python -m benchmarks.training [--size 224] [--batch 4] [--precisions fp32 bf16] [--device cpu|cuda] [--compile]
                                  [--rounds 3] [--losses 20] [--long 200 --seeds 3] [--rate 3.3e-5]

A step is what the published recipe does with one batch: N = 2 supervision steps, each with its loss (mean absolute error,
for both programs), backward pass, clipping of the gradients and optimizer step, at the learning rate of the recipe's first
epoch. Printed: images/s of the transcription (tests/models/reference.py, float32) and
of the network in turn, A B A B, the ratio, the efficiency (multiply-adds of all steps, those of a backward pass counted
twice, over the best convolution or matrix product in the same run), peak memory; then the losses of `--losses` steps of
both from the same start; then, for each of `--seeds` starts, the mean loss of the last tenth of `--long` steps of both: the
two programs should differ by less than the starts do.
"""
from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext

import torch

from benchmarks.ceiling import H_MACS, L_MACS, ceiling, seconds
from benchmarks.inference import PRECISIONS, peak_gib, reference_module
from engine.device import keep_freed_memory, training_precision
from engine.training.schedule import learning_rate
from exp_config import Config
from models import HVR, State

# Multiply-adds per pixel of a supervision step: forward 4 L and 2 H, backward twice the last of each.
MACS = 4 * L_MACS + 2 * H_MACS + 2 * (L_MACS + H_MACS)

RECIPE = Config.named("base_model")
NUDGE = 1e-7  # relative change of the weights that stands for float32's rounding


def batches(size: int, batch: int, device: str, seed: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Bright random pictures, their dark versions, the seeds of the latents; the same sequence each time."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        bright = torch.rand(batch, 3, size, size, generator=generator) * 2 - 1
        yield bright.to(device), bright.to(device) * 0.3 - 0.6, torch.randint(2**31, (batch,), generator=generator)


class Trainer:
    """One program's model, optimizer and batches: `call(x, zH, zL)` returns the new zH, zL and the output."""

    def __init__(self, model: HVR, call: Callable, options: argparse.Namespace, precision: str, seed: int = 0) -> None:
        self.model, self.call = model, call
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=options.rate)
        self.batches = batches(options.size, options.batch, options.device, seed)
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
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), RECIPE.max_grad_norm)
            self.optimizer.step()
            self.optimizer.zero_grad()
            zH, zL = zH.detach(), zL.detach()
            losses.append(loss.detach())
        return losses


def fresh_model(device: str, seed: int = 0) -> HVR:
    torch.manual_seed(seed)
    return HVR.from_config(Config()).to(device).train()


def plain_trainer(options: argparse.Namespace, seed: int = 0) -> Trainer:
    model = fresh_model(options.device, seed)
    return Trainer(model, reference_module().Reference(dict(model.named_parameters())).train_call, options, "fp32", seed)


def network_trainer(options: argparse.Namespace, precision: str, compiled: bool, seed: int = 0) -> Trainer:
    model = fresh_model(options.device, seed)
    run = torch.compile(model) if compiled else model

    def call(x: torch.Tensor, zH: torch.Tensor, zL: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        state, out = run(x, State(zH, zL))
        return state.zH, state.zL, out

    return Trainer(model, call, options, precision, seed)


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
    """Print the largest relative difference of the losses, float32, and what rounding alone makes of them."""
    plain, network, nudged = plain_trainer(options), network_trainer(options, "fp32", False), plain_trainer(options)
    with torch.no_grad():
        for parameter in nudged.model.parameters():
            parameter.mul_(1 + NUDGE * torch.randn_like(parameter))
    worst = {"network": 0.0, "nudged": 0.0}
    for _ in range(options.losses):
        for expected, found, other in zip(plain.step(), network.step(), nudged.step(), strict=True):
            worst["network"] = max(worst["network"], abs(found.item() / expected.item() - 1))
            worst["nudged"] = max(worst["nudged"], abs(other.item() / expected.item() - 1))
    print(f"losses of {options.losses} steps at a learning rate of {options.rate:.1e}, float32: largest relative difference "
          f"{worst['network']:.1e}; of the transcription from weights changed by {NUDGE:.0e}: {worst['nudged']:.1e}")


def compare_ends(options: argparse.Namespace) -> None:
    """Print where both programs end after `--long` steps, float32, from each start."""
    ends = []
    for seed in range(options.seeds):
        pair = []
        for trainer in (plain_trainer(options, seed), network_trainer(options, "fp32", False, seed)):
            losses = [sum(loss.item() for loss in trainer.step()) / trainer.model.N for _ in range(options.long)]
            pair.append(statistics.mean(losses[-max(options.long // 10, 1):]))
        ends.append(pair)
        print(f"start {seed}: loss {losses[0]:.4f} -> transcription {pair[0]:.5f}, network {pair[1]:.5f}", flush=True)
    starts = [plain for plain, _ in ends]
    print(f"after {options.long} steps at a learning rate of {options.rate:.1e}: "
          f"the programs differ by at most {max(abs(a - b) for a, b in ends):.1e}, "
          f"the starts by {max(starts) - min(starts):.1e}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=224, help="side of a picture, a multiple of 8")
    parser.add_argument("--batch", type=int, default=4, help="photos a batch")
    parser.add_argument("--precisions", nargs="*", choices=PRECISIONS, default=list(PRECISIONS), help="fp32, bf16")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--compile", action="store_true", help="rows with torch.compile, too")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each program, in turn")
    parser.add_argument("--losses", type=int, default=20, help="steps whose losses are compared; 0: none")
    parser.add_argument("--long", type=int, default=0, metavar="STEPS", help="also compare where so many steps end")
    parser.add_argument("--seeds", type=int, default=3, help="number of starts for --long")
    parser.add_argument("--rate", type=float, default=learning_rate(RECIPE, 0), help="learning rate; the recipe's peak: 5e-4")
    options = parser.parse_args(arguments)
    if options.device == "cpu":
        keep_freed_memory()  # as train.py does; the transcription gains by it as well
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
    if options.long:
        compare_ends(options)


if __name__ == "__main__":
    main()
