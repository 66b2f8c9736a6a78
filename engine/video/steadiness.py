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
FAR = 0.05                # blurred trust at which low frequencies of the surroundings count for half
AGREEING = 2.0            # Gaussian in pixels of the small picture, over which inputs are compared: noise averages out
TOLERANCE = 0.06          # difference of the inputs' square roots that halves the trust, of their level
NOISE = 4.0               # times the noise of that difference are added to the tolerance
AGREED = 0.2              # mean trust below which this is another scene; or
ALIKE, ALL_AGREED = 0.3, 0.85  # correlation along the motion below which it is, where mean trust is below the second


@dataclass
class _Carried:
    """result: uint16 (H, W, 3). small: its luma, uint8 (h, w). dark: the input, float32 (h, w, 3) in [0, 1],
    as small."""

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
        now = _Carried(to_16_bit(bright), luma(shrunk(bright, size)), shrunk(dark, size))
        before, self._before = self._before, now
        if before is None or before.result.shape != now.result.shape:
            return bright
        flow, likeness = self._motion(now.small, before.small)
        trust = agreement(now.dark, warp(before.dark, flow)) * lies_inside(flow)
        if trust.mean() < AGREED or (likeness < ALIKE and trust.mean() < ALL_AGREED):
            return bright
        now.result = self._meet(now.result, before.result, flow, trust)
        now.small = luma(shrunk(now.result, size))
        return now.result if bright.dtype == np.uint16 else np.round(now.result * (255 / 65535)).astype(np.uint8)

    def _meet(self, result: np.ndarray, before: np.ndarray, flow: np.ndarray, trust: np.ndarray) -> np.ndarray:
        """uint16 (H, W, 3) twice, and flow and trust of the small picture -> uint16 (H, W, 3)."""
        height, width = result.shape[:2]
        scale = np.array([width / flow.shape[1], height / flow.shape[0]], np.float32)
        full = cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR) * scale
        carried = warp(before, full, cv2.INTER_CUBIC)
        change = carried.astype(np.float32) - result
        small = cv2.resize(change, trust.shape[::-1], interpolation=cv2.INTER_AREA) * trust[..., None]
        sigma = LOW * max(trust.shape)
        known = cv2.GaussianBlur(trust, (0, 0), sigma)[..., None]
        low = cv2.GaussianBlur(small, (0, 0), sigma) / (known + 1e-3)  # reaches into what is new, which would stand out else
        own = (self.brightness * known / (known + FAR) - self.detail * trust[..., None]) * low
        change *= cv2.resize(self.detail * trust, (width, height))[..., None]
        change += cv2.resize(own, (width, height))
        return np.clip(np.round(result + change), 0, 65535).astype(np.uint16)


def agreement(dark: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Float32 (h, w, 3) in [0, 1] twice, two inputs along the motion -> (h, w) trust in [0, 1]: whether they show the same
    colours in the same light."""
    difference = np.sqrt(dark) - np.sqrt(before)   # of the coded values: noise that grows with the light becomes even
    local = cv2.GaussianBlur(difference, (0, 0), AGREEING)
    noise = 1.4826 * float(np.median(np.abs(difference - local))) / (2 * AGREEING * np.sqrt(np.pi))  # what the average leaves
    level = cv2.GaussianBlur(np.sqrt(np.maximum(dark, before)).mean(2), (0, 0), AGREEING)
    apart = np.sqrt((local * local).mean(2))
    return np.exp2(-((apart / (TOLERANCE * level + NOISE * noise + 1e-3)) ** 2)).astype(np.float32)


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
    return picture if picture.dtype == np.uint16 else picture.astype(np.uint16) * 257

