"""Enhanced frames without flicker: each one meets the frame before, carried along the motion between the two.

A network that sees one frame at a time chooses brightness and grain anew for each. What has not changed in the dark input
shall not change in the result: where the inputs agree along the motion, the result is drawn towards the carried one, more
in its low frequencies (brightness and tint) than in its details. Where they do not (what was hidden, another light), it is
the frame's own; where hardly any of the picture agrees the scene was cut, and all starts anew.
"""
from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from engine.video.motion import Motion, lies_inside, warp

WARM_UP = 24              # frames after which what came before them shows no more
DETAIL, BRIGHTNESS = 0.8, 0.9  # shares of the carried picture in details, and in low frequencies
FLOW_WIDTH = 480          # pixels of the longer side at which motion and agreement are looked at
LOW = 1 / 24              # standard deviation of what low frequencies are, of the longer side
COARSER = 4               # times smaller is the copy on which these are found
FAR = 0.05                # blurred trust at which low frequencies of the surroundings count for half
AGREEING = 2.0            # Gaussian in pixels of the small picture, over which inputs are compared: noise averages out
TOLERANCE = 0.06          # difference of the inputs' square roots that halves the trust, of their level
NOISE = 4.0               # times the noise of that difference are added to the tolerance
AGREED, ALIKE = 0.2, 0.9  # another scene: mean trust below the first; or it and the correlation along the motion below the
#                           second together: at most 0.75 in 210 pairs of photos, 1.2 and more where a lamp goes on
THIRDS = np.full(3, 1 / 3, np.float32)


@dataclass
class _Carried:
    """result: uint16 (H, W, 3). small: the same as float32 (h, w, 3) in [0, 1]. dark: the input, as small."""

    result: np.ndarray
    small: np.ndarray
    dark: np.ndarray


class Steady:
    """Call it with each dark frame and its enhanced one, in order, (H, W, 3) RGB uint8 or uint16: the steady one."""

    def __init__(self, detail: float = DETAIL, brightness: float = BRIGHTNESS) -> None:
        self.detail, self.brightness = detail, brightness
        self._before: _Carried | None = None
        self._motion = Motion()

    def __call__(self, dark: np.ndarray, bright: np.ndarray) -> np.ndarray:
        size = small_size(*bright.shape[:2])
        now = _Carried(to_16_bit(bright), shrunk(bright, size), shrunk(dark, size))
        before, self._before = self._before, now
        if before is None or before.result.shape != now.result.shape:
            return bright
        flow, likeness = self._motion(luma(now.small), luma(before.small))
        trust = agreement(now.dark, warp(before.dark, flow)) * lies_inside(flow)
        if trust.mean() < AGREED or trust.mean() + likeness < ALIKE:
            return bright
        self._meet(now, before.result, flow, trust)
        return now.result if bright.dtype == np.uint16 else cv2.convertScaleAbs(now.result, alpha=1 / 257)

    def _meet(self, now: _Carried, before: np.ndarray, flow: np.ndarray, trust: np.ndarray) -> None:
        """Draw `now` towards the result before, uint16 (H, W, 3), by flow and trust of the small pictures."""
        height, width = before.shape[:2]
        flow = flow * np.array([width / flow.shape[1], height / flow.shape[0]], np.float32)
        carried = warp(before, cv2.resize(flow, (width, height)), cv2.INTER_CUBIC)
        share = cv2.merge([self.detail * trust] * 3)
        change = shrunk(carried, trust.shape[::-1]) - now.small
        known = low_frequencies(trust)[..., None]
        low = low_frequencies(change * trust[..., None]) / (known + 1e-3)  # reaches into what is new: that would stand out
        own = (self.brightness * known / (known + FAR) - share) * low
        now.small = np.clip(now.small + share * change + own, 0, 1)
        change = cv2.subtract(carried, now.result, dtype=cv2.CV_32F)  # of all pixels: OpenCV's functions take 3 times less
        cv2.multiply(change, cv2.resize(share, (width, height)), change)
        cv2.add(change, cv2.resize(own * 65535, (width, height)), change)
        now.result = cv2.add(now.result, change, dtype=cv2.CV_16U)


def agreement(dark: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Float32 (h, w, 3) in [0, 1] twice, two inputs along the motion -> (h, w) trust in [0, 1]: whether they show the same
    colours in the same light."""
    difference = np.sqrt(dark) - np.sqrt(before)   # of the coded values: noise that grows with the light becomes even
    local = cv2.GaussianBlur(difference, (0, 0), AGREEING)
    single = np.abs(difference - local)[::2, ::2]  # a quarter tells as much
    noise = 1.4826 * float(np.median(single)) / (2 * AGREEING * np.sqrt(np.pi))  # what the average leaves
    level = cv2.GaussianBlur(np.sqrt(np.maximum(dark, before)) @ THIRDS, (0, 0), AGREEING)
    apart = np.sqrt((local * local) @ THIRDS)
    return np.exp2(-((apart / (TOLERANCE * level + NOISE * noise + 1e-3)) ** 2)).astype(np.float32)


def low_frequencies(small: np.ndarray) -> np.ndarray:
    """Float32 (h, w, ..) -> the same blurred by LOW of its longer side, on a coarser copy."""
    height, width = small.shape[:2]
    coarse = cv2.resize(small, (-(-width // COARSER), -(-height // COARSER)), interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.GaussianBlur(coarse, (0, 0), LOW * max(height, width) / COARSER), (width, height))


def small_size(height: int, width: int) -> tuple[int, int]:
    """(width, height) with FLOW_WIDTH pixels on the longer side, or as it is where that is shorter."""
    factor = min(FLOW_WIDTH / max(height, width), 1.0)
    return max(round(width * factor), 1), max(round(height * factor), 1)


def shrunk(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 or uint16 (H, W, 3) RGB -> float32 (height, width, 3) in [0, 1]; size: (width, height)."""
    full = 255 if picture.dtype == np.uint8 else 65535
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float32) / full


def luma(picture: np.ndarray) -> np.ndarray:
    """Float32 (h, w, 3) RGB in [0, 1] -> uint8 (h, w), BT.601."""
    return np.round(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) * 255).astype(np.uint8)


def to_16_bit(picture: np.ndarray) -> np.ndarray:
    """uint8 or uint16 of full range -> uint16."""
    return picture if picture.dtype == np.uint16 else np.multiply(picture, 257, dtype=np.uint16)

