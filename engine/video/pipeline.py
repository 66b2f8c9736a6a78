"""Decoding, the network, steadying and encoding at the same time, each in threads of its own, a few frames between them."""
from __future__ import annotations

import contextlib
import functools
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from engine.background import Outcome, Worker
from engine.video.reading import Part

WAITING = 3    # parts between two of the three, so that memory does not grow with the clip
LOOK = 0.1     # seconds between two looks at whether the others still work

Enhance = Callable[[Part], Any]
Finish = Callable[[Part, Any], Any]
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


def run(parts: Iterable[Part], enhance: Enhance, finish: Finish, write: Write, at_once: int = 1) -> bool:
    """Each part through `enhance`, `at_once` of them at the same time, in threads that share the processor's cores; with what
    that gives through `finish`, here and in order; with what that gives through `write`, in a thread; `parts` is gone through
    in another. True: Ctrl-C ended it, and everything finished by then is written.

    An error of `parts`, `enhance` or `finish` is raised once everything before it is written, an error of `write` at once.
    """
    decoded, enhanced = _Channel(), _Channel()
    failures: dict[str, BaseException] = {}
    decoder = threading.Thread(target=_decode, args=(parts, decoded, failures), name="decode", daemon=True)
    encoder = threading.Thread(target=_encode, args=(enhanced, write, failures), name="encode", daemon=True)
    decoder.start()
    encoder.start()
    interrupted, failure = False, None
    try:
        for part, bright in _in_order(decoded, enhance, at_once):
            enhanced.put((part, finish(part, bright)))
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


def _in_order(parts: Iterable[Part], enhance: Enhance, at_once: int) -> Iterator[tuple[Part, Any]]:
    """Each part and what `enhance` gives; the next ones are being enhanced meanwhile."""
    threads = torch.get_num_threads()
    workers = [Worker(max(threads // at_once, 1) if at_once > 1 else None) for _ in range(at_once)]
    waiting: deque[tuple[Part, Outcome]] = deque()

    def first() -> tuple[Part, Any]:
        part, outcome = waiting.popleft()
        outcome.done.wait()
        return part, outcome.result()

    try:
        for number, part in enumerate(parts):
            waiting.append((part, workers[number % at_once].begin(functools.partial(enhance, part))))
            if len(waiting) > at_once:
                yield first()
        while waiting:
            yield first()
    finally:  # also where it is gone through no further
        for worker in workers:
            worker.leave()
        torch.set_num_threads(threads)


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
