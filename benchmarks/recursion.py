"""What the recursion does to a picture: its quality after every step, what is left of the random latents, window seams.

    python -m benchmarks.recursion --low DIR --high DIR [--config_path FILE --weights_path FILE] [--steps 4] [--count 30]

Refinement: mean PSNR after each L and H step of the supervision steps 1..`--steps`, and SSIM after the H steps. An H step's
picture is the head's; an L step changes zL alone, so shown is what an H step would make of it at that moment.
Seeds: PSNR between the pictures of two seeds of the latents, after each supervision step.
Seams: mean gradient across the borders of the 8x8 attention windows over that within them; 1 is no seam. H's second block
works on windows shifted by 4, so that borders at 4, 12, 20, .. are measured, too.
All scores are of 8-bit pictures.
"""
from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from tqdm import tqdm

from data.benchmarks import pair_by_name
from data.files.images import read_photo, to_8_bit
from engine.device import choose_device
from engine.enhancing.enhancement import add_border, cut_border
from engine.enhancing.finishing import finished
from engine.enhancing.pictures import to_array, to_batch
from exp_config import PROJECT_ROOT
from metrics.psnr import psnr
from metrics.ssim import ssim
from models import HVR, State, load_pretrained
from models.hvr import MeanPicture, pad_to_multiple

WINDOW = 8
SHIPPED = PROJECT_ROOT / "checkpoint" / "zeros"


def to_input(model: HVR, picture: np.ndarray) -> torch.Tensor:
    """(H, W, 3) uint8 -> (1, 3, H, W) in the model's range, on its device, with the model's border."""
    return add_border(model.to_model_range(to_batch(picture, next(model.parameters()).device)), model.inference_border)


def to_picture(model: HVR, output: torch.Tensor) -> np.ndarray:
    """(1, 3, H, W) in the model's range -> (H, W, 3) uint8, without the model's border."""
    return to_array(model.to_unit_range(cut_border(output, model.inference_border)).clamp(0, 1), np.dtype(np.uint8))


@torch.no_grad()
def progress(model: HVR, dark: np.ndarray, supervision_steps: int) -> list[tuple[str, np.ndarray]]:
    """("L" or "H", picture) after each step; photo (H, W, 3) uint8 and pictures alike."""
    x = to_input(model, dark)
    height, width = x.shape[-2:]
    padded = pad_to_multiple(x, model.size_multiple)
    pictures = []

    def on_step(kind: str, state: State) -> None:
        shown = state if kind == "H" else model.recurse(padded, state, "H")
        pictures.append((kind, to_picture(model, model.head(shown.zH)[..., :height, :width])))

    model.sample(x, N=supervision_steps, on_step=on_step)
    return pictures


@torch.no_grad()
def per_supervision_step(model: HVR, dark: np.ndarray, supervision_steps: int, seed: int) -> list[np.ndarray]:
    """The result of each number of supervision steps, from the latents of `seed`, with the model's mean of steps, order of
    light and white balance, but no detail."""
    x = to_input(model, dark)
    state, pictures, mean = model.initial_state(x, seeds=seed), [], MeanPicture()
    for _ in range(supervision_steps):
        state, output = model.sample(x, state, N=1)
        mean.add(output)
        bright = model.to_unit_range(cut_border(mean.mean() if model.inference_average else output, model.inference_border))
        pictures.append(finished(dark, bright.clamp(0, 1), light_order=model.inference_light_order,
                                 white_balance=model.inference_white_balance))
    return pictures


