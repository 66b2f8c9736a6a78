"""Steadiness on pictures whose motion and noise are known: less change along the motion, none of the past where it is gone."""
from __future__ import annotations

import cv2
import numpy as np
import pytest

from benchmarks.clips import luma_change, make_clip
from engine.video.motion import Motion, correlation
from engine.video.steadiness import Steady, agreement

SIZE = (96, 128)


@pytest.fixture(scope="module")
def scene(make_photo):
    """`scene(seed)` -> uint8 (H, W, 3) with structure everywhere, larger than SIZE."""
    def make(seed: int = 0) -> np.ndarray:
        small = np.random.default_rng(seed).uniform(30, 220, (20, 26, 3))
        big = np.kron(small, np.ones((8, 8, 1)))[: SIZE[0] + 48, : SIZE[1] + 64]
        return np.round((big + make_photo(*big.shape[:2], seed)) / 2).astype(np.uint8)

    return make


def brightened(frames, seed=0, flicker=8):
    """Stands for the network: 3 times the light, and a brightness of its own for each frame."""
    rng = np.random.default_rng(seed)
    return [np.clip(frame.astype(float) * 3 + rng.uniform(-flicker, flicker), 0, 255).astype(np.uint8) for frame in frames]


def steadied(dark, bright):
    steady = Steady()
    return [steady(*pair) for pair in zip(dark, bright, strict=True)]


@pytest.mark.parametrize("still", [False, True])
def test_half_the_change_along_the_motion(scene, still):
    clip = make_clip([scene()], SIZE, 16, lamps=False)
    if still:
        clip = make_clip([scene()[: SIZE[0], : SIZE[1]]], SIZE, 16, lamps=False)
        assert len(set(clip.offsets)) == 1
    bright = brightened(clip.frames)
    assert luma_change(steadied(clip.frames, bright), clip) < 0.5 * luma_change(bright, clip)


def test_brightness_and_detail_stay_those_of_the_network(scene):
    clip = make_clip([scene()], SIZE, 16, lamps=False)
    bright = brightened(clip.frames)
    ours = steadied(clip.frames, bright)
    assert np.mean(ours) == pytest.approx(np.mean(bright), abs=2)
    sharp = [np.abs(np.diff(np.asarray(brightened(frames, flicker=0)[-1], float), axis=1)).mean()
             for frames in (clip.frames, make_clip([scene()], SIZE, 16, lamps=False, noise=0).frames)]
    got = np.abs(np.diff(ours[-1].astype(float), axis=1)).mean()
    assert 0.8 * sharp[1] < got < sharp[0]  # between the picture without noise and that with all of it


def test_a_cut_starts_anew(scene):
    clip = make_clip([scene(1), scene(2), scene(3)], SIZE, 6, lamps=False)
    bright = brightened(clip.frames)
    ours = steadied(clip.frames, bright)
    assert all(np.array_equal(ours[cut], bright[cut]) for cut in clip.cuts)
    assert not np.array_equal(ours[5], bright[5])


def test_a_cut_to_a_scene_of_the_same_colours_starts_anew(scene):
    """Half of both is one wall; what else is in them differs."""
    wall = scene(4)[: SIZE[0], : SIZE[1]] // 4
    pictures = []
    for seed in (5, 6):
        picture = scene(seed)[: SIZE[0], : SIZE[1]] // 4
        picture[: SIZE[0] // 2] = cv2.blur(wall, (31, 31))[: SIZE[0] // 2]
        pictures.append(picture)
    bright = brightened(pictures, flicker=0)
    assert np.array_equal(steadied(pictures, bright)[1], bright[1])


def test_a_lamp_shows_at_once(scene):
    """Where light comes, the frame is the network's own; where it does not, it is carried."""
    clip = make_clip([scene()], SIZE, 8)
    bright = brightened(clip.frames, flicker=0)
    ours = steadied(clip.frames, bright)
    lamp = min(clip.lamps)
    change = np.abs(bright[lamp].astype(float) - bright[lamp - 1]).mean(2)
    lit = change > np.quantile(change, 0.95)
    assert np.abs(ours[lamp].astype(float) - bright[lamp]).mean(2)[lit].mean() < 0.15 * change[lit].mean()


def test_what_was_hidden_has_no_ghost(scene):
    """A box moves over a still scene: where it was, the scene shows, and not the box."""
    ground = scene()[: SIZE[0], : SIZE[1]] // 4
    dark = []
    for number in range(10):
        frame = ground.copy()
        frame[30:60, 8 + 8 * number : 32 + 8 * number] = (60, 5, 5)
        dark.append(frame)
    bright = brightened(dark, flicker=0)
    ours = steadied(dark, bright)
    uncovered = np.s_[32:58, 73:79]  # left of the box in the last frame, under it in the one before
    assert np.abs(ours[-1][uncovered].astype(int) - bright[-1][uncovered]).mean() < 12


def test_sixteen_bits_stay_sixteen(scene):
    clip = make_clip([scene()], SIZE, 3, lamps=False)
    dark = [frame.astype(np.uint16) * 257 for frame in clip.frames]
    ours = steadied(dark, [frame * 3 for frame in dark])
    eight = steadied(clip.frames, [frame * 3 for frame in clip.frames])
    assert ours[-1].dtype == np.uint16
    assert np.abs(ours[-1] / 257 - eight[-1]).mean() < 0.5


@pytest.mark.parametrize("shape", [(1, 1), (5, 40), (16, 16), (3, 200)])
def test_small_and_flat_pictures(shape):
    steady = Steady()
    for level in (0, 3, 3, 255):
        frame = np.full((*shape, 3), level, np.uint8)
        assert steady(frame, frame).shape == frame.shape


@pytest.mark.parametrize("shift", [(0, 0), (3, -2), (-6, 4)])
def test_the_camera_s_motion(scene, shift):
    picture = scene()[..., 1]
    now, before = picture[10 : 10 + SIZE[0], 10 : 10 + SIZE[1]], picture[10 + shift[0] :, 10 + shift[1] :][: SIZE[0], : SIZE[1]]
    flow, likeness = Motion()(np.ascontiguousarray(now), np.ascontiguousarray(before))
    inner = flow[12:-12, 12:-12].reshape(-1, 2)
    assert np.median(np.abs(inner - [-shift[1], -shift[0]]), 0).max() < 0.1 and likeness > 0.95


def test_measures_of_sameness(scene):
    one, other = (scene(seed)[..., 1] for seed in (1, 2))
    assert correlation(one, one) == pytest.approx(1) and abs(correlation(one, other)) < 0.2
    dark = scene(1).astype(np.float32) / 2550
    noisy = dark + np.random.default_rng(0).normal(0, 0.004, dark.shape).astype(np.float32)
    assert agreement(dark, np.maximum(noisy, 0)).mean() > 0.9
    assert agreement(dark, 4 * dark).mean() < 0.05
