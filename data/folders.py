"""Going through folders of photos."""
from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path


def walk(folder: Path, onerror: Callable[[OSError], None] | None = None) -> Iterator[tuple[str, list[str], list[str]]]:
    """os.walk in a fixed order, through links, without hidden folders and without coming to the same folder twice."""
    visited = {_place(folder)}
    for parent, subfolders, names in os.walk(folder, onerror=onerror, followlinks=True):
        kept = []
        for name in sorted(subfolders):
            place = _place(Path(parent, name))
            if not name.startswith(".") and place not in visited:
                visited.add(place)
                kept.append(name)
        subfolders[:] = kept
        yield parent, subfolders, names


def _place(folder: Path) -> tuple[int, int] | str:
    """What the file system knows a folder as, whatever links lead to it."""
    try:
        status = folder.stat()
    except OSError:
        return str(folder)
    return status.st_dev, status.st_ino
