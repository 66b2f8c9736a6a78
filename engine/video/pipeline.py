"""Decoding, enhancing and encoding at the same time: a thread before and one behind the network, a few frames between them."""
from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from engine.video.reading import Part

WAITING = 3    # parts between two of the three, so that memory does not grow with the clip
LOOK = 0.1     # seconds between two looks at whether the others still work

Enhance = Callable[[Part], Any]
Write = Callable[[Part, Any], None]


class _Stopped(Exception):
    """The other end of a channel works no more."""


class _Channel:
    """A queue of WAITING items between two threads; either end may leave."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Any] = queue.Queue(WAITING)
        self._left = threading.Event()   # nobody takes anything out any more
        self._ended = object()

    def put(self, item: Any) -> None:
        """Raises _Stopped once the taker has left."""
        while not self._left.is_set():
            try:
                return self._queue.put(item, timeout=LOOK)
            except queue.Full:
                continue
        raise _Stopped

    def end(self) -> None:
        """Nothing comes after this."""
        self.put(self._ended)

    def leave(self) -> None:
        self._left.set()

    def __iter__(self) -> Iterator[Any]:
        while (item := self._queue.get()) is not self._ended:
            yield item


def run(parts: Iterable[Part], enhance: Enhance, write: Write) -> bool:
    """Each part through `enhance`, here, and with what that gives through `write`, in a thread; `parts` is gone through in
    another. True: Ctrl-C ended it, and everything enhanced by then is written.

    An error of `parts` or `enhance` is raised once everything before it is written, an error of `write` at once.
    """
    decoded, enhanced = _Channel(), _Channel()
    failures: dict[str, BaseException] = {}
    decoder = threading.Thread(target=_decode, args=(parts, decoded, failures), name="decode", daemon=True)
    encoder = threading.Thread(target=_encode, args=(enhanced, write, failures), name="encode", daemon=True)
    decoder.start()
    encoder.start()
    interrupted, failure = False, None
    try:
        for part in decoded:
            enhanced.put((part, enhance(part)))
    except KeyboardInterrupt:
        interrupted = True
    except _Stopped:
        pass
    except Exception as error:
        failure = error
    try:
        decoded.leave()
        decoder.join()
        with contextlib.suppress(_Stopped):
            enhanced.end()
        encoder.join()
    except KeyboardInterrupt:  # once more: what is not encoded yet is given up
        enhanced.leave()
        decoder.abandoned = encoder.abandoned = True  # type: ignore[attr-defined] - see engine.program.leave
        raise
    for error in (failures.get("write"), failure, failures.get("parts")):
        if error is not None:
            raise error
    return interrupted


def _decode(parts: Iterable[Part], decoded: _Channel, failures: dict[str, BaseException]) -> None:
    try:
        for part in parts:
            decoded.put(part)
    except _Stopped:
        return
    except BaseException as error:
        failures["parts"] = error
    with contextlib.suppress(_Stopped):
        decoded.end()


def _encode(enhanced: _Channel, write: Write, failures: dict[str, BaseException]) -> None:
    try:
        for part, bright in enhanced:
            write(part, bright)
    except BaseException as error:
        failures["write"] = error
        enhanced.leave()
