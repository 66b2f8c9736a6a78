"""The errors of everything in this room, and PyAV asked for by the line that installs it."""
from __future__ import annotations

INSTALL = "pip install -r requirements-video.txt"


class VideoError(ValueError):
    """A clip that cannot be read, enhanced or written; the message says what was found and what to do."""


class Unfinished(VideoError):
    """What went wrong once frames were written: they are in a part that plays and can be gone on with."""

    exit_status = 1


def require_pyav() -> None:
    """Raise VideoError where PyAV is missing."""
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise VideoError(f"PyAV, which reads and writes clips, is not installed or does not load ({error}): {INSTALL} "
                         "(Python 3.11 or newer)") from None
