"""Light that varies over the picture, as real light does: an extra degradation beyond the published recipe, off by default.

The published curve darkens a whole photo alike. A real scene has the light of its surroundings, which that curve models,
and light of its own places: a flash, a lamp, a window, the sky. Lights add up, so they do here, in linear light:

    x = (1 - M) a dark(y) + M g c y,        x <- x + v blur(x)

y is the photo, M in [0, 1] the share of the bright light at a pixel, g its strength, c and a the colours of the two lights
(mixed white balance), v the share of all light that the lens scatters over the picture (veiling glare). Where M is 1 the
photo is as it should be, and a network learns to leave that alone. What is dark here is dark before the sensor: its noise,
which grows with the light of each pixel, and the file's 8 bits come after, with nothing rounded before.
"""
from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from data.pairs.colour_cast import with_cast
from data.pairs.degradation import CurveRanges, draw_curve
from data.pairs.kept_colour import darkened_light
from data.pairs.sensor_noise import LINEAR_LIGHT, light_lost, noisy_file, to_levels, to_srgb
from exp_config.config import Config

KINDS = {"smooth": 0.35, "luma": 0.40, "lamps": 0.25}  # how M comes about, and how often
GRID = (2, 4)                     # smooth: numbers per side of the coarse field, both ends included
SMOOTH_CENTRE, SMOOTH_STEEPNESS = (-0.5, 1.0), (2.0, 10.0)    # smooth: in standard deviations of these numbers
LUMA_CENTRE, LUMA_STEEPNESS = (0.35, 0.75), (8.0, 30.0)       # luma: in values of the photo
LUMA_BLUR = (0.004, 0.08)         # luma: sigma over the longer side, log-uniform
LAMPS = (1, 3)                    # lamps: how many, both ends included
LAMP_PLACE = (-0.2, 1.2)          # lamps: over height and width, so some stand beside the picture
LAMP_STRENGTH = (0.5, 1.5)        # lamps: light below one, over what is needed for the photo as it was
LAMP_HEIGHT = (0.08, 0.6)         # lamps: distance from the scene over the longer side, log-uniform
GREEN_SPREAD = 1 / 3              # of a light's colour: green to magenta varies less than warm to cold
GLARE_SIDE = 8                    # pixels of the small picture whose enlargement is the scattered light


class Scene(NamedTuple):
    """A scene before the sensor, linear light in [0, 1], float32 (3, H, W) RGB: under all of its lights, and under the dark
    one alone."""

    light: np.ndarray
    dark: np.ndarray


def unevenly_lit(normal: np.ndarray, rng: np.random.Generator, noise_rng: np.random.Generator, ranges: CurveRanges,
                 config: Config, noise: bool = True, kept: float = 0.0,
                 cast: np.random.Generator | None = None) -> np.ndarray:
    """A photo under uneven light as a camera would save it, uint8 (3, H, W) sRGB in and out.

    `noise`: with the config's sensor noise and JPEG, drawn from `noise_rng`, at its rate. Where that grows with the light
    lost, what counts is how dark the surroundings are: a camera is set for the scene, not for the lamp in it.
    `kept`: share of the dark parts' colour that the curve leaves as it is, in [0, 1] (data.pairs.kept_colour). `cast`: where
    the numbers of the sensor's colour cast come from, if it has one (data.pairs.colour_cast).
    """
    scene = draw_scene(normal, rng, ranges, config, kept)
    if cast is not None:
        scene = scene._replace(light=with_cast(scene.light, normal, cast, config))
    rate = config.sensor_noise_rate if noise else 0.0
    if rate > 0.0 and config.sensor_noise_where == "dark":
        rate *= light_lost(255.0 * to_srgb(scene.dark), normal)
    if rate > 0.0 and noise_rng.random() < rate:
        return noisy_file(scene.light, noise_rng, config)
    return to_levels(scene.light)


