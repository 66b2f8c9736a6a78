"""Draw the losses of a training from its history.jsonl into img/training_curve.svg and its dark twin.

    python -m img.make_training_curve checkpoint/HVR-SSLE_base_model_xxxxx/history.jsonl
"""
from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path

from img.drawing import PALETTES, Drawing

FOLDER = Path(__file__).resolve().parent
NAMES = {"light": "training_curve.svg", "dark": "training_curve_dark.svg"}
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 340, 64, 24, 44, 52
SMOOTHING = 0.7  # share of the mean so far in the running mean of training losses

Points = list[tuple[float, float]]


def read_losses(history: Path) -> tuple[Points, Points, float | None]:
    """(step, loss) of training (running mean) and of validation, and the validation loss of the unchanged input.

    Raises ValueError for a file without losses.
    """
    train: Points = []
    val: Points = []
    identity = mean = None
    for line in history.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if record["kind"] == "train":
            mean = record["loss"] if mean is None else SMOOTHING * mean + (1 - SMOOTHING) * record["loss"]
            train.append((record["step"], mean))
        elif record["kind"] == "val":
            val.append((record["step"], record["loss"]))
            identity = record.get("identity")
    if not train and not val:
        raise ValueError(f"{history} holds no losses; expected the history.jsonl of a run folder")
    return train, val, identity


def nice_ticks(highest: float, about: int = 5) -> list[float]:
    """0 and round numbers up to `highest`: multiples of 1, 2 or 5 times a power of ten."""
    rough = highest / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
    return [n * step for n in range(int(highest / step) + 1)]


def draw(palette: dict[str, str], train: Points, val: Points, identity: float | None) -> str:
    """The curves as SVG text."""
    d = Drawing(palette)
    last = max(step for step, _ in train + val)
    highest = 1.05 * max(loss for _, loss in train + val + ([(0, identity)] if identity else []))

    def place(step: float, loss: float) -> tuple[float, float]:
        return LEFT + (WIDTH - LEFT - RIGHT) * step / last, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * loss / highest

    for tick in nice_ticks(highest):
        x, y = place(0, tick)
        d.arrow((x, y), (WIDTH - RIGHT, y), head=False, colour="panel", width=0.8)
        d.text(x - 8, y + 4, f"{tick:g}", size=12, colour="muted", anchor="end")
    for tick in nice_ticks(last):
        d.text(place(tick, 0)[0], HEIGHT - BOTTOM + 18, f"{tick:,.0f}", size=12, colour="muted")
    d.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, "optimizer steps", size=12, colour="muted")
    if identity:
        y = place(0, identity)[1]
        d.arrow((LEFT, y), (WIDTH - RIGHT, y), head=False, colour="grad")
        d.text(WIDTH - RIGHT, y - 6, "validation loss of the input unchanged", size=12, colour="grad", anchor="end")
    for points, colour, width in ((train, "L_edge", 1.2), (val, "H_edge", 2.2)):
        if points:
            d.arrow(*(place(*point) for point in points), head=False, colour=colour, width=width)
    d.text(LEFT, 26, "training loss, running mean", size=13, colour="L_edge", anchor="start", weight="600")
    d.text(LEFT + 220, 26, "validation loss", size=13, colour="H_edge", anchor="start", weight="600")
    return d.svg(WIDTH, HEIGHT, "Losses of the training")


def main(arguments: Sequence[str] | None = None) -> None:
    """Write both drawings."""
    parser = argparse.ArgumentParser(description="Draw the losses of a training.")
    parser.add_argument("history", type=Path, help="history.jsonl of a run folder")
    losses = read_losses(parser.parse_args(arguments).history)
    for theme, palette in PALETTES.items():
        (FOLDER / NAMES[theme]).write_text(draw(palette, *losses), encoding="utf-8")
        print(f"written: img/{NAMES[theme]}")


if __name__ == "__main__":
    main()
