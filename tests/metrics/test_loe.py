"""Lightness order error: by its definition, pixel by pixel, and what it says about known changes."""
from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from metrics.loe import loe


def by_definition(output, source):
    """The paper's sums, a row of the order relation at a time, for pictures that are not made smaller: 50 pixels a side."""
    before, after = (picture.max(2).astype(int).ravel().tolist() for picture in (source, output))
    return sum(sum((a >= c) != (b >= d) for c, d in zip(before, after, strict=True))
               for a, b in zip(before, after, strict=True)) / len(before)


def test_equal_to_the_definition():
    rng = np.random.default_rng(0)
    source = rng.integers(0, 6, (50, 50, 3), dtype=np.uint8)  # few levels: many equal pixels
    output = np.clip(source.astype(int) + rng.integers(-1, 2, source.shape), 0, 255).astype(np.uint8)
    expected = by_definition(output, source)
    assert loe(output, source) == pytest.approx(expected, abs=1e-9) and expected > 100


def test_two_pixels_of_fifty_by_fifty_turned_round():
    """A ramp with 50 pixels of each value; one pixel of the first value and one of the second change places."""
    ramp = np.repeat(np.arange(50, dtype=np.uint8), 50).reshape(50, 50)
    source = np.stack([ramp] * 3, axis=2)
    swapped = source.copy()
    swapped[0, 0], swapped[1, 0] = 1, 0
    # Each of the two is no longer equal to the 49 others of its value (one order of the pair changes), and is equal to the
    # 49 of the other value now (one order again): 4 * 49; between the two of them both orders change.
    assert loe(swapped, source) == (4 * 49 + 2) / 2500


@pytest.mark.parametrize("curve", [lambda v: v, lambda v: 255 * (v / 255) ** 0.4])
def test_a_curve_that_rises_keeps_the_order(curve):
    values = np.arange(0, 250, dtype=np.uint8).reshape(50, 5).repeat(10, axis=1)
    source = np.stack([values] * 3, axis=2)
    assert loe(np.floor(curve(source.astype(float)) + 0.5).astype(np.uint8), source) == pytest.approx(0.0, abs=30)
    assert loe(source, source) == 0.0


def test_the_negative_turns_everything_round(make_photo):
    photo = make_photo(120, 90)
    gray = np.asarray(Image.fromarray(photo).convert("L").convert("RGB"))
    small = np.asarray(Image.fromarray(gray[..., 0]).resize((50, 67), Image.Resampling.BICUBIC)).ravel()
    differing = (small[:, None] != small).sum() / small.size  # equal pixels stay equal
    assert loe(255 - gray, gray) == pytest.approx(differing, rel=0.01)


def test_other_arrays_and_sizes_are_errors(make_photo):
    with pytest.raises(ValueError, match="one size, found 20x30 and 21x30"):
        loe(make_photo(30, 20), make_photo(30, 21))
    with pytest.raises(ValueError, match="uint8"):
        loe(make_photo(30, 20) / 255, make_photo(30, 20))
    assert loe(make_photo(1, 1), make_photo(1, 1)) == 0.0
