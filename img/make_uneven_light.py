"""Make img/uneven_light.jpg: six photos with a bright and a dark part, and below each what the shipped weights make of it.

    pip install scikit-image && python -m img.make_uneven_light

The first is as the camera took it (img/samples/rocket.jpg). No other photo of that kind may be passed on here, so the rest
are daylight photos that scikit-image ships, lit unevenly by data/pairs/uneven_light.py, as those that `dark_photos` trains on
are (none of these was trained on): what is shown of them is a simulation undone, the first is not.
"""
from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image

from data.files.images import read_photo, to_8_bit
from data.pairs.degradation import final_ranges
from data.pairs.randomness import stream
from data.pairs.uneven_light import unevenly_lit
from engine.device import choose_device
from engine.enhancing.enhancement import enhance
from exp_config import Config
from img.make_figures import CHECKPOINT, QUALITY, stack, strip
from models import load_pretrained

FOLDER = Path(__file__).resolve().parent
TARGET = FOLDER / "uneven_light.jpg"
ROW_HEIGHT = 240   # pixels
LONGER_SIDE = 640  # pixels, of a photo before it is lit


@dataclass(frozen=True)
class Lit:
    """A photo of scikit-image, and which of the scenes that may be drawn of it."""

    source: str
    scene: int


CHOSEN = (Lit("astronaut.png", 2), Lit("coffee.png", 8),
          Lit("chelsea.png", 11), Lit("camera.png", 6), Lit("coffee.png", 11))


def lit(choice: Lit) -> np.ndarray:
    """The photo under the uneven light of the drawn scene, with noise, uint8 (H, W, 3)."""
    with files("skimage.data").joinpath(choice.source).open("rb") as file:
        photo = Image.open(file).convert("RGB")
    photo.thumbnail((LONGER_SIDE, LONGER_SIDE), Image.Resampling.LANCZOS)
    config = Config.named("dark_photos")
    planes = np.ascontiguousarray(np.asarray(photo).transpose(2, 0, 1))
    low = unevenly_lit(planes, stream("figure", choice.source, choice.scene), stream("figure noise", choice.source),
                       final_ranges(config), config)
    return np.ascontiguousarray(low.transpose(1, 2, 0))


def main() -> None:
    """Write the picture."""
    model = load_pretrained(CHECKPOINT / "config.json", CHECKPOINT / "HVR.safetensors", choose_device("auto"))
    before = [to_8_bit(read_photo(FOLDER / "samples" / "rocket.jpg").pixels), *map(lit, CHOSEN)]
    after = [enhance(model, photo) for photo in before]
    sheet = stack([strip(pictures[part], ROW_HEIGHT) for part in (slice(0, 3), slice(3, 6)) for pictures in (before, after)])
    sheet.save(TARGET, quality=QUALITY)
    print(f"written: {TARGET.relative_to(FOLDER.parent)}, {sheet.width}x{sheet.height}")


if __name__ == "__main__":
    main()
