"""Rotation, mirroring, crops and the resize."""
from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data.pairs import geometry
from data.pairs.decoding import PhotoFile
from data.pairs.geometry import View, decode_for_view, draw_view, resize, take_view
from data.pairs.randomness import stream

SIDES = st.integers(1, 2000)


@given(height=SIDES, width=SIDES, target=st.tuples(st.integers(1, 512), st.integers(1, 512)), seed=st.integers(0, 10**6))
def test_every_view_lies_within_its_photo(height, width, target, seed):
    view = draw_view(stream("test", seed), (height, width), target, 1.0)
    left, top, box_width, box_height = view.box
    assert box_width >= 1 and box_height >= 1 and left >= 0 and top >= 0
    assert left + box_width <= view.turned_size[0] and top + box_height <= view.turned_size[1]
    assert (view.angle != 0.0) != view.flip
    for reduction in (2, 4, 8):
        small = view.reduced(reduction)
        assert min(small.box) >= 0 and small.box[2] >= 1 and small.box[3] >= 1
        assert small.box[0] + small.box[2] <= small.turned_size[0] and small.box[1] + small.box[3] <= small.turned_size[1]


@given(height=st.integers(20, 2000), width=st.integers(20, 2000), angle=st.floats(-45.0, 45.0))
def test_the_turned_photo_without_border_lies_within_the_photo_and_is_largest(height, width, angle):
    turned_width, turned_height = geometry._largest_upright(width, height, math.radians(angle))
    sine, cosine = (abs(f(math.radians(angle))) for f in (math.sin, math.cos))

    def fits(w, h):  # the corners of a w x h rectangle, turned back, are inside the photo
        return w * cosine + h * sine <= width + 1e-6 and w * sine + h * cosine <= height + 1e-6

    assert fits(turned_width, turned_height)
    aspect = turned_width / turned_height
    assert not fits(turned_width + 1 + aspect, turned_height + 1 + 1 / aspect)


def test_share_and_size_of_the_random_geometry():
    size, views = (480, 640), [draw_view(stream("share", i), (480, 640), (224, 224), 0.4) for i in range(2000)]
    turned, flipped = [v for v in views if v.angle], [v for v in views if v.flip]
    assert len(turned) / 2000 == pytest.approx(0.2, abs=0.02) and len(flipped) / 2000 == pytest.approx(0.2, abs=0.02)
    angles = np.array([v.angle for v in turned])
    assert -45 <= angles.min() < -40 < 40 < angles.max() <= 45
    areas, aspects = np.array([(v.box[2] * v.box[3] / (size[0] * size[1]), v.box[2] / v.box[3])
                               for v in views if not v.angle]).T
    ratio = 224 / 640
    assert areas.min() == pytest.approx(ratio / 1.5, abs=0.01) and areas.max() == pytest.approx(ratio * 1.5, abs=0.01)
    assert areas.mean() == pytest.approx((ratio / 1.5 + ratio * 1.5) / 2, abs=0.01)
    assert aspects.min() == pytest.approx(3 / 4, abs=0.02) and aspects.max() == pytest.approx(4 / 3, abs=0.03)
    assert np.log(aspects).mean() == pytest.approx(0.0, abs=0.02)


def test_area_limits_of_huge_and_of_tiny_photos():
    areas = [v.box[2] * v.box[3] / 1e8 for v in (draw_view(stream(i), (10_000, 10_000), (224, 224), 0.0) for i in range(50))]
    np.testing.assert_allclose(areas, 0.1, rtol=1e-3)
    assert all(min(draw_view(stream(i), (60, 60), (224, 224), 0.0).box[2:]) >= 51 for i in range(50))


def test_a_view_is_the_crop_of_the_mirrored_photo(make_photo):
    photo = make_photo(60, 80, 1)
    view = View(0.0, True, (80, 60), (10, 5, 32, 24))
    expected = photo[5:29, 10:42][:, ::-1]
    np.testing.assert_array_equal(take_view(photo, view, (24, 32), "lanczos").transpose(1, 2, 0), expected)


@pytest.mark.parametrize("angle", [-45.0, -17.3, 8.0, 44.9])
def test_turning_the_box_alone_equals_turning_the_photo_and_cropping(make_photo, angle):
    photo = make_photo(120, 160, 2)
    turned_width, turned_height = turned = geometry._largest_upright(160, 120, math.radians(angle))
    whole = cv2.getRotationMatrix2D(((160 - 1) / 2, (120 - 1) / 2), angle, 1.0)
    whole[:, 2] += np.array([(turned_width - 160) / 2, (turned_height - 120) / 2])
    expected = cv2.warpAffine(photo, whole, turned, flags=cv2.INTER_LINEAR)
    view = View(angle, False, turned, (5, 7, 40, 30))
    result = take_view(photo, view, (30, 40), "lanczos").transpose(1, 2, 0)
    difference = np.abs(result.astype(int) - expected[7:37, 5:45])
    assert difference.mean() < 1.0  # OpenCV rounds coordinates to 1/32 pixel


@settings(deadline=None, max_examples=25)
@given(height=st.integers(1, 90), width=st.integers(1, 90), size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
       method=st.sampled_from(["lanczos", "bicubic"]))
def test_resize_equals_pillow_where_nothing_overshoots(height, width, size, method):
    picture = np.random.default_rng(height * 100 + width).integers(90, 160, (height, width, 3), dtype=np.uint8)
    filters = {"lanczos": Image.Resampling.LANCZOS, "bicubic": Image.Resampling.BICUBIC}
    expected = np.asarray(Image.fromarray(picture).resize(size[::-1], filters[method])).transpose(2, 0, 1)
    result = resize(picture, size, method)
    assert result.shape == (3, *size) and result.dtype == np.uint8
    difference = np.abs(result.astype(int) - expected)
    assert difference.max() <= 2 and difference.mean() < 0.8


def test_pillow_stands_in_where_torch_has_no_lanczos(make_photo, monkeypatch):
    photo = make_photo(50, 70, 4)
    with_torch = resize(photo[3:40, 5:60], (32, 24), "lanczos")
    monkeypatch.setattr(geometry, "_torch_resizes", lambda method: False)
    with_pillow = resize(photo[3:40, 5:60], (32, 24), "lanczos")
    assert np.abs(with_torch.astype(int) - with_pillow).max() <= 1


@pytest.mark.parametrize("angle", [0.0, 21.0])
def test_a_large_photo_decoded_smaller_gives_the_same_view(make_photo, tmp_path, angle):
    path = tmp_path / "large.jpg"
    smooth = cv2.resize(make_photo(150, 200, 5), (1200, 900), interpolation=cv2.INTER_CUBIC)
    noise = np.random.default_rng(0).normal(0, 6, smooth.shape)
    Image.fromarray(np.clip(smooth + noise, 0, 255).astype(np.uint8)).save(path, quality=90)
    photo = PhotoFile(path)
    assert photo.is_reducible
    turned = geometry._largest_upright(1200, 900, math.radians(angle)) if angle else (1200, 900)
    view = View(angle, False, turned, (51, 27, 600, 550))
    assert geometry._reduction(view, (112, 100)) == 2 and geometry._reduction(view, (48, 48)) == 4
    fast = take_view(*decode_for_view(photo, view, (48, 48)), (48, 48), "lanczos")
    full = take_view(photo.pixels(), view, (48, 48), "lanczos")
    error = np.mean((fast.astype(float) - full) ** 2)
    # A box that is turned is rounded to pixels of the smaller photo, a sixth of a pixel of the result: it shows at edges.
    assert 10 * np.log10(255**2 / max(error, 1e-9)) > (29 if angle else 38), error
