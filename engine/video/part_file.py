"""The file that a clip is written into while it is not done: what is in it stays playable whatever happens to the rest."""
from __future__ import annotations

import errno
import os
from pathlib import Path

PART = ".part"


def part_of(output: Path) -> Path:
    """`clip.mp4` -> `clip.mp4.part`."""
    return output.with_name(output.name + PART)


class PartFile:
    """What a muxer writes to, read, seek and tell included. The first error of the disk is kept in `failure`, and from then
    on nothing more gets into the file: closing the muxer, which has to tell it a table of what it wrote, then cannot spoil
    the whole fragments that are there.
    """

    def __init__(self, path: Path) -> None:
        """Make the file, empty. Raises OSError."""
        self.path, self.failure = path, None
        self._file = open(path, "w+b")  # noqa: SIM115 - closed by `close`
        self._position = 0

    def write(self, data: bytes) -> int:
        if self.failure is None:
            try:
                self._file.write(data)
                self._file.flush()
            except OSError as error:
                self.failure = error
        self._position += len(data)
        return len(data)

    def read(self, size: int = -1) -> bytes:
        data = b"" if self.failure else self._file.read(size)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if self.failure is None:
            self._position = self._file.seek(offset, whence)
        elif whence == os.SEEK_SET:
            self._position = offset
        return self._position

    def tell(self) -> int:
        return self._position

    def stop(self) -> None:
        """Leave the file as it is: nothing that is written from now on gets into it."""
        self.failure = self.failure or OSError(errno.ECANCELED, "stopped")

    def close(self) -> None:
        """To the disk. An error of it is kept in `failure`, if there is none yet."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            self.failure = self.failure or error
        try:
            self._file.close()
        except OSError as error:
            self.failure = self.failure or error
