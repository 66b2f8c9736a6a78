"""Going through folders of photos, and reading their files."""
from __future__ import annotations

import errno
import os
import stat
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

# Folders that file managers and servers make for themselves: small copies and deleted files, no photos of the user's.
# Synology's and QNAP's thumbnails, Windows' recycle bin and its older names, what macOS puts into archives, Linux trash.
NOT_THE_USERS = frozenset({"@eadir", ".@__thumb", "@recently-snapshot", "@recycle", "#recycle", "#snapshot", "$recycle.bin",
                           "recycler", "system volume information", "__macosx", "lost+found"})


def is_for_photos(folder: str) -> bool:
    """Whether a folder of this name is looked into: hidden ones (`.thumbnails`) and those of programs are not."""
    return not folder.startswith(".") and folder.lower() not in NOT_THE_USERS


def walk(folder: Path, onerror: Callable[[OSError], None] | None = None) -> Iterator[tuple[str, list[str], list[str]]]:
    """os.walk in a fixed order, through links, without those that are not the user's and without coming to the same folder
    twice."""
    visited = {_place(folder)}
    for parent, subfolders, names in os.walk(folder, onerror=onerror, followlinks=True):
        kept = []
        for name in sorted(subfolders):
            place = _place(Path(parent, name))
            if is_for_photos(name) and place not in visited:
                visited.add(place)
                kept.append(name)
        subfolders[:] = kept
        yield parent, subfolders, names


def normal_form(name: str) -> str:
    """A file's name for comparing: é is one character in it, however the disk spells it (Unicode's form NFC)."""
    return unicodedata.normalize("NFC", name)


def read_file(path: Path) -> bytes:
    """The content of a regular file. OSError for anything else: opening a named pipe would wait for a writer for good."""
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "it is a named pipe, a socket or a device, no file", str(path))
    return path.read_bytes()


def _place(folder: Path) -> tuple[int, int] | str:
    """What the file system knows a folder as, whatever links lead to it."""
    try:
        status = folder.stat()
    except OSError:
        return str(folder)
    return status.st_dev, status.st_ino
