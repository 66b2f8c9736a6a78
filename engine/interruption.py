"""Ctrl-C, SIGTERM and SIGHUP: finish the batch, save, and say how to go on, instead of dying in the middle."""
from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType


class Interrupted(BaseException):
    """The run was asked to stop; what it has done is saved. `signal_name` is SIGINT, SIGTERM or SIGHUP.

    No Exception, like KeyboardInterrupt: who deals with errors in between must not deal with this one.
    """

    def __init__(self, signal_name: str) -> None:
        super().__init__(f"stopped by {signal_name}")
        self.signal_name = signal_name


class StopRequest:
    """Within `with StopRequest() as stop:` the first SIGINT, SIGTERM or SIGHUP only sets `stop.signal_name`.

    SIGHUP comes when a terminal or an ssh connection is lost; where it is ignored (nohup) it stays so.
    In `with stop.at_once():` (work that may be thrown away) it raises Interrupted instead. A second Ctrl-C acts as usual.
    """

    SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

    def __init__(self) -> None:
        self.signal_name: str | None = None
        self._raise = False
        self._process = os.getpid()
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        heard = [number for number in self.SIGNALS
                 if number in (signal.SIGINT, signal.SIGTERM) or signal.getsignal(number) != signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._handle) for number in heard}
        return self

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """A block that a signal ends immediately, by Interrupted."""
        if self.signal_name is not None:
            raise Interrupted(self.signal_name)
        self._raise = True
        try:
            yield
        finally:
            self._raise = False

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a forked loader worker: its parent finishes the batch and then ends it
            return
        again, self.signal_name = self.signal_name is not None, signal.Signals(number).name
        if again and number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt
        if self._raise:
            raise Interrupted(self.signal_name)
        if not again:
            _say(f"\n{self.signal_name}: finishing this batch, then saving (Ctrl-C again: stop without saving)\n")


def _say(text: str) -> None:
    """To standard error without Python's buffer: the signal may come while something is being printed through that, which
    then takes nothing else ("reentrant call")."""
    with suppress(OSError):
        os.write(2, text.encode())
