"""Standard output and error that can always be written to."""
from __future__ import annotations

import io
import os
import sys
from typing import TextIO


def open_standard_streams() -> None:
    """Make sys.stdout and sys.stderr, for the whole program, streams that can always be written to.

    A stream that was closed before the start (`2>&-`) becomes the null device: else there is none to draw a progress bar
    on, and the next file that is opened, a photo perhaps, would take its number and get what is meant for it. On one whose
    reader has gone (`| head -1`, a terminal that was closed) or whose disk is full, writing is dropped.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    sys.stdout, sys.stderr = _patient(sys.stdout, 1), _patient(sys.stderr, 2)


def _patient(stream: TextIO | None, number: int) -> io.TextIOWrapper:
    """`stream`, or descriptor `number` where there is none, that drops what it cannot write."""
    raw: io.RawIOBase = _Dropping(number, "wb", closefd=False)
    buffer = io.BufferedWriter(raw)
    return io.TextIOWrapper(
        buffer, encoding=getattr(stream, "encoding", "utf-8"), errors="backslashreplace",  # names of files may be no text
        line_buffering=getattr(stream, "line_buffering", True), write_through=getattr(stream, "write_through", False))


class _Dropping(io.FileIO):
    """A file descriptor; data that it does not take are gone."""

    def write(self, data: bytes) -> int:  # type: ignore[override]
        try:
            return super().write(data)
        except OSError:
            return len(data)
