"""The folder that the tests of jobs enhance."""
from __future__ import annotations

import pytest

from data.files.images import Photo, write_photo


@pytest.fixture
def folder(tmp_path, make_photo):
    """a.png, b.JPG, sub/a.png and a text file."""
    source = tmp_path / "in"
    for seed, name in enumerate(("a.png", "b.JPG", "sub/a.png")):
        write_photo(source / name, Photo(make_photo(12, 16, seed)))
    (source / "notes.txt").write_text("no photo")
    (source / ".hidden.png").write_bytes(b"")
    return source
