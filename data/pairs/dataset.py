"""Pairs of a dark and a normal photo, made from normal photos (spec: the published self-supervised recipe)."""
from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from torch.utils.data import Dataset

from data.pairs.augment import degrade
from data.pairs.colour_cast import has_cast, with_cast
from data.pairs.decoding import BrokenPhotoError, PhotoFile
from data.pairs.degradation import darken, draw_curve, final_ranges, ranges_at
from data.pairs.errors import DataError
from data.pairs.exposure import exposed, reference
from data.pairs.geometry import View, decode_for_view, draw_view, take_view
from data.pairs.kept_colour import darkened_light
from data.pairs.photos import PhotoRef
from data.pairs.randomness import stream, stream_seed
from data.pairs.sensor_noise import add_sensor_noise, light_lost, to_levels
from data.pairs.uneven_light import unevenly_lit
from exp_config.config import Config

log = logging.getLogger(__name__)

TOGETHER = 8                # photos that are in memory, decoded, at a time
MAX_REPLACEMENTS = 10       # broken photos in a row before a sample is given up
MAX_BROKEN_SHARE = 0.01     # of the photos, before the data set as a whole is refused


class Pair(TypedDict):
    """One sample. Values are 8-bit levels: both pictures are floor(255 v), so nothing is lost by not dividing yet."""

    low: torch.Tensor       # uint8 (3, H, W), the dark photo x
    normal: torch.Tensor    # uint8 (3, H, W), the normal photo y
    image_id: str
    state_seed: int         # in [0, 2^31), for the network's initial state


