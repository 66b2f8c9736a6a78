"""Pictures of 8 and 16 bits and their alpha, 20x31."""
from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def pixels(make_photo):
    return make_photo(20, 31)


@pytest.fixture
def deep(pixels):
    """16-bit values that are not multiples of 257."""
    rng = np.random.default_rng(0)
    return pixels.astype(np.uint16) * 256 + rng.integers(0, 256, pixels.shape, dtype=np.uint16)


@pytest.fixture
def alpha(pixels):
    return np.random.default_rng(1).integers(0, 256, pixels.shape[:2], dtype=np.uint8)