def seam(picture: np.ndarray, offset: int = 0) -> float:
    """Mean absolute difference across window borders (columns and rows at multiples of 8, plus `offset`) over the others'."""
    values = picture.astype(np.float64)
    across, within = [], []
    for axis in (0, 1):
        steps = np.abs(np.diff(values, axis=axis)).mean(axis=(1 - axis, 2))  # entry i: between i and i + 1
        border = (np.arange(len(steps)) + 1) % WINDOW == offset
        across.append(steps[border].mean())
        within.append(steps[~border].mean())
    return sum(across) / max(sum(within), 1e-9)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recursion", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--low", type=Path, required=True, metavar="DIR", help="dark pictures")
    parser.add_argument("--high", type=Path, required=True, metavar="DIR", help="their references")
    parser.add_argument("--config_path", default=SHIPPED / "config.json", metavar="FILE", help="of the weights")
    parser.add_argument("--weights_path", default=SHIPPED / "HVR.safetensors", metavar="FILE",
                        help="a safetensors file")
    parser.add_argument("--z_distribution", choices=("normal", "zeros"), help="initial latents; default: the config's")
    parser.add_argument("--steps", type=int, default=4, help="supervision steps")
    parser.add_argument("--count", type=int, help="only so many pictures")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    options = parser.parse_args(arguments)
    model = load_pretrained(options.config_path, options.weights_path, choose_device(options.device))
    model.z_distribution = options.z_distribution or model.z_distribution
    pairs = pair_by_name(options.low, options.high)[: options.count]
    kinds: list[str] = []
    quality: list[list[float]] = []       # per picture: PSNR after each step
    structure: list[list[float]] = []     # per picture: SSIM after each supervision step
    agreement: list[list[float]] = []     # per picture: PSNR between two seeds after each supervision step
    seams: dict[str, list[float]] = {}
    for pair in tqdm(pairs, unit="photo"):
        dark, bright = to_8_bit(read_photo(pair.low).pixels), to_8_bit(read_photo(pair.high).pixels)
        steps = progress(model, dark, options.steps)
        kinds = [kind for kind, _ in steps]
        quality.append([psnr(picture, bright) for _, picture in steps])
        per_step = len(steps) // options.steps
        ends = [picture for _, picture in steps[per_step - 1:: per_step]]
        structure.append([ssim(picture, bright) for picture in ends])
        if model.z_distribution != "zeros":
            two = [per_supervision_step(model, dark, options.steps, seed) for seed in (1, 2)]
            agreement.append([psnr(a, b) for a, b in zip(*two, strict=True)])
        output = ends[min(model.N, options.steps) - 1]
        for name, picture in (("input", dark), ("output", output), ("reference", bright)):
            for offset in (0, WINDOW // 2):
                seams.setdefault(f"{name}, offset {offset}", []).append(seam(picture, offset))
    print(f"\nPSNR (dB) after each step, mean of {len(pairs)} pictures; N = {model.N} is this model's default\n")
    print(refinement_table(kinds, quality, structure))
    print("\nPSNR between the pictures of two seeds: " + agreement_line(agreement))
    print("gradient at window borders over that elsewhere: "
          + ", ".join(f"{name} {mean(values):.3f}" for name, values in seams.items()))


def refinement_table(kinds: Sequence[str], quality: Sequence[Sequence[float]], structure: Sequence[Sequence[float]]) -> str:
    """Markdown, a row per supervision step. quality[i]: PSNR of picture i after each of `kinds`; structure[i]: SSIM."""
    rows = len(structure[0])
    per_step = len(kinds) // rows
    means = [f"{mean(values):.2f}" for values in zip(*quality, strict=True)]
    lines = [["supervision step", *kinds[:per_step], "SSIM at its end"], ["---"] * (per_step + 2)]
    for row in range(rows):
        end = f"{mean(values[row] for values in structure):.4f}"
        lines.append([str(row + 1), *means[row * per_step: (row + 1) * per_step], end])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def agreement_line(agreement: Sequence[Sequence[float]]) -> str:
    """agreement[i]: PSNR between two seeds' pictures of photo i after each supervision step; empty: there are no seeds."""
    if not agreement:
        return "the latents begin at zero, so the seed changes nothing"
    return ", ".join(f"{mean(values):.2f} dB (lowest {min(values):.2f}) after {number}"
                     for number, values in enumerate(zip(*agreement, strict=True), 1))


if __name__ == "__main__":
    main()
