"""Pairs of a dark and a normal photo, made from normal photos (spec: the published self-supervised recipe)."""
from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from torch.utils.data import Dataset

from data.augment import degrade
from data.decoding import BrokenPhotoError, PhotoFile
from data.degradation import darken, draw_curve, final_ranges, ranges_at
from data.errors import DataError
from data.geometry import View, draw_view, take_view
from data.photos import PhotoRef
from data.randomness import stream, stream_seed
from data.sensor_noise import add_sensor_noise
from exp_config.config import Config

log = logging.getLogger(__name__)

MAX_REPLACEMENTS = 10       # broken photos in a row before a sample is given up
MAX_BROKEN_SHARE = 0.01     # of the photos, before the data set as a whole is refused


class Pair(TypedDict):
    """One sample. Values are 8-bit levels: both pictures are floor(255 v), so nothing is lost by not dividing yet."""

    low: torch.Tensor       # uint8 (3, H, W), the dark photo x
    normal: torch.Tensor    # uint8 (3, H, W), the normal photo y
    image_id: str
    state_seed: int         # in [0, 2^31), for the network's initial state


class LowLightPairs(Dataset[Pair]):
    """`pairs[epoch, index]` is the pair made of photo `index` in `epoch`.

    Training: random geometry, curve, degradations, from (config.seed, epoch, image id) alone. Validation: the whole
    photo, and a curve from the image id alone, so that the losses of all epochs and runs are comparable.
    """

    def __init__(self, photos: Sequence[PhotoRef], config: Config, train: bool) -> None:
        if not photos:
            raise DataError("an empty list of photos; list_photos says where they are looked for")
        # Two arrays instead of many small objects: those would be copied into every worker process, page by page, as
        # soon as their reference counts change.
        self._ids = np.array([photo.id.encode() for photo in photos])
        self._paths = np.array([os.fsencode(photo.path) for photo in photos])
        self.config = config
        self.train = train
        self.size = (config.height, config.width)
        self._broken: dict[str, str] = {}  # image id -> reason; per loader process

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, item: tuple[int, int]) -> Pair:
        """The pair of photo `index` in `epoch`.

        A broken photo is named in a warning and replaced by another one of the set, the same in every run and on
        every rank; the replacement's pair here differs from the one in its own place. DataError when many are broken.
        """
        epoch, index = item
        names: tuple[int | str, ...] = (self.config.seed, epoch) if self.train else ()
        for _ in range(MAX_REPLACEMENTS):
            image_id = self._ids[index].decode()
            names = (*names, image_id)
            try:
                low, normal = self._pictures(PhotoFile(Path(os.fsdecode(self._paths[index]))), epoch, names)
            except BrokenPhotoError as error:
                self._note_broken(image_id, error)
                index = stream_seed("replacement", *names) % len(self)
            else:
                return Pair(low=torch.from_numpy(low), normal=torch.from_numpy(normal), image_id=image_id,
                            state_seed=stream_seed("state", *names) % 2**31)
        raise DataError(f"{MAX_REPLACEMENTS} photos in a row cannot be read: {self._broken_list()}")

    def _pictures(self, photo: PhotoFile, epoch: int, names: tuple[int | str, ...]) -> tuple[np.ndarray, np.ndarray]:
        """x and y, uint8 (3, H, W) each, with the random streams called `names`."""
        rng = stream("pair", *names)
        if not self.train:
            normal = take_view(photo, View.whole(photo.size), self.size, "bicubic")
            return darken(normal, draw_curve(rng, final_ranges(self.config))), normal
        view = draw_view(rng, photo.size, self.size, self.config.geometry_rate)
        normal = take_view(photo, view, self.size, "lanczos")
        low = darken(normal, draw_curve(rng, ranges_at(self.config, epoch)))
        low = degrade(low, rng, self.config.augment_rate)
        return self._sensor_noise(low, names), normal

    def _sensor_noise(self, low: np.ndarray, names: tuple[int | str, ...]) -> np.ndarray:
        """Own random stream: the published recipe's numbers stay what they are, whatever the rate here."""
        if self.config.sensor_noise_rate <= 0.0:
            return low
        rng = stream("sensor", *names)
        return add_sensor_noise(low, rng, self.config) if rng.random() < self.config.sensor_noise_rate else low

    def _note_broken(self, image_id: str, error: BrokenPhotoError) -> None:
        if image_id not in self._broken:
            self._broken[image_id] = str(error)
            log.warning("%s; another photo takes its place", error)
        if len(self._broken) > max(MAX_REPLACEMENTS, MAX_BROKEN_SHARE * len(self)):
            raise DataError(f"{len(self._broken)} of {len(self)} photos cannot be read: {self._broken_list()}")

    def _broken_list(self) -> str:
        shown = list(self._broken.values())[:MAX_REPLACEMENTS]
        return "; ".join(shown) + (", ..." if len(self._broken) > len(shown) else "")
