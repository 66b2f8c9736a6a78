"""Pictures to look at: small copies for the browser, and the steps of the recursion."""
from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from data.files.images import Photo, to_8_bit, write_photo
from engine.enhancing.enhancement import cut_border
from engine.enhancing.pictures import to_array
from engine.enhancing.settings import Settings
from engine.enhancing.sizes import working_size
from models import HVR
from models.latents import State

VIEW_PIXELS = 1.5e6    # of before and after in the browser
STRIP_PIXELS = 0.03e6  # of each step


def reduced(pixels: np.ndarray, most: float) -> np.ndarray:
    """(H, W, 3) uint8 or uint16 -> uint8 of at most about `most` pixels, in the same shape; as it is where it is no larger."""
    height, width = pixels.shape[:2]
    scale = math.sqrt(most / (height * width))
    pixels = to_8_bit(pixels)
    if scale >= 1:
        return pixels
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


def write_look(path: Path, photo: Photo, pixels: np.ndarray, most: float = VIEW_PIXELS) -> Path:
    """A JPEG file of `pixels`, reduced, in the colours that the photo's profile says, with none of its metadata. -> `path`"""
    small, alpha = reduced(pixels, most), photo.alpha
    if alpha is not None:
        alpha = np.asarray(Image.fromarray(to_8_bit(alpha)).resize(small.shape[1::-1], Image.Resampling.BOX))
    profile = photo.icc_profile if photo.own_pixels is None else None  # otherwise `pixels` are sRGB
    write_photo(path, Photo(small, alpha, photo.gray, profile))
    return path


class StepPictures:
    """`enhance(.., on_step=pictures)` of a picture of this height and width: what the network's picture looks like after each
    H step is kept in `found`, uint8 (h, w, 3) each."""

    def __init__(self, model: HVR, settings: Settings, height: int, width: int) -> None:
        self.model, self.border = model, settings.border
        self.size = [side + 2 * self.border for side in working_size(height, width, settings.max_working_megapixels)]
        self.found: list[np.ndarray] = []

    def __call__(self, kind: str, state: State) -> None:
        if kind == "H":
            height, width = self.size
            output: Tensor = self.model.head(state.zH.float())[..., :height, :width]
            picture = self.model.to_unit_range(cut_border(output, self.border)).clamp(0, 1)
            self.found.append(reduced(to_array(picture, np.dtype(np.uint8)), STRIP_PIXELS))
