"""A network that is ready to enhance, with everything that decides on its results."""
from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.background import interruptible
from engine.device import choose_device, keep_freed_memory
from engine.enhancing import enhancement
from engine.enhancing.settings import Settings
from engine.enhancing.sizes import working_size
from exp_config import NETWORK_FIELDS, Config
from models import HVR, load_pretrained

AT_ONCE_MEGAPIXELS = 0.5  # shown to the network at the same time in several small pictures: as of one large photo
LARGEST_KEPT = 2**26  # bytes: the maps of half a megapixel and bands of rows; of whole photos, maps are larger


@dataclass(frozen=True)
class Enhancer:
    """Call it with the pixels of a dark picture, uint8 or uint16 (H, W, 3) RGB: those of the enhanced one, of the same kind.

    Raises what `engine.enhancing.enhancement.enhance` raises; in the main thread, a signal's exception at once.
    """

    model: HVR
    config: Config
    settings: Settings

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def __call__(self, pixels: np.ndarray, on_step: enhancement.OnStep | None = None) -> np.ndarray:
        return interruptible(enhancement.enhance, self.model, pixels, on_step=on_step, **self.options())

    def at_once(self, height: int, width: int) -> int:
        """How many pictures of this size are best enhanced at the same time, by as many threads: on a CPU one core each is
        faster than all of them on one, as long as they take no more memory together than a photo does."""
        if self.device.type != "cpu":
            return 1
        shown = math.prod(working_size(height, width, self.settings.max_working_megapixels))
        return max(min(torch.get_num_threads(), int(AT_ONCE_MEGAPIXELS * 1e6 / shown)), 1)

    def options(self) -> dict[str, Any]:
        """The settings as keywords of `enhance`."""
        options = self.settings.record()
        del options["z_distribution"]  # the model has it
        return options

    def record(self) -> dict[str, Any]:
        """What decides on a result beside the photo and the weights: the settings, and those of the network."""
        return self.settings.record() | {name: getattr(self.config, name) for name in NETWORK_FIELDS}


def load_enhancer(config_path: Path, weights_path: Path, device: str = "auto", **options: Any) -> Enhancer:
    """The weights and the config beside them, on `device`. options: see `Settings.of`.

    Raises ConfigError, WeightsError or DeviceError, which name what was found and expected.
    """
    config = Config.from_checkpoint(config_path)
    place = choose_device(device)
    model = load_pretrained(config, weights_path, place)
    if place.type == "cpu":
        keep_freed_memory(LARGEST_KEPT)
    settings = Settings.of(config, **options)
    model.z_distribution = settings.z_distribution
    return Enhancer(model, config, settings)
