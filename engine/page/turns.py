"""Whose picture is on the device: one at a time, in the order in which people came. Small previews go before full pictures,
also between two steps of one."""
from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOOK_AGAIN = 0.1  # seconds after which who waits asks whether the picture is still wanted


class NotWantedError(Exception):
    """The person cancelled, asked for another picture, or left."""


class Turns:
    """`with turns.turn(check): ..` has the device for itself. `check` raises NotWantedError to give the place up."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._previews: list[object] = []  # who waits, first come first
        self._pictures: list[object] = []
        self._busy = False                 # somebody computes
        self._paused = False               # a full picture stands between two of its steps

    @contextmanager
    def turn(self, check: Callable[[], None], *, preview: bool = False,
             waiting: Callable[[int], None] = lambda before: None) -> Iterator[None]:
        """Wait for the device, and give it back in the end.

        waiting: told how many full pictures are before this one, whenever that changes. Raises what `check` raises.
        """
        place, line = object(), self._previews if preview else self._pictures
        with self._changed:
            line.append(place)
            try:
                self._wait(lambda: line[0] is place and self._is_free(preview), check,
                           lambda: waiting(line.index(place) + (self._busy or self._paused)))
                self._busy = True
            finally:
                line.remove(place)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def let_previews_pass(self, check: Callable[[], None]) -> None:
        """For who has the device with a full picture, between two steps: previews that wait are made now."""
        with self._changed:
            if not self._previews:
                return
            self._busy, self._paused = False, True
            self._changed.notify_all()
            try:
                self._wait(lambda: not self._previews and not self._busy, check)
            finally:
                # Whoever gives up here gives the device up too: `turn` sets it free, and a preview on it is not disturbed,
                # since that one is waited for.
                while self._busy:
                    self._changed.wait(LOOK_AGAIN)
                self._busy, self._paused = True, False

    def _is_free(self, preview: bool) -> bool:
        return not self._busy and (preview or not (self._paused or self._previews))

    def _wait(self, ready: Callable[[], bool], check: Callable[[], None], tell: Callable[[], None] = lambda: None) -> None:
        while not ready():
            check()
            tell()
            self._changed.wait(LOOK_AGAIN)
