"""Long computations beside the main thread, so that Ctrl-C and SIGTERM are heard at once.

Python hears signals between two of its own operations, in the main thread alone. One step of the recursion or one metric on
a large photo is a single call of compiled code and takes seconds, a minute on a slow machine. So the main thread waits here,
where it can be interrupted, and another one computes; what it has begun when a signal comes is given up: nobody takes
its result. A program that ends meanwhile does not wait for it (`engine.program.leave`).
"""
from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")

_worker: Worker | None = None


class Worker(threading.Thread):
    """Computes one call after another. `abandoned`: the one it computes is wanted by nobody any more.

    threads: that PyTorch and the kernels take for them; None: as many as elsewhere.
    """

    def __init__(self, threads: int | None = None) -> None:
        super().__init__(name="computing", daemon=True)
        self.process, self.threads = os.getpid(), threads
        self.abandoned = False
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], Outcome]] = queue.SimpleQueue()
        self.start()

    def run(self) -> None:
        if self.threads is not None:
            torch.set_num_threads(self.threads)  # of this thread, and of those that begin later
        while not self.abandoned:
            function, outcome = self._calls.get()
            outcome.of(function)
            del function, outcome  # large photos: nothing is held until the next call

    def __call__(self, function: Callable[[], T]) -> T:
        outcome = self.begin(function)
        try:
            outcome.done.wait()
        finally:
            self.abandoned = not outcome.done.is_set()
        return outcome.result()

    def begin(self, function: Callable[[], Any]) -> Outcome:
        """Have it computed after what was begun before, on the GPU and in the gradient mode of the caller."""
        device = torch.cuda.current_device() if torch.cuda.is_initialized() else None  # of the thread, as is the gradient mode
        gradients = torch.is_grad_enabled()

        def call() -> Any:
            if device is not None:
                torch.cuda.set_device(device)
            with torch.set_grad_enabled(gradients):
                return function()

        outcome = Outcome()
        self._calls.put((call, outcome))
        return outcome

    def leave(self) -> None:
        """It ends once it has computed what it is at; nothing that was begun after that is."""
        self.abandoned = True
        self._calls.put((lambda: None, Outcome()))


class Outcome:
    """What a call gives or raises, and `done` when it is known."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self._value: Any = None
        self._error: BaseException | None = None

    def of(self, function: Callable[[], Any]) -> None:
        try:
            self._value = function()
        except BaseException as error:
            self._error = error
        self.done.set()

    def result(self) -> Any:
        """Call it once."""
        value, error, self._value, self._error = self._value, self._error, None, None
        if error is not None:
            raise error
        return value


def interruptible(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`function(*args, **kwargs)`, computed where a signal to this process ends the wait for it at once.

    Outside the main thread, which signals do not reach, it is a plain call. The function must write no file: one that is
    given up goes on for a while. Raises what it raises, or what the signal's handler raises (KeyboardInterrupt, Interrupted).
    """
    global _worker
    if threading.current_thread() is not threading.main_thread():
        return function(*args, **kwargs)
    if _worker is None or _worker.abandoned or _worker.process != os.getpid():  # the last: in a forked process
        _worker = Worker()
    return _worker(lambda: function(*args, **kwargs))
