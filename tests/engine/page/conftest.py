"""A small network for the page, as files and loaded, and photos as people bring them."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.files.images import Photo, write_photo
from engine.enhancing.enhancer import Enhancer, load_enhancer


@pytest.fixture(scope="session")
def weights(save_small_network) -> list[str]:
    return save_small_network(hvr_c=2, inference_border=4)


@pytest.fixture(scope="session")
def enhancer(weights) -> Enhancer:
    return load_enhancer(Path(weights[1]), Path(weights[3]), "cpu")


@pytest.fixture(scope="session")
def make_upload(make_photo) -> Callable[..., Path]:
    """`make_upload(path, height, width, seed)`: a dark photo with EXIF in the format of its suffix."""
    def make(path: Path, height: int = 40, width: int = 56, seed: int = 0) -> Path:
        exif = Image.Exif()
        exif[0x010F], exif[0x0112] = "Camera", 1
        write_photo(path, Photo(make_photo(height, width, seed) // np.uint8(6), exif=exif.tobytes()))
        return path

    return make
