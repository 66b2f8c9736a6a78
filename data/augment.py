"""What happens to a photo besides the curve: its geometry, and the extra degradations of its dark version.

Geometry is drawn first and carried out afterwards (`View`), so that only pixels that the result needs are touched:
a rotation is done inside the crop alone, and crop and resize are one step.
"""
from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from PIL import Image

MAX_ANGLE = 45.0                  # degrees
AREA_SPREAD = 1.5                 # crop areas: r / 1.5 .. 1.5 r of the picture, r = target / photo's longer side
AREA_LIMITS = (0.1, 1.0)
ASPECT_LIMITS = (3 / 4, 4 / 3)    # width / height of the crop
CROP_ATTEMPTS = 10

DEFOCUS_RADIUS = (1, 3)           # pixels, both ends included
DEFOCUS_ALIAS_BLUR = (0.1, 0.3)   # sigma in pixels of the Gaussian that softens the disc's rim
SPOT_NOISE_RATE = 0.5
SPOT_NOISE_STD = (0.05, 0.4)
SPOT_SIDES = (1, 2)               # pixels, both ends included
SPOT_COVER = 0.1                  # share of the pixels under a spot
SPOT_BLACK_RATE = 0.3
MIX_WEIGHT = 0.1
ROUNDING = 1e-3                   # in 8-bit levels: what float32 filters may lose of a whole number before the floor


@dataclass(frozen=True)
class View:
    """What a training sample shows of its photo: turn it by `angle`, mirror it, then cut out a box.

    The box (left, top, width, height, in whole pixels) lies in the turned photo, whose largest part without border is
    `turned_size` = (width, height) and has the photo's centre.
    """

    angle: float
    flip: bool
    turned_size: tuple[int, int]
    box: tuple[int, int, int, int]


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


def take_view(photo: np.ndarray, view: View, target_size: tuple[int, int]) -> np.ndarray:
    """The view of `photo`, uint8 (H, W, 3), resized to `target_size` = (height, width), antialiased Lanczos."""
    if view.angle != 0.0:
        part = _turned_part(photo, view)
    else:
        left, top, width, height = view.box
        part = photo[top : top + height, left : left + width]
    resized = resize(part, target_size, "lanczos")
    return np.ascontiguousarray(resized[:, ::-1]) if view.flip else resized


def resize(photo: np.ndarray, size: tuple[int, int], method: str) -> np.ndarray:
    """uint8 (H, W, 3) to `size` = (height, width), antialiased; `method` is "lanczos" or "bicubic".

    torch's fixed-point kernels are Pillow's algorithm with vector instructions, three to four times faster; Pillow
    itself stands in where torch has no Lanczos yet. Both agree to within one 8-bit level.
    """
    if photo.shape[:2] == size:
        return photo
    if not _torch_resizes(method):
        filters = {"lanczos": Image.Resampling.LANCZOS, "bicubic": Image.Resampling.BICUBIC}
        return np.asarray(Image.fromarray(photo).resize(size[::-1], filters[method]))
    batch = torch.from_numpy(photo).permute(2, 0, 1).unsqueeze(0)  # (1, 3, H, W), channels last in memory
    resized = torch.nn.functional.interpolate(batch, size, mode=method, antialias=True)
    return resized[0].permute(1, 2, 0).contiguous().numpy()


@functools.cache
def _torch_resizes(method: str) -> bool:
    try:
        torch.nn.functional.interpolate(torch.zeros(1, 3, 4, 4, dtype=torch.uint8), (2, 2), mode=method, antialias=True)
    except (NotImplementedError, ValueError, RuntimeError):
        return False
    return True


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


