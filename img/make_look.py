"""Make the picture in docs/enhancing.md of what a person may change, with the shipped weights, from img/samples.

    python -m img.make_look

img/look.jpg  three values of --brightness, three of --saturation, and a part of a photo with --detail 0 and 1
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from data.files.images import read_photo, to_8_bit
from engine.device import choose_device
from engine.enhancing.enhancement import enhance
from engine.enhancing.finishing import finished
from img.make_figures import CHECKPOINT, FOLDER, QUALITY, caption, stack, strip
from models import HVR, load_pretrained

BRIGHTNESS, SATURATION = (-1.0, 0.0, 1.0), (0.5, 1.0, 1.4)
PART = (slice(250, 390), slice(250, 460))  # rows and columns of the sample that --detail is shown on


def network_picture(model: HVR, dark: np.ndarray) -> torch.Tensor:
    """What the network makes of uint8 (H, W, 3), without detail: float (1, 3, H, W) in [0, 1]."""
    return enhance(model, torch.from_numpy(dark / np.float32(255)).permute(2, 0, 1)[None], detail=0.0)


def row(pictures: Sequence[np.ndarray], labels: Sequence[str]) -> Image.Image:
    """Pictures of equal size beside one another, a label below each."""
    line = strip(pictures)
    return stack([line, caption(labels, line.width)])


def look(model: HVR, samples: Sequence[np.ndarray]) -> Image.Image:
    """Samples (H, W, 3) uint8 for brightness, saturation and detail -> three rows of the same width."""
    brightness, saturation, detail = samples
    bright, colours, parts = (network_picture(model, dark) for dark in samples)
    rows = [row([finished(brightness, bright, detail=1.0, brightness=stops) for stops in BRIGHTNESS],
                [f"--brightness {stops:g}" for stops in BRIGHTNESS]),
            row([finished(saturation, colours, detail=1.0, saturation=factor) for factor in SATURATION],
                [f"--saturation {factor:g}" for factor in SATURATION]),
            row([detail[PART], *(finished(detail, parts, detail=amount)[PART] for amount in (0.0, 1.0))],
                ["a part of the photo", "--detail 0", "--detail 1"])]
    return stack(rows)


def main() -> None:
    """Write the picture."""
    model = load_pretrained(CHECKPOINT / "config.json", CHECKPOINT / "HVR.safetensors", choose_device("auto"))
    samples = [to_8_bit(read_photo(FOLDER / "samples" / name).pixels) for name in ("coffee.jpg", "pagoda.jpg", "rocket.jpg")]
    figure = look(model, samples)
    figure.save(FOLDER / "look.jpg", quality=QUALITY)
    print(f"written: img/look.jpg, {figure.width}x{figure.height}")


if __name__ == "__main__":
    main()