@dataclass
class _Sample:
    """A sample on its way: `names` tells its random streams apart, `rng` is the main one, `pixels` uint8 (H, W, 3).

    `uneven`: the stream of its uneven light; None where the light is even, as the published recipe's always is.
    """

    epoch: int
    image_id: str
    names: tuple[int | str, ...]
    rng: np.random.Generator
    view: View
    pixels: np.ndarray
    uneven: np.random.Generator | None


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
        self._ids = np.array([os.fsencode(photo.id) for photo in photos])
        self._paths = np.array([os.fsencode(photo.path) for photo in photos])
        self.config = config
        self.train = train
        self.size = (config.height, config.width)
        self._broken: dict[str, str] = {}  # image id -> reason; per loader process

    def digest(self) -> str:
        """One text for the same photos in the same order, wherever they lie."""
        return hashlib.blake2b(self._ids.tobytes(), digest_size=16).hexdigest()

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, item: tuple[int, int]) -> Pair:
        """The pair of photo `index` in `epoch`; see `__getitems__`."""
        return self.__getitems__([item])[0]

    def __getitems__(self, items: Sequence[tuple[int, int]]) -> list[Pair]:
        """The pairs of several (epoch, index); the loader asks for its batches here.

        A few photos together go through one stage after another: that keeps each stage's code and tables in the caches
        and is a fifth faster than photo by photo. A broken photo is named in a warning and replaced by another one of
        the set, the same in every run and on every rank; the replacement's pair here differs from the one in its own
        place. DataError when many are broken.
        """
        pairs: list[Pair] = []
        for start in range(0, len(items), TOGETHER):
            samples = [self._opened(epoch, index) for epoch, index in items[start : start + TOGETHER]]
            method = "lanczos" if self.train else "bicubic"
            normals = [self._exposed(sample, take_view(sample.pixels, sample.view, self.size, method)) for sample in samples]
            lows = [self._darkened(sample, normal) for sample, normal in zip(samples, normals, strict=True)]
            if self.train:
                lows = [self._degraded(sample, low, normal)
                        for sample, low, normal in zip(samples, lows, normals, strict=True)]
            normals = [self._reference(low, normal) for low, normal in zip(lows, normals, strict=True)]
            pairs += [
                Pair(low=torch.from_numpy(low), normal=torch.from_numpy(normal), image_id=sample.image_id,
                     state_seed=stream_seed("state", *sample.names) % 2**31)
                for sample, low, normal in zip(samples, lows, normals, strict=True)]
        return pairs

    def _opened(self, epoch: int, index: int) -> _Sample:
        """The photo of a sample, decoded, or the one that replaces it."""
        names: tuple[int | str, ...] = (self.config.seed, epoch) if self.train else ()
        for _ in range(MAX_REPLACEMENTS):
            image_id = os.fsdecode(self._ids[index])
            names = (*names, image_id)
            rng = stream("pair", *names)
            try:
                photo = PhotoFile(Path(os.fsdecode(self._paths[index])))
                view = (draw_view(rng, photo.size, self.size, self.config.geometry_rate) if self.train
                        else View.whole(photo.size))
                pixels, view = decode_for_view(photo, view, self.size)
            except BrokenPhotoError as error:
                self._note_broken(image_id, error)
                index = stream_seed("replacement", *names) % len(self)
            else:
                return _Sample(epoch, image_id, names, rng, view, pixels, self._uneven_stream(names))
        raise DataError(f"{MAX_REPLACEMENTS} photos in a row cannot be read: {self._broken_list()}")

    def _uneven_stream(self, names: tuple[int | str, ...]) -> np.random.Generator | None:
        """Uneven light has its own random stream: the photos that get none are the same at any rate."""
        rate = self.config.uneven_light_rate
        if rate <= 0.0:
            return None
        rng = stream("uneven", *names)
        return rng if rng.random() < rate else None

    def _exposed(self, sample: _Sample, normal: np.ndarray) -> np.ndarray:
        """From a stream of its own, too."""
        least, most = self.config.normal_mean_range
        return exposed(normal, stream("exposure", *sample.names).uniform(least, most)) if most > 0.0 else normal

    def _reference(self, low: np.ndarray, normal: np.ndarray) -> np.ndarray:
        means = self.config.reference_mean
        return reference(low, normal, means) if max(means) > 0.0 else normal

    def _darkened(self, sample: _Sample, normal: np.ndarray) -> np.ndarray:
        ranges = ranges_at(self.config, sample.epoch) if self.train else final_ranges(self.config)
        kept = self._colour_kept(sample)
        cast = stream("cast", *sample.names) if has_cast(self.config) else None
        if sample.uneven is not None:  # with its noise, which comes before the rounding to 8 bits
            return unevenly_lit(normal, sample.uneven, stream("sensor", *sample.names), ranges, self.config, self.train, kept,
                                cast)
        curve = draw_curve(sample.rng, ranges, self.config.l_distribution, self.config.alpha_distribution)
        if not kept and cast is None:
            return darken(normal, curve)
        light = darkened_light(normal, curve, kept)
        return to_levels(light if cast is None else with_cast(light, normal, cast, self.config))

    def _colour_kept(self, sample: _Sample) -> float:
        """From a stream of its own: all else about a sample is the same at any range."""
        least, most = self.config.colour_kept_range
        return stream("colour", *sample.names).uniform(least, most) if most > 0.0 else 0.0

    def _degraded(self, sample: _Sample, low: np.ndarray, normal: np.ndarray) -> np.ndarray:
        """Sensor noise has its own random stream: the published recipe's numbers stay what they are, whatever its rate."""
        if sample.uneven is not None:
            return low
        rate = self.config.sensor_noise_rate
        if rate > 0.0 and self.config.sensor_noise_where == "dark":
            rate *= light_lost(low, normal)
        low = degrade(low, sample.rng, self.config.augment_rate)
        if rate <= 0.0:
            return low
        rng = stream("sensor", *sample.names)
        return add_sensor_noise(low, rng, self.config) if rng.random() < rate else low

    def _note_broken(self, image_id: str, error: BrokenPhotoError) -> None:
        if image_id not in self._broken:
            self._broken[image_id] = str(error)
            log.warning("%s; another photo takes its place", error)
        if len(self._broken) > max(MAX_REPLACEMENTS, MAX_BROKEN_SHARE * len(self)):
            raise DataError(f"{len(self._broken)} of {len(self)} photos cannot be read: {self._broken_list()}")

    def _broken_list(self) -> str:
        shown = list(self._broken.values())[:MAX_REPLACEMENTS]
        return "; ".join(shown) + (", ..." if len(self._broken) > len(shown) else "")
