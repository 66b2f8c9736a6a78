"""Files that stand in the place of another: what a clone without Git LFS or a failed download leaves."""
from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def what_it_is_instead(path: Path) -> str:
    """In words, to be put behind "is not a readable ..": a Git LFS pointer, a web page, nothing at all; else an empty text."""
    start = b""
    with suppress(OSError), open(path, "rb") as file:
        start = file.read(256).removeprefix(b"\xef\xbb\xbf").lstrip()
        if not start:
            return " (it is empty)"
    if start.startswith(b"version https://git-lfs.github.com/spec/"):
        return " (it is a Git LFS pointer: git lfs pull fetches the file itself)"
    return " (it is a web page: the download gave another thing)" if start[:1] == b"<" else ""
