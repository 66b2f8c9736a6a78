"""Fixtures of clips; without PyAV the tests of this room are skipped."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av", reason="needs PyAV: pip install -r requirements-video.txt")


@pytest.fixture(scope="session")
def pictures(make_photo):
    """`pictures(count, height, width)`: a dark picture that moves by 2 pixels a frame."""
    def make(count: int = 6, height: int = 48, width: int = 64) -> list[np.ndarray]:
        scene = make_photo(height, width + 2 * count, 3)
        return [np.ascontiguousarray(scene[:, 2 * number : 2 * number + width] // 2) for number in range(count)]

    return make


@pytest.fixture
def clip(tmp_path, pictures):
    """`clip(name, frames=6, **options of make_clip)` -> path."""
    from tests.engine.video.clips import make_clip

    def make(name: str = "clip.mp4", frames: list[np.ndarray] | int = 6, **options: Any) -> Path:
        return make_clip(tmp_path / name, pictures(frames) if isinstance(frames, int) else frames, **options)

    return make
