"""Which files are moving pictures, by their names. Reading them is engine.video's, which needs PyAV."""
from __future__ import annotations

from pathlib import Path

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".vob", ".wmv",
                  ".asf", ".flv", ".f4v", ".3gp", ".3g2", ".ogv", ".mxf", ".h264", ".h265", ".hevc", ".mjpeg", ".y4m")


def is_video(path: Path) -> bool:
    """Whether the name says a clip; hidden files (`._x.mov` of a Mac) are none."""
    return path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".")
