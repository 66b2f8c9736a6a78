"""Folders of the user's, on machines where the user may have none: services and containers run as a number without a home."""
from __future__ import annotations

import os
from pathlib import Path


def home() -> Path | None:
    """The home folder; None for a user id without an entry in the list of users and without $HOME."""
    try:
        return Path.home()
    except (RuntimeError, KeyError):
        return None


def user_cache() -> Path | None:
    """Where this project keeps what can be made again: $XDG_CACHE_HOME/hvr-ssle, else ~/.cache/hvr-ssle, else nowhere."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(given):  # others do not count: XDG Base Directory Specification
        return Path(given) / "hvr-ssle"
    folder = home()
    return None if folder is None else folder / ".cache" / "hvr-ssle"


def expanded(path: str | Path) -> Path:
    """`path` with `~` spelled out. Raises ValueError where it names a home folder that this user does not have."""
    try:
        return Path(path).expanduser()
    except (RuntimeError, KeyError):
        raise ValueError(f"{path}: this user has no home folder (no HOME in the environment); expected a path without ~"
                         ) from None
