"""Which part of a photo a sample shows, and how it comes to the network's size.

The geometry is drawn first and carried out afterwards (`View`), so that only pixels that the result needs are computed:
a large JPEG file is decoded smaller, a rotation is done inside the crop alone, crop and resize are one step.
"""
from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from PIL import Image

from data.pairs.decoding import REDUCTIONS, PhotoFile

MAX_ANGLE = 45.0                  # degrees
AREA_SPREAD = 1.5                 # crop areas: r / 1.5 .. 1.5 r of the picture, r = target / photo's longer side
AREA_LIMITS = (0.1, 1.0)
ASPECT_LIMITS = (3 / 4, 4 / 3)    # width / height of the crop
CROP_ATTEMPTS = 10
OVERSAMPLING = 2.0                # a photo decoded smaller still has so many pixels per side for one of the target


@dataclass(frozen=True)
class View:
    """What a sample shows of its photo: turn it by `angle` degrees, cut out a box, then mirror it.

    The box (left, top, width, height, in whole pixels) lies in the turned photo, whose largest part without border is
    `turned_size` = (width, height) and has the photo's centre.
    """

    angle: float
    flip: bool
    turned_size: tuple[int, int]
    box: tuple[int, int, int, int]

    @classmethod
    def whole(cls, photo_size: tuple[int, int]) -> View:
        """All of a photo of (height, width)."""
        height, width = photo_size
        return cls(0.0, False, (width, height), (0, 0, width, height))

    def reduced(self, reduction: int) -> View:
        """The same view of the photo at 1 / reduction of its size, to the nearest pixel."""
        sides = [max(side // reduction, 1) for side in self.turned_size]
        lengths = [min(max(round(length / reduction), 1), side)
                   for length, side in zip(self.box[2:], sides, strict=True)]
        starts = [min(round(start / reduction), side - length)
                  for start, side, length in zip(self.box[:2], sides, lengths, strict=True)]
        return View(self.angle, self.flip, (sides[0], sides[1]), (starts[0], starts[1], lengths[0], lengths[1]))


def draw_view(rng: np.random.Generator, photo_size: tuple[int, int], target_size: tuple[int, int], rate: float) -> View:
    """A random view of a photo of (height, width) for a target of (height, width).

    With probability `rate` one of: turning by U(-45, 45) degrees and keeping the largest part without border, or
    mirroring; then a random box for the resize to the target.
    """
    height, width = photo_size
    angle, flip, turned = 0.0, False, (width, height)
    if rng.random() < rate:
        if rng.random() < 0.5:
            angle = rng.uniform(-MAX_ANGLE, MAX_ANGLE)
            turned = _largest_upright(width, height, math.radians(angle))
        else:
            flip = True
    ratio = max(target_size) / max(photo_size)
    low, high = (min(max(area, AREA_LIMITS[0]), AREA_LIMITS[1]) for area in (ratio / AREA_SPREAD, ratio * AREA_SPREAD))
    return View(angle, flip, turned, _draw_box(rng, turned, (low, high)))


def decode_for_view(photo: PhotoFile, view: View, target_size: tuple[int, int]) -> tuple[np.ndarray, View]:
    """The photo's pixels, uint8 (H, W, 3), and the view on them: both smaller where a large file need not be decoded in
    full for a target of (height, width)."""
    reduction = _reduction(view, target_size) if photo.is_reducible else 1
    return photo.pixels(reduction), view.reduced(reduction) if reduction > 1 else view


def take_view(pixels: np.ndarray, view: View, target_size: tuple[int, int], method: str) -> np.ndarray:
    """The view of uint8 (H, W, 3), resized to `target_size` = (height, width): uint8 (3, height, width), contiguous."""
    if view.angle != 0.0:
        part = _turned_part(pixels, view)
    else:
        left, top, width, height = view.box
        part = pixels[top : top + height, left : left + width]
    planes = resize(part, target_size, method)
    return planes[:, :, ::-1].copy() if view.flip else np.ascontiguousarray(planes)


def resize(picture: np.ndarray, size: tuple[int, int], method: str) -> np.ndarray:
    """uint8 (H, W, 3) to uint8 (3, *size), size = (height, width), antialiased; `method` is "lanczos" or "bicubic".

    torch's fixed-point kernels are Pillow's algorithm with vector instructions, three to four times faster; Pillow
    itself stands in where torch has no Lanczos yet. They differ by rounding, and at hard edges by which of the two passes
    comes first, as overshoot is clipped in between.
    """
    if picture.shape[:2] == size:
        return picture.transpose(2, 0, 1)
    if not _torch_resizes(method):
        filters = {"lanczos": Image.Resampling.LANCZOS, "bicubic": Image.Resampling.BICUBIC}
        return np.asarray(Image.fromarray(picture).resize(size[::-1], filters[method])).transpose(2, 0, 1)
    batch = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1).unsqueeze(0)  # (1, 3, H, W), channels last
    return torch.nn.functional.interpolate(batch, size, mode=method, antialias=True)[0].numpy()


@functools.cache
def _torch_resizes(method: str) -> bool:
    try:
        torch.nn.functional.interpolate(torch.zeros(1, 3, 4, 4, dtype=torch.uint8), (2, 2), mode=method, antialias=True)
    except (NotImplementedError, ValueError, RuntimeError):
        return False
    return True


def _reduction(view: View, target_size: tuple[int, int]) -> int:
    """The largest reduction that leaves the box at least `OVERSAMPLING` times the target's sides, so that the resize
    still decides about every frequency that the result can show."""
    shrink = min(view.box[2] / target_size[1], view.box[3] / target_size[0])
    return next((reduction for reduction in REDUCTIONS if shrink >= OVERSAMPLING * reduction), 1)


def _largest_upright(width: int, height: int, angle: float) -> tuple[int, int]:
    """(width, height) of the largest upright rectangle inside a width x height one turned by `angle` (radians)."""
    sine, cosine = abs(math.sin(angle)), abs(math.cos(angle))
    long, short = max(width, height), min(width, height)
    if short <= 2.0 * sine * cosine * long or abs(sine - cosine) < 1e-10:
        half = 0.5 * short  # two corners touch the long sides' middle
        inner = (half / sine, half / cosine) if width >= height else (half / cosine, half / sine)
    else:
        double = cosine * cosine - sine * sine
        inner = ((width * cosine - height * sine) / double, (height * cosine - width * sine) / double)
    return max(int(inner[0]), 1), max(int(inner[1]), 1)


def _draw_box(rng: np.random.Generator, size: tuple[int, int], areas: tuple[float, float]) -> tuple[int, int, int, int]:
    """(left, top, width, height) of a random crop of a picture of `size` = (width, height).

    Area fraction uniform in `areas`, aspect log-uniform; after ten draws that do not fit, the largest central crop
    whose aspect is allowed (Szegedy et al. 2015, as every library does it).
    """
    width, height = size
    log_aspects = [math.log(a) for a in ASPECT_LIMITS]
    for _ in range(CROP_ATTEMPTS):
        area = rng.uniform(*areas) * width * height
        aspect = math.exp(rng.uniform(*log_aspects))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1)), w, h
    aspect = min(max(width / height, ASPECT_LIMITS[0]), ASPECT_LIMITS[1])
    w, h = max(min(width, round(height * aspect)), 1), max(min(height, round(width / aspect)), 1)
    return (width - w) // 2, (height - h) // 2, w, h


def _turned_part(pixels: np.ndarray, view: View) -> np.ndarray:
    """The box of the turned photo, by one bilinear look-up per pixel of the box; nothing outside it is computed.

    With a fourth channel, because OpenCV turns pixels of four bytes twice as fast as those of three.
    """
    height, width = pixels.shape[:2]
    (turned_width, turned_height), (left, top, box_width, box_height) = view.turned_size, view.box
    sine, cosine = math.sin(math.radians(view.angle)), math.cos(math.radians(view.angle))
    # From the box's pixel (u, v) to the centre's coordinates, turned back, to the photo's pixel.
    du, dv = left - (turned_width - 1) / 2, top - (turned_height - 1) / 2
    matrix = np.array([[cosine, -sine, cosine * du - sine * dv + (width - 1) / 2],
                       [sine, cosine, sine * du + cosine * dv + (height - 1) / 2]])
    turned = cv2.warpAffine(cv2.cvtColor(pixels, cv2.COLOR_RGB2RGBA), matrix, (box_width, box_height),
                            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT_101)
    return cv2.cvtColor(turned, cv2.COLOR_RGBA2RGB)