def _turned_part(photo: np.ndarray, view: View) -> np.ndarray:
    """The box of the turned photo, by one bilinear look-up per pixel of the box; nothing outside it is computed."""
    height, width = photo.shape[:2]
    (turned_width, turned_height), (left, top, box_width, box_height) = view.turned_size, view.box
    sine, cosine = math.sin(math.radians(view.angle)), math.cos(math.radians(view.angle))
    # From the box's pixel (u, v) to the centre's coordinates, turned back, to the photo's pixel.
    du, dv = left - (turned_width - 1) / 2, top - (turned_height - 1) / 2
    matrix = np.array([[cosine, -sine, cosine * du - sine * dv + (width - 1) / 2],
                       [sine, cosine, sine * du + cosine * dv + (height - 1) / 2]])
    return cv2.warpAffine(photo, matrix, (box_width, box_height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                          borderMode=cv2.BORDER_REFLECT_101)


def degrade(x: np.ndarray, rng: np.random.Generator, rate: float) -> np.ndarray:
    """Extra degradations of a dark photo, uint8 (H, W, 3) in and out: blur, spots, mixing noise, each with p = `rate`.

    They are computed in floating point and quantised once, by floor as a camera file is. Most photos meet none of them
    and come back as they are.
    """
    blurred, spotted, mixed = rng.random(3) < rate
    if not (blurred or spotted or mixed):
        return x
    image = x.astype(np.float32) / np.float32(255.0)
    if blurred:
        image = defocus(image, rng) if rng.random() < 0.5 else down_and_up(image)
    if spotted:
        image = spots(image, rng)
    if mixed:
        image = (1.0 - MIX_WEIGHT) * image + MIX_WEIGHT * rng.random(image.shape, dtype=np.float32)
    return np.floor(np.clip(255.0 * image + ROUNDING, 0.0, 255.0)).astype(np.uint8)


def defocus(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A lens out of focus: convolution with a disc of radius 1..3 pixels whose rim a small Gaussian softens."""
    radius = int(rng.integers(DEFOCUS_RADIUS[0], DEFOCUS_RADIUS[1] + 1))
    reach = np.arange(-radius - 1, radius + 2)
    disc = (reach[:, None] ** 2 + reach[None, :] ** 2 <= radius**2).astype(np.float32)
    kernel = cv2.GaussianBlur(disc / disc.sum(), (3, 3), sigmaX=rng.uniform(*DEFOCUS_ALIAS_BLUR))
    return cv2.filter2D(image, -1, kernel)


def down_and_up(image: np.ndarray) -> np.ndarray:
    """Half the resolution and back, bicubic: what a small sensor or a careless upload leaves."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (max(width // 2, 1), max(height // 2, 1)), interpolation=cv2.INTER_CUBIC)
    return np.clip(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), 0.0, 1.0)


def spots(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Dead and hot pixels: squares of side 1..2 over about a tenth of the pixels, black or uniform noise.

    With p = 0.5 Gaussian noise comes first. The number of squares makes the expected cover 10 %, overlaps counted once.
    """
    height, width = image.shape[:2]
    if rng.random() < SPOT_NOISE_RATE:
        noise = rng.standard_normal(image.shape, dtype=np.float32)
        image = np.clip(image + np.float32(rng.uniform(*SPOT_NOISE_STD)) * noise, 0.0, 1.0)
    largest = min(SPOT_SIDES[1], height, width)
    mean_area = sum(side**2 for side in range(SPOT_SIDES[0], largest + 1)) / (largest - SPOT_SIDES[0] + 1)
    count = max(round(-math.log(1.0 - SPOT_COVER) / mean_area * height * width), 1)
    sides = rng.integers(SPOT_SIDES[0], largest + 1, count)
    tops, lefts = rng.integers(0, height - sides + 1), rng.integers(0, width - sides + 1)
    fill = rng.random((count, largest, largest, 3), dtype=np.float32)
    fill[rng.random(count) < SPOT_BLACK_RATE] = 0.0
    result = image.copy()
    for dy in range(largest):
        for dx in range(largest):
            reach = sides > max(dy, dx)
            result[tops[reach] + dy, lefts[reach] + dx] = fill[reach, dy, dx]
    return result
