"""Photos that several of these tests make pairs of."""
from __future__ import annotations

import pytest
from PIL import Image

from data.pairs.photos import PhotoRef


@pytest.fixture(scope="module")
def photos(tmp_path_factory, make_photo):
    """Twelve references to photos of different heights."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(12):
        Image.fromarray(make_photo(40 + number, 60, number)).save(folder / f"{number}.png")
    return [PhotoRef(f"{number}.png", folder / f"{number}.png") for number in range(12)]