def draw_scene(normal: np.ndarray, rng: np.random.Generator, ranges: CurveRanges, config: Config, kept: float = 0.0) -> Scene:
    """The formula above with random M, g, a, c, v and curve; `normal` uint8 (3, H, W) sRGB. The curve's l is of
    uneven_l_range, its alpha and k are of `ranges`."""
    kind = rng.choice(list(KINDS), p=list(KINDS.values()))
    low, high = config.uneven_l_range
    curve = draw_curve(rng, ranges._replace(l=(low, high)), config.l_distribution, config.alpha_distribution)
    dark = darkened_light(normal, curve, kept)                                                    # (3, H, W)
    dark *= light_colour(rng, config.uneven_colour_spread)
    gain = np.float32(rng.uniform(*config.uneven_gain_range))
    lit = gain * light_colour(rng, config.uneven_colour_spread) * LINEAR_LIGHT[normal]            # (3, H, W)
    share = {"smooth": smooth_share, "luma": luma_share, "lamps": lamp_share}[str(kind)](normal, rng)  # (H, W)
    light = dark + share * (lit - dark)
    least, most = config.uneven_glare_range
    glare = np.float32(least + (most - least) * rng.random() ** 2)  # mostly little
    return Scene(np.clip(light + glare * scattered(light), 0.0, 1.0), dark)


def smooth_share(normal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """M without regard to what is in the photo: a few random numbers, enlarged, through a sigmoid; float32 (H, W)."""
    height, width = normal.shape[1:]
    grid = rng.normal(0.0, 1.0, (int(rng.integers(GRID[0], GRID[1] + 1)), int(rng.integers(GRID[0], GRID[1] + 1))))
    field = cv2.resize(grid.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return squared_sigmoid((field - rng.uniform(*SMOOTH_CENTRE)) * rng.uniform(*SMOOTH_STEEPNESS))


def luma_share(normal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """M that follows the photo's own light: what is bright in it stays so, as in every scene of high contrast."""
    sigma = _log_uniform(rng, LUMA_BLUR) * max(normal.shape[1:])
    luma = cv2.GaussianBlur(normal.mean(0, dtype=np.float32) / np.float32(255.0), (0, 0), sigma)
    return squared_sigmoid((luma - rng.uniform(*LUMA_CENTRE)) * rng.uniform(*LUMA_STEEPNESS))


def lamp_share(normal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """M of point lights: one at a height h over a plane gives (1 + (d / h)^2)^(-3/2) of its light at a distance d from the
    point below it (inverse square of the distance, times the cosine of the angle)."""
    height, width = normal.shape[1:]
    share = np.zeros((height, width), np.float32)
    for _ in range(int(rng.integers(LAMPS[0], LAMPS[1] + 1))):
        y, x = rng.uniform(*LAMP_PLACE, 2) * (height, width)
        h = _log_uniform(rng, LAMP_HEIGHT) * max(height, width)
        rows = np.square((np.arange(height) - y) / h, dtype=np.float32)[:, None]
        columns = np.square((np.arange(width) - x) / h, dtype=np.float32)[None, :]
        share += np.float32(rng.uniform(*LAMP_STRENGTH)) * (1 + rows + columns) ** np.float32(-1.5)
    return np.minimum(share, np.float32(1.0))


def squared_sigmoid(z: np.ndarray) -> np.ndarray:
    """A sigmoid in what the eye sees, as linear light: a display's curve is about a square. Values in [0, 1]."""
    return np.square(1 / (1 + np.exp(-z, dtype=np.float32)))


def light_colour(rng: np.random.Generator, spread: float) -> np.ndarray:
    """Gains of red, green and blue, the largest 1, float32 (3, 1, 1): in the logarithm, red up and blue down by as much as
    `spread`, or the other way, and green by as much as a third of it."""
    warm, green = rng.uniform(-spread, spread), GREEN_SPREAD * rng.uniform(-spread, spread)
    gains = np.exp(np.array([warm, green, -warm], np.float32))
    return (gains / gains.max()).reshape(3, 1, 1)


def scattered(light: np.ndarray) -> np.ndarray:
    """The light that a lens scatters widely: the picture at a few pixels, enlarged; float32 (3, H, W)."""
    height, width = light.shape[1:]
    small = cv2.resize(light.transpose(1, 2, 0), (GLARE_SIDE, GLARE_SIDE), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR).transpose(2, 0, 1)


def _log_uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return math.exp(rng.uniform(math.log(bounds[0]), math.log(bounds[1])))
