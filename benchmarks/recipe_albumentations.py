"""The published recipe's data with albumentations 2.0.8 and OpenCV: what benchmarks/data_loading.py compares with."""
from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from data.pairs.degradation import draw_curve, ranges_at
from exp_config.config import Config

SPOTS = 2000  # squares of side 1..2 that cover about a tenth of 224x224 pixels


class RecipeStack:
    """`stack(path)` is a pair of float32 tensors (3, H, W) in [-1, 1]. Raises ImportError without albumentations.

    As one writes it down: transforms built for each photo, the curve in NumPy's default float64. `tuned`: transforms
    kept for each size of photo, everything in float32.
    """

    def __init__(self, config: Config, tuned: bool = False) -> None:
        import albumentations

        self.config = config
        self.library: Any = albumentations
        self.dtype = np.float32 if tuned else np.float64
        self.geometry = functools.lru_cache(maxsize=None)(self._geometry) if tuned else self._geometry
        self.blur_and_spots = self._blur_and_spots(config.augment_rate)
        self.set_seed(0)

    def set_seed(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def __call__(self, path: Path) -> dict[str, torch.Tensor]:
        photo = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        picture = self.geometry(max(photo.shape[:2]))(image=photo)["image"]
        normal = picture.astype(self.dtype) / self.dtype(255.0)
        low = np.floor(255.0 * self._curve(normal)) / self.dtype(255.0)
        low = self.blur_and_spots(image=low.astype(np.float32))["image"]
        if self.rng.random() < self.config.augment_rate:
            low = 0.9 * low + 0.1 * self.rng.random(low.shape, dtype=np.float32)
        low = np.floor(255.0 * np.clip(low, 0.0, 1.0)) / np.float32(255.0)
        return {"low": self._tensor(low), "normal": self._tensor(normal)}

    def _curve(self, normal: np.ndarray) -> np.ndarray:
        """The degradation curve for every pixel."""
        alpha, k, l = draw_curve(self.rng, ranges_at(self.config, 0))  # noqa: E741
        gamma = 1.0 / (1.0 - alpha**0.2 + 1e-6)
        scale = (1.0 - l) / max((1.0 - k) ** gamma, 1e-6)
        light = np.maximum(normal - self.dtype(k), 0.0) ** self.dtype(gamma)
        return np.clip(self.dtype(scale) * light, 0.0, 1.0)

    def _geometry(self, longer_side: int) -> Any:
        """For a photo of that size, because the crop's area depends on it."""
        a = self.library
        ratio = max(self.config.height, self.config.width) / longer_side
        low, high = (min(max(area, 0.1), 1.0) for area in (ratio / 1.5, ratio * 1.5))
        return a.Compose([
            a.OneOf([a.Rotate(limit=45, crop_border=True, p=1), a.HorizontalFlip(p=1)], p=self.config.geometry_rate),
            a.RandomResizedCrop((self.config.height, self.config.width), scale=(low, high),
                                interpolation=cv2.INTER_LANCZOS4)])

    def _blur_and_spots(self, rate: float) -> Any:
        a = self.library
        cubic = {"downscale": cv2.INTER_CUBIC, "upscale": cv2.INTER_CUBIC}
        return a.Compose([
            a.OneOf([a.Defocus(radius=(1, 3), alias_blur=(0.1, 0.3), p=1),
                     a.Downscale(scale_range=(0.5, 0.5), interpolation_pair=cubic, p=1)], p=rate),
            a.Sequential([
                a.GaussNoise(std_range=(0.05, 0.4), p=0.5),
                a.OneOf([self._squares(0, 0.3), self._squares("random", 0.7)], p=1)], p=rate)])

    def _squares(self, fill: Any, weight: float) -> Any:
        return self.library.CoarseDropout(num_holes_range=(SPOTS, SPOTS), hole_height_range=(1, 2),
                                          hole_width_range=(1, 2), fill=fill, p=weight)

    @staticmethod
    def _tensor(picture: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(2.0 * picture.astype(np.float32) - 1.0).permute(2, 0, 1).contiguous()
